"""Drafts: what each chat of the console is run with."""

from datetime import datetime
from typing import Any

import msgspec
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from server.repositories.pool import Conn


class Draft(msgspec.Struct, frozen=True):
    """A part that is None is the client's saved one. `tools` are names; `record` is what a test run's tools answer."""

    client_id: int
    conversation_id: int
    session_id: str
    system_prompt: str | None
    model_config: dict[str, Any] | None
    tools: list[str] | None
    record: dict[str, Any] | None
    updated_at: datetime


class DraftOfTurn(Draft, frozen=True):
    """As a turn reads it. `question` counts the conversation's turns up to this one, from 1."""

    question: int


class OpenDraft(Draft, frozen=True):
    """As the console finds it. The conversation's `public_id` and `locale` with it."""

    public_id: str
    locale: str


async def create(
    conn: Conn,
    *,
    client_id: int,
    conversation_id: int,
    session_id: str,
    system_prompt: str | None,
    model_config: dict[str, Any] | None,
    tools: list[str] | None,
    record: dict[str, Any] | None = None,
) -> None:
    """In the transaction that makes its conversation."""
    # What the chat begins with.
    await conn.execute(
        """
        insert into console_drafts (
            client_id, conversation_id, session_id, system_prompt, model_config, tools, record
        ) values (
            %(client_id)s, %(conversation_id)s, %(session_id)s, %(system_prompt)s, %(model_config)s, %(tools)s,
            %(record)s
        )
        """,
        {
            "client_id": client_id,
            "conversation_id": conversation_id,
            "session_id": session_id,
            "system_prompt": system_prompt,
            "model_config": _json(model_config),
            "tools": tools,
            "record": _json(record),
        },
    )


async def replace(
    conn: Conn,
    *,
    client_id: int,
    conversation_id: int,
    system_prompt: str | None,
    model_config: dict[str, Any] | None,
    tools: list[str] | None,
) -> bool:
    """Another draft, from the next turn on. False when there is none, and for a test run's, which stays."""
    # A recorded one answers for a case as it was.
    cursor = await conn.execute(
        """
        update console_drafts set system_prompt = %(system_prompt)s, model_config = %(model_config)s,
            tools = %(tools)s, updated_at = now()
        where client_id = %(client_id)s and conversation_id = %(conversation_id)s and record is null
        returning id
        """,
        {
            "client_id": client_id,
            "conversation_id": conversation_id,
            "system_prompt": system_prompt,
            "model_config": _json(model_config),
            "tools": tools,
        },
    )
    return await cursor.fetchone() is not None


async def of_turn(conn: Conn, *, client_id: int, conversation_id: int, turn_id: int) -> DraftOfTurn | None:
    async with conn.cursor(row_factory=class_row(DraftOfTurn)) as cursor:
        # The draft as it is now, and which question this is.
        await cursor.execute(
            """
            select d.client_id, d.conversation_id, d.session_id, d.system_prompt, d.model_config, d.tools, d.record,
                   d.updated_at,
                   (
                       select count(*) from turns t
                       where t.client_id = %(client_id)s and t.conversation_id = %(conversation_id)s
                         and t.id <= %(turn_id)s
                   ) as question
            from console_drafts d
            where d.client_id = %(client_id)s and d.conversation_id = %(conversation_id)s
            """,
            {"client_id": client_id, "conversation_id": conversation_id, "turn_id": turn_id},
        )
        return await cursor.fetchone()


async def find_session(conn: Conn, *, session_id: str) -> OpenDraft | None:
    """System-wide: for the console, which checks whom its operator serves. The chats of test runs are not found."""
    async with conn.cursor(row_factory=class_row(OpenDraft)) as cursor:
        # One chat of the playground.
        await cursor.execute(
            """
            select d.client_id, d.conversation_id, d.session_id, d.system_prompt, d.model_config, d.tools, d.record,
                   d.updated_at, c.public_id, c.locale
            from console_drafts d
            join conversations c on c.client_id = d.client_id and c.id = d.conversation_id
            where d.session_id = %(session_id)s and d.record is null
            """,
            {"session_id": session_id},
        )
        return await cursor.fetchone()


def _json(value: dict[str, Any] | None) -> Jsonb | None:
    return None if value is None else Jsonb(value, dumps=msgspec.json.encode)
