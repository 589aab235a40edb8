"""Visitors: people whom a client's backend vouched for."""

from datetime import datetime

import msgspec
from psycopg.rows import class_row

from server.repositories.pool import Conn


class Visitor(msgspec.Struct, frozen=True):
    """`external_id` is the client's own name for the person; `verified_at` is the last time it vouched."""

    id: int
    client_id: int
    external_id: str
    name: str | None
    email: str | None
    verified_at: datetime
    created_at: datetime


async def verify(conn: Conn, *, client_id: int, external_id: str, name: str | None, email: str | None) -> Visitor:
    """The person, made or brought up to date. A name or address left out stays what it was."""
    async with conn.cursor(row_factory=class_row(Visitor)) as cursor:
        # Vouched for just now.
        await cursor.execute(
            """
            insert into visitors as v (client_id, external_id, name, email)
            values (%(client_id)s, %(external_id)s, %(name)s, %(email)s)
            on conflict (client_id, external_id) do update set
                name = coalesce(excluded.name, v.name), email = coalesce(excluded.email, v.email), verified_at = now()
            returning id, client_id, external_id, name, email, verified_at, created_at
            """,
            {"client_id": client_id, "external_id": external_id, "name": name, "email": email},
        )
        row = await cursor.fetchone()
        assert row is not None
        return row


async def find(conn: Conn, *, client_id: int, visitor_id: int) -> Visitor | None:
    async with conn.cursor(row_factory=class_row(Visitor)) as cursor:
        # One person.
        await cursor.execute(
            """
            select id, client_id, external_id, name, email, verified_at, created_at from visitors
            where client_id = %(client_id)s and id = %(visitor_id)s
            """,
            {"client_id": client_id, "visitor_id": visitor_id},
        )
        return await cursor.fetchone()


async def verified(conn: Conn, *, client_id: int, conversation_id: int) -> Visitor | None:
    """The person behind a conversation, while they count as verified by the database's clock."""
    async with conn.cursor(row_factory=class_row(Visitor)) as cursor:
        # Whose arguments the server may fill.
        await cursor.execute(
            """
            select v.id, v.client_id, v.external_id, v.name, v.email, v.verified_at, v.created_at
            from conversations c join visitors v on v.client_id = c.client_id and v.id = c.visitor_id
            where c.client_id = %(client_id)s and c.id = %(conversation_id)s and c.verified_until > clock_timestamp()
            """,
            {"client_id": client_id, "conversation_id": conversation_id},
        )
        return await cursor.fetchone()


async def list_for_client(conn: Conn, *, client_id: int, limit: int, offset: int) -> list[Visitor]:
    """Newest first."""
    async with conn.cursor(row_factory=class_row(Visitor)) as cursor:
        # One page of a client's people.
        await cursor.execute(
            """
            select id, client_id, external_id, name, email, verified_at, created_at from visitors
            where client_id = %(client_id)s
            order by id desc
            limit %(limit)s offset %(offset)s
            """,
            {"client_id": client_id, "limit": limit, "offset": offset},
        )
        return await cursor.fetchall()


async def erase(conn: Conn, *, client_id: int, visitor_id: int) -> bool:
    """Removes the person; their conversations stay, without a name. False when there is no such visitor."""
    # Both at once: the identifier on a conversation is the person's too.
    cursor = await conn.execute(
        """
        with nameless as (
            update conversations set user_identifier = null, verified_until = null
            where client_id = %(client_id)s and visitor_id = %(visitor_id)s
        )
        delete from visitors where client_id = %(client_id)s and id = %(visitor_id)s
        returning id
        """,
        {"client_id": client_id, "visitor_id": visitor_id},
    )
    return await cursor.fetchone() is not None
