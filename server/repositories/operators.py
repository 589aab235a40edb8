"""Operators: the people of the console. System-wide where the owner works, by client where a client's staff does."""

from datetime import datetime

import msgspec
from psycopg.rows import class_row

from server.repositories.pool import Conn


class Operator(msgspec.Struct, frozen=True):
    """`role` is `owner`, `admin` or `operator`; `client_id` is None for those who serve all clients.

    `version` counts the edits from 1.
    """

    id: int
    client_id: int | None
    email: str
    name: str
    avatar_url: str | None
    role: str
    status: str
    created_at: datetime
    version: int


class ListedOperator(Operator, frozen=True):
    """An operator of the console's list. `last_seen_at`: by any session of theirs that is kept, to the minute."""

    client_name: str | None
    last_seen_at: datetime | None


class OperatorLogin(msgspec.Struct, frozen=True):
    """What a login compares. `password_hash` is argon2id in its own text form."""

    id: int
    client_id: int | None
    password_hash: str
    status: str


async def create(
    conn: Conn, *, client_id: int | None, email: str, name: str, password_hash: str, role: str
) -> Operator:
    """Raises Conflict `email_taken`; an address is the same in any case of its letters."""
    async with conn.cursor(row_factory=class_row(Operator)) as cursor:
        # Somebody who may sign in.
        await cursor.execute(
            """
            insert into operators (client_id, email, name, password_hash, role)
            values (%(client_id)s, %(email)s, %(name)s, %(password_hash)s, %(role)s)
            returning id, client_id, email, name, avatar_url, role, status, created_at, version
            """,
            {"client_id": client_id, "email": email, "name": name, "password_hash": password_hash, "role": role},
        )
        row = await cursor.fetchone()
        assert row is not None
        return row


async def find(conn: Conn, *, operator_id: int) -> Operator | None:
    """System-wide: whoever signed in."""
    async with conn.cursor(row_factory=class_row(Operator)) as cursor:
        # One operator.
        await cursor.execute(
            """
            select id, client_id, email, name, avatar_url, role, status, created_at, version from operators
            where id = %(operator_id)s
            """,
            {"operator_id": operator_id},
        )
        return await cursor.fetchone()


async def find_by_email(conn: Conn, *, email: str) -> Operator | None:
    """System-wide: the address is what names the operator, in any case of its letters."""
    async with conn.cursor(row_factory=class_row(Operator)) as cursor:
        # One operator, by what people call them.
        await cursor.execute(
            """
            select id, client_id, email, name, avatar_url, role, status, created_at, version from operators
            where lower(email) = lower(%(email)s)
            """,
            {"email": email},
        )
        return await cursor.fetchone()


async def find_login(conn: Conn, *, email: str) -> OperatorLogin | None:
    """System-wide: the address is what names the operator."""
    async with conn.cursor(row_factory=class_row(OperatorLogin)) as cursor:
        # For the password check.
        await cursor.execute(
            "select id, client_id, password_hash, status from operators where lower(email) = lower(%(email)s)",
            {"email": email},
        )
        return await cursor.fetchone()


async def list_all(conn: Conn) -> list[Operator]:
    """System-wide: the owner's list, oldest first."""
    async with conn.cursor(row_factory=class_row(Operator)) as cursor:
        # Everybody.
        await cursor.execute(
            """
            select id, client_id, email, name, avatar_url, role, status, created_at, version from operators
            order by id
            """
        )
        return await cursor.fetchall()


async def list_for_client(conn: Conn, *, client_id: int) -> list[Operator]:
    """Those who answer for this client alone, oldest first."""
    async with conn.cursor(row_factory=class_row(Operator)) as cursor:
        # A client's staff.
        await cursor.execute(
            """
            select id, client_id, email, name, avatar_url, role, status, created_at, version from operators
            where client_id = %(client_id)s
            order by id
            """,
            {"client_id": client_id},
        )
        return await cursor.fetchall()


