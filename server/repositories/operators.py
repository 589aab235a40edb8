"""Operators: the people of the console. System-wide where the owner works, by client where a client's staff does."""

from datetime import datetime

import msgspec
from psycopg.rows import class_row

from server.repositories.pool import Conn


class Operator(msgspec.Struct, frozen=True):
    """`role` is `owner`, `admin` or `operator`; `client_id` is None for those who serve all clients."""

    id: int
    client_id: int | None
    email: str
    name: str
    avatar_url: str | None
    role: str
    status: str
    created_at: datetime


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
            returning id, client_id, email, name, avatar_url, role, status, created_at
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
            select id, client_id, email, name, avatar_url, role, status, created_at from operators
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
            select id, client_id, email, name, avatar_url, role, status, created_at from operators
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
            "select id, client_id, email, name, avatar_url, role, status, created_at from operators order by id"
        )
        return await cursor.fetchall()


async def list_for_client(conn: Conn, *, client_id: int) -> list[Operator]:
    """Those who answer for this client alone, oldest first."""
    async with conn.cursor(row_factory=class_row(Operator)) as cursor:
        # A client's staff.
        await cursor.execute(
            """
            select id, client_id, email, name, avatar_url, role, status, created_at from operators
            where client_id = %(client_id)s
            order by id
            """,
            {"client_id": client_id},
        )
        return await cursor.fetchall()


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
        "update operators set status = %(status)s where id = %(operator_id)s returning id",
        {"operator_id": operator_id, "status": status},
    )
    return await cursor.fetchone() is not None
