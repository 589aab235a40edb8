"""The audit log: who changed what in the console. Rows are written and read, never changed."""

from datetime import datetime
from typing import Any

import msgspec
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from server.repositories.pool import Conn


class AuditEntry(msgspec.Struct, frozen=True):
    """`operator_id` is None for the command line; `details` holds no secrets."""

    id: int
    client_id: int | None
    operator_id: int | None
    action: str
    target_type: str
    target_id: str
    details: dict[str, Any]
    created_at: datetime


async def record(
    conn: Conn,
    *,
    client_id: int | None,
    operator_id: int | None,
    action: str,
    target_type: str,
    target_id: str,
    details: dict[str, Any] | None = None,
) -> None:
    """In the transaction of the change itself. `client_id` is None for what concerns the installation."""
    # One change.
    await conn.execute(
        """
        insert into audit_log (client_id, operator_id, action, target_type, target_id, details)
        values (%(client_id)s, %(operator_id)s, %(action)s, %(target_type)s, %(target_id)s, %(details)s)
        """,
        {
            "client_id": client_id,
            "operator_id": operator_id,
            "action": action,
            "target_type": target_type,
            "target_id": target_id,
            "details": Jsonb(details or {}, dumps=msgspec.json.encode),
        },
    )


async def list_for_client(conn: Conn, *, client_id: int, limit: int, offset: int) -> list[AuditEntry]:
    """Newest first."""
    async with conn.cursor(row_factory=class_row(AuditEntry)) as cursor:
        # One page of what was done for a client.
        await cursor.execute(
            """
            select id, client_id, operator_id, action, target_type, target_id, details, created_at from audit_log
            where client_id = %(client_id)s
            order by id desc
            limit %(limit)s offset %(offset)s
            """,
            {"client_id": client_id, "limit": limit, "offset": offset},
        )
        return await cursor.fetchall()


async def list_all(conn: Conn, *, limit: int, offset: int) -> list[AuditEntry]:
    """System-wide: the owner's view, newest first."""
    async with conn.cursor(row_factory=class_row(AuditEntry)) as cursor:
        # One page of everything.
        await cursor.execute(
            """
            select id, client_id, operator_id, action, target_type, target_id, details, created_at from audit_log
            order by id desc
            limit %(limit)s offset %(offset)s
            """,
            {"limit": limit, "offset": offset},
        )
        return await cursor.fetchall()
