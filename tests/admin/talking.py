"""Conversations for tests of the console's API, and what a script would call it with."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import httpx

from server import ids
from server.protocol.admin.session import Role
from server.repositories import conversations, messages
from server.repositories.conversations import Conversation
from server.repositories.pool import unit_of_work
from tests.admin.console import BASE, Console
from tests.flows.support import Desk, Shop
from tests.staffing import hire


async def get(console: Console, path: str, **asked: Any) -> dict[str, Any]:
    """The answer to a GET that must succeed."""
    answer = await console.http.get(BASE + path, params=asked)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    told: dict[str, Any] = answer.json()
    return told


async def refused(console: Console, path: str, **asked: Any) -> tuple[int, str, str | None]:
    """Status, code and field of a GET that must not."""
    return refusal(await console.http.get(BASE + path, params=asked))


def refusal(answer: httpx.Response) -> tuple[int, str, str | None]:
    """Status, code and field."""
    error = answer.json()["error"]
    return answer.status_code, error["code"], error.get("field")


@asynccontextmanager
async def signed_in(
    desk: Desk, shop: Shop | None, role: Role = "operator", *, name: str = "Olga"
) -> AsyncIterator[Console]:
    """The browser of somebody of this shop's staff; of an owner of the installation where there is none."""
    operator = await hire(desk.pool, desk.keyring, role=role, client_id=None if shop is None else shop.id, name=name)
    async with Console.of(desk.url) as console:
        await console.sign_in(operator)
        yield console


async def talk(desk: Desk, shop: Shop, *said: str, day: int | None = None) -> Conversation:
    """A conversation in which this was said, by the visitor and the AI in turn. `day` of January 2031 is its last."""
    async with unit_of_work(desk.pool) as conn:
        made = await conversations.create(
            conn,
            client_id=shop.id,
            public_id=ids.conversation_id(),
            session_id=ids.session_id(),
            session_token_hash=secrets.token_bytes(32),
            epoch=ids.epoch(),
            channel="widget",
            locale="en",
        )
        for number, text in enumerate(said):
            await messages.create(
                conn,
                client_id=shop.id,
                conversation_id=made.id,
                public_id=ids.message_id(),
                role=("user", "assistant")[number % 2],
                content=text,
                seq=number + 1,
                created_at=datetime.now(UTC),
            )
        await conversations.advance(
            conn, client_id=shop.id, conversation_id=made.id, last_seq=len(said), messages_added=len(said)
        )
    if day is not None:
        at = datetime(2031, 1, day, tzinfo=UTC)
        await desk.rows("update conversations set last_activity_at = %s where id = %s", at, made.id)
    return made


async def audited(desk: Desk, prefix: str) -> list[tuple[str, str, dict[str, Any]]]:
    """Action, target and details of what the audit log has of these actions, oldest first."""
    rows = await desk.rows(
        "select action, target_id, details from audit_log where action like %s order by id", f"{prefix}%"
    )
    return [(action, target, details) for action, target, details in rows]
