"""Signed-in browsers of the console. System-wide: a session is an operator's, not a client's."""

from datetime import datetime

import msgspec
from psycopg.rows import class_row

from server.repositories.pool import Conn


class OperatorSession(msgspec.Struct, frozen=True):
    """A session that holds good now, with what its operator may do."""

    id: int
    operator_id: int
    client_id: int | None
    role: str
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime


async def create(conn: Conn, *, operator_id: int, token_hash: bytes, lifetime_s: float, user_agent: str | None) -> None:
    """`token_hash` is the HMAC of the cookie's secret."""
    # A browser signed in.
    await conn.execute(
        """
        insert into operator_sessions (operator_id, token_hash, user_agent, expires_at)
        values (%(operator_id)s, %(token_hash)s, %(user_agent)s, now() + make_interval(secs => %(lifetime_s)s))
        """,
        {
            "operator_id": operator_id,
            "token_hash": token_hash,
            "user_agent": user_agent,
            "lifetime_s": lifetime_s,
        },
    )


async def use(conn: Conn, *, token_hash: bytes) -> OperatorSession | None:
    """The session behind a cookie, marked as seen. None when expired, revoked, or its operator disabled."""
    async with conn.cursor(row_factory=class_row(OperatorSession)) as cursor:
        # Looks and marks in one statement.
        await cursor.execute(
            """
            update operator_sessions s set last_seen_at = now()
            from operators o
            where s.token_hash = %(token_hash)s and s.expires_at > now() and s.revoked_at is null
              and o.id = s.operator_id and o.status = 'active'
            returning s.id, s.operator_id, o.client_id, o.role, s.created_at, s.last_seen_at, s.expires_at
            """,
            {"token_hash": token_hash},
        )
        return await cursor.fetchone()


async def revoke(conn: Conn, *, token_hash: bytes) -> None:
    # Signed out.
    await conn.execute(
        "update operator_sessions set revoked_at = now() where token_hash = %(token_hash)s and revoked_at is null",
        {"token_hash": token_hash},
    )


async def revoke_all(conn: Conn, *, operator_id: int) -> None:
    """After a password change, or when the operator is disabled."""
    # Signed out everywhere.
    await conn.execute(
        "update operator_sessions set revoked_at = now() where operator_id = %(operator_id)s and revoked_at is null",
        {"operator_id": operator_id},
    )


async def delete_expired(conn: Conn) -> int:
    """How many rows went."""
    # Nothing can come of them any more.
    cursor = await conn.execute(
        """
        with gone as (delete from operator_sessions where expires_at <= now() returning 1)
        select count(*) from gone
        """
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else 0
