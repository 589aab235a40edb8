"""Signed-in browsers of the console. System-wide: a session is an operator's, not a client's."""

from datetime import datetime

import msgspec
from psycopg.rows import kwargs_row

from server.repositories.operators import Operator
from server.repositories.pool import Conn


class LiveSession(msgspec.Struct, frozen=True):
    """A session that holds good now, with its operator as they are now."""

    id: int
    last_seen_at: datetime
    expires_at: datetime
    operator: Operator


def _live(
    *,
    session_id: int,
    last_seen_at: datetime,
    expires_at: datetime,
    id: int,
    client_id: int | None,
    email: str,
    name: str,
    avatar_url: str | None,
    role: str,
    status: str,
    created_at: datetime,
    version: int,
) -> LiveSession:
    operator = Operator(
        id=id,
        client_id=client_id,
        email=email,
        name=name,
        avatar_url=avatar_url,
        role=role,
        status=status,
        created_at=created_at,
        version=version,
    )
    return LiveSession(session_id, last_seen_at, expires_at, operator)


async def create(
    conn: Conn,
    *,
    operator_id: int,
    password_hash: str | None,
    token_hash: bytes,
    lifetime_s: float,
    user_agent: str | None,
) -> LiveSession | None:
    """`token_hash` is the HMAC of the cookie's secret, `password_hash` the one that was compared.

    None when the operator is disabled, or has another password by now: whoever changes either waits for us or we for
    them, so that their `revoke_all` misses no session.
    """
    async with conn.cursor(row_factory=kwargs_row(_live)) as cursor:
        # A browser signed in.
        await cursor.execute(
            """
            with operator as (
                select id, client_id, email, name, avatar_url, role, status, created_at, version from operators
                where id = %(operator_id)s and status = 'active'
                  and (%(password_hash)s::text is null or password_hash = %(password_hash)s)
                for share
            ), session as (
                insert into operator_sessions (operator_id, token_hash, user_agent, expires_at)
                select id, %(token_hash)s, %(user_agent)s, now() + make_interval(secs => %(lifetime_s)s) from operator
                returning id, last_seen_at, expires_at
            )
            select s.id as session_id, s.last_seen_at, s.expires_at,
                o.id, o.client_id, o.email, o.name, o.avatar_url, o.role, o.status, o.created_at, o.version
            from session s, operator o
            """,
            {
                "operator_id": operator_id,
                "password_hash": password_hash,
                "token_hash": token_hash,
                "user_agent": user_agent,
                "lifetime_s": lifetime_s,
            },
        )
        return await cursor.fetchone()


async def find_by_token(conn: Conn, *, token_hash: bytes) -> LiveSession | None:
    """The session behind a cookie. None when expired, revoked, or its operator disabled."""
    async with conn.cursor(row_factory=kwargs_row(_live)) as cursor:
        # Who asks.
        await cursor.execute(
            """
            select s.id as session_id, s.last_seen_at, s.expires_at,
                o.id, o.client_id, o.email, o.name, o.avatar_url, o.role, o.status, o.created_at, o.version
            from operator_sessions s join operators o on o.id = s.operator_id
            where s.token_hash = %(token_hash)s and s.expires_at > now() and s.revoked_at is null
              and o.status = 'active'
            """,
            {"token_hash": token_hash},
        )
        return await cursor.fetchone()


async def find(conn: Conn, *, session_id: int) -> LiveSession | None:
    """The same by its id, for a socket that a session has opened."""
    async with conn.cursor(row_factory=kwargs_row(_live)) as cursor:
        # Whether they still may.
        await cursor.execute(
            """
            select s.id as session_id, s.last_seen_at, s.expires_at,
                o.id, o.client_id, o.email, o.name, o.avatar_url, o.role, o.status, o.created_at, o.version
            from operator_sessions s join operators o on o.id = s.operator_id
            where s.id = %(session_id)s and s.expires_at > now() and s.revoked_at is null and o.status = 'active'
            """,
            {"session_id": session_id},
        )
        return await cursor.fetchone()


async def touch(conn: Conn, *, session_id: int) -> None:
    # Seen just now.
    await conn.execute(
        "update operator_sessions set last_seen_at = now() where id = %(session_id)s", {"session_id": session_id}
    )


async def revoke(conn: Conn, *, session_id: int) -> None:
    # Signed out.
    await conn.execute(
        "update operator_sessions set revoked_at = now() where id = %(session_id)s and revoked_at is null",
        {"session_id": session_id},
    )


async def revoke_all(conn: Conn, *, operator_id: int) -> None:
    """After a password change, or when the operator is disabled."""
    # Signed out everywhere.
    await conn.execute(
        "update operator_sessions set revoked_at = now() where operator_id = %(operator_id)s and revoked_at is null",
        {"operator_id": operator_id},
    )


async def revoke_others(conn: Conn, *, operator_id: int, session_id: int) -> None:
    """After somebody changed their own password: they go on where they did it."""
    # Signed out everywhere else.
    await conn.execute(
        """
        update operator_sessions set revoked_at = now()
        where operator_id = %(operator_id)s and id <> %(session_id)s and revoked_at is null
        """,
        {"operator_id": operator_id, "session_id": session_id},
    )


async def delete_expired(conn: Conn) -> int:
    """How many rows went."""
    # Nothing can come of them any more.
    cursor = await conn.execute(
        """
        with old as (
            select id from operator_sessions where expires_at <= now() for update skip locked
        ), gone as (
            delete from operator_sessions s using old where s.id = old.id returning 1
        )
        select count(*) from gone
        """
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else 0
