"""Secrets that work once: tickets for the console's socket, and login links. System-wide: they are an operator's."""

import msgspec
from psycopg.rows import class_row

from server.repositories.pool import Conn


class Ticket(msgspec.Struct, frozen=True):
    """What a secret stood for. `session_id` is None for a link."""

    operator_id: int
    session_id: int | None


async def create_socket(conn: Conn, *, session_id: int, secret_hash: bytes, lifetime_s: float) -> bool:
    """A ticket of a session. False when the session holds no longer."""
    # For one socket.
    cursor = await conn.execute(
        """
        insert into operator_tickets (operator_id, session_id, kind, secret_hash, expires_at)
        select s.operator_id, s.id, 'socket', %(secret_hash)s, now() + make_interval(secs => %(lifetime_s)s)
        from operator_sessions s join operators o on o.id = s.operator_id
        where s.id = %(session_id)s and s.expires_at > now() and s.revoked_at is null and o.status = 'active'
        returning id
        """,
        {"session_id": session_id, "secret_hash": secret_hash, "lifetime_s": lifetime_s},
    )
    return await cursor.fetchone() is not None


async def create_link(conn: Conn, *, operator_id: int, secret_hash: bytes, lifetime_s: float) -> bool:
    """A login link. False when there is no such operator, or they are disabled."""
    # For one sign-in; whoever disables the operator meanwhile waits for us or we for them.
    cursor = await conn.execute(
        """
        with operator as (
            select id from operators where id = %(operator_id)s and status = 'active' for share
        )
        insert into operator_tickets (operator_id, kind, secret_hash, expires_at)
        select id, 'link', %(secret_hash)s, now() + make_interval(secs => %(lifetime_s)s) from operator
        returning id
        """,
        {"operator_id": operator_id, "secret_hash": secret_hash, "lifetime_s": lifetime_s},
    )
    return await cursor.fetchone() is not None


async def use(conn: Conn, *, kind: str, secret_hash: bytes) -> Ticket | None:
    """What the secret stands for, once: of several who ask at the same moment one gets it. None when expired."""
    async with conn.cursor(row_factory=class_row(Ticket)) as cursor:
        # Who deletes it has it.
        await cursor.execute(
            """
            delete from operator_tickets
            where secret_hash = %(secret_hash)s and kind = %(kind)s and expires_at > now()
            returning operator_id, session_id
            """,
            {"secret_hash": secret_hash, "kind": kind},
        )
        return await cursor.fetchone()


async def delete_all(conn: Conn, *, operator_id: int) -> None:
    """After a password change, or when the operator is disabled."""
    # None of them works any more.
    await conn.execute("delete from operator_tickets where operator_id = %(operator_id)s", {"operator_id": operator_id})


async def delete_expired(conn: Conn) -> int:
    """How many rows went."""
    # Nobody came in time.
    cursor = await conn.execute(
        """
        with old as (
            select id from operator_tickets where expires_at <= now() for update skip locked
        ), gone as (
            delete from operator_tickets t using old where t.id = old.id returning 1
        )
        select count(*) from gone
        """
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else 0
