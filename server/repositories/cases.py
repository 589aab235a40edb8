"""Test cases: conversations that a client's AI should still do well after a change."""

from datetime import datetime
from typing import Any

import msgspec
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from server.repositories.pool import Conn


class CaseRecord(msgspec.Struct, frozen=True):
    """`questions` and `rules` are JSON as the case's own structs read it. `version` counts the edits from 1."""

    id: int
    client_id: int
    conversation_public_id: str
    name: str
    locale: str
    verified: bool
    questions: list[dict[str, Any]]
    rules: dict[str, Any]
    version: int
    created_at: datetime
    updated_at: datetime


class CaseLine(msgspec.Struct, frozen=True):
    """A case in a list. `questions` is how many it has; the last three are of the newest run that it was in."""

    id: int
    client_id: int
    name: str
    questions: int
    rules: dict[str, Any]
    version: int
    created_at: datetime
    updated_at: datetime
    run_id: int | None
    run_status: str | None
    run_at: datetime | None


async def create(
    conn: Conn,
    *,
    client_id: int,
    conversation_id: int,
    name: str,
    locale: str,
    verified: bool,
    questions: list[Any],
    rules: dict[str, Any],
) -> int:
    """Its id. Raises NotFound without the conversation."""
    # What a run asks, and what was answered.
    cursor = await conn.execute(
        """
        insert into test_cases (client_id, conversation_id, name, locale, verified, questions, rules)
        values (
            %(client_id)s, %(conversation_id)s, %(name)s, %(locale)s, %(verified)s, %(questions)s, %(rules)s
        )
        returning id
        """,
        {
            "client_id": client_id,
            "conversation_id": conversation_id,
            "name": name,
            "locale": locale,
            "verified": verified,
            "questions": Jsonb(questions, dumps=msgspec.json.encode),
            "rules": Jsonb(rules, dumps=msgspec.json.encode),
        },
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def find(conn: Conn, *, client_id: int, case_id: int) -> CaseRecord | None:
    async with conn.cursor(row_factory=class_row(CaseRecord)) as cursor:
        # One case, whole.
        await cursor.execute(
            """
            select t.id, t.client_id, c.public_id as conversation_public_id, t.name, t.locale, t.verified, t.questions,
                   t.rules, t.version, t.created_at, t.updated_at
            from test_cases t
            join conversations c on c.client_id = t.client_id and c.id = t.conversation_id
            where t.client_id = %(client_id)s and t.id = %(case_id)s
            """,
            {"client_id": client_id, "case_id": case_id},
        )
        return await cursor.fetchone()


async def client_of(conn: Conn, *, case_id: int) -> int | None:
    """System-wide: whose it is, for the console, which checks whom its operator serves."""
    # By the case's own id.
    cursor = await conn.execute("select client_id from test_cases where id = %(case_id)s", {"case_id": case_id})
    row = await cursor.fetchone()
    return row[0] if row else None


async def update(
    conn: Conn, *, client_id: int, case_id: int, seen: int, name: str, rules: dict[str, Any]
) -> int | None:
    """The new version; None when it is not the one that was `seen` any more."""
    # Nothing is overwritten that was not seen.
    cursor = await conn.execute(
        """
        update test_cases set name = %(name)s, rules = %(rules)s, version = version + 1, updated_at = now()
        where client_id = %(client_id)s and id = %(case_id)s and version = %(seen)s
        returning version
        """,
        {
            "client_id": client_id,
            "case_id": case_id,
            "seen": seen,
            "name": name,
            "rules": Jsonb(rules, dumps=msgspec.json.encode),
        },
    )
    row = await cursor.fetchone()
    return row[0] if row else None


async def delete(conn: Conn, *, client_id: int, case_id: int) -> bool:
    """With its results. False when there is none."""
    # A case that is of no use any more.
    cursor = await conn.execute(
        "delete from test_cases where client_id = %(client_id)s and id = %(case_id)s returning id",
        {"client_id": client_id, "case_id": case_id},
    )
    return await cursor.fetchone() is not None


async def page(conn: Conn, *, client_id: int, before: int | None, limit: int) -> list[CaseLine]:
    """The `limit` cases before the one with id `before` (the newest ones for None), newest first."""
    async with conn.cursor(row_factory=class_row(CaseLine)) as cursor:
        # Along test_cases_client_id_id_key, with one look-up of a result for each.
        await cursor.execute(
            """
            select t.id, t.client_id, t.name, jsonb_array_length(t.questions) as questions, t.rules, t.version,
                   t.created_at, t.updated_at, r.run_id, r.status as run_status, r.created_at as run_at
            from test_cases t
            left join lateral (
                select x.run_id, x.status, x.created_at from test_results x
                where x.client_id = t.client_id and x.case_id = t.id
                order by x.id desc
                limit 1
            ) r on true
            where t.client_id = %(client_id)s and (%(before)s::bigint is null or t.id < %(before)s)
            order by t.id desc
            limit %(limit)s
            """,
            {"client_id": client_id, "before": before, "limit": limit},
        )
        return await cursor.fetchall()