async def page(conn: Conn, *, client_id: int | None, before: int | None, limit: int) -> list[ListedOperator]:
    """Newest first: those who answer for this client alone, or system-wide where it is None.

    `before` is the last id of the page before this one.
    """
    async with conn.cursor(row_factory=class_row(ListedOperator)) as cursor:
        # One page; sessions only of its rows.
        await cursor.execute(
            """
            select o.id, o.client_id, o.email, o.name, o.avatar_url, o.role, o.status, o.created_at, o.version,
                   c.name as client_name, s.last_seen_at
            from (
                select id, client_id, email, name, avatar_url, role, status, created_at, version from operators
                where (%(client_id)s::bigint is null or client_id = %(client_id)s)
                  and (%(before)s::bigint is null or id < %(before)s)
                order by id desc
                limit %(limit)s
            ) o
            left join clients c on c.id = o.client_id
            cross join lateral (
                select max(last_seen_at) as last_seen_at from operator_sessions where operator_id = o.id
            ) s
            order by o.id desc
            """,
            {"client_id": client_id, "before": before, "limit": limit},
        )
        return await cursor.fetchall()


async def find_to_change(conn: Conn, *, operator_id: int) -> Operator | None:
    """System-wide. Locked to the end of the transaction: whoever else changes them waits, and then sees it."""
    async with conn.cursor(row_factory=class_row(Operator)) as cursor:
        # One operator, nobody else's for a moment.
        await cursor.execute(
            """
            select id, client_id, email, name, avatar_url, role, status, created_at, version from operators
            where id = %(operator_id)s
            for update
            """,
            {"operator_id": operator_id},
        )
        return await cursor.fetchone()


async def change(
    conn: Conn, *, operator_id: int, name: str, role: str, serves: int | None, status: str
) -> Operator | None:
    """System-wide. As they are now, a version later. `serves` is their client. None when there is no such operator.

    Raises Invalid for a role that does not go with the client, NotFound for a client that is not there.
    """
    async with conn.cursor(row_factory=class_row(Operator)) as cursor:
        # All that may be edited.
        await cursor.execute(
            """
            update operators set
                name = %(name)s, role = %(role)s, client_id = %(serves)s, status = %(status)s, version = version + 1
            where id = %(operator_id)s
            returning id, client_id, email, name, avatar_url, role, status, created_at, version
            """,
            {"operator_id": operator_id, "name": name, "role": role, "serves": serves, "status": status},
        )
        return await cursor.fetchone()


async def password_hash(conn: Conn, *, operator_id: int) -> str | None:
    """System-wide: who is signed in. None when there is no such operator."""
    # To compare what they say is their password.
    cursor = await conn.execute(
        "select password_hash from operators where id = %(operator_id)s", {"operator_id": operator_id}
    )
    row = await cursor.fetchone()
    return row[0] if row else None


async def set_password(conn: Conn, *, operator_id: int, password_hash: str) -> bool:
    """System-wide. Revoke the sessions too (`operator_sessions.revoke_all`). False when there is no such operator."""
    # Another password.
    cursor = await conn.execute(
        "update operators set password_hash = %(password_hash)s where id = %(operator_id)s returning id",
        {"operator_id": operator_id, "password_hash": password_hash},
    )
    return await cursor.fetchone() is not None


async def rehash(conn: Conn, *, operator_id: int, old: str, new: str) -> None:
    """System-wide. The same password, hashed with today's parameters, unless it was changed meanwhile."""
    # Another form of the same.
    await conn.execute(
        "update operators set password_hash = %(new)s where id = %(operator_id)s and password_hash = %(old)s",
        {"operator_id": operator_id, "old": old, "new": new},
    )


async def lock_owners(conn: Conn) -> list[int]:
    """System-wide. The active owners, locked: of two who disable each other, the second sees what the first did."""
    # Those who run the installation.
    cursor = await conn.execute(
        "select id from operators where role = 'owner' and status = 'active' order by id for update"
    )
    return [row[0] for row in await cursor.fetchall()]


async def set_status(conn: Conn, *, operator_id: int, status: str) -> bool:
    """System-wide. `active` or `disabled`. False when there is no such operator."""
    # Lock out, or let back in.
    cursor = await conn.execute(
        "update operators set status = %(status)s, version = version + 1 where id = %(operator_id)s returning id",
        {"operator_id": operator_id, "status": status},
    )
    return await cursor.fetchone() is not None
