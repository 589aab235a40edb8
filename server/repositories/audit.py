"""The audit log: who changed what in the console. Rows are written and read, never changed."""

from datetime import datetime
from typing import Any

import msgspec
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from server.repositories.pool import Conn

# Above every id.
_NEWEST = 2**63 - 1


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


class NamedEntry(AuditEntry, frozen=True):
    """With the names of today; None where there is nobody, or nobody any more."""

    client_name: str | None
    operator_name: str | None


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


async def page(
    conn: Conn, *, client_id: int, operator_id: int | None, action: str | None, before: int | None, limit: int
) -> list[NamedEntry]:
    """Newest first, with an id below `before`; None leaves a condition out."""
    async with conn.cursor(row_factory=class_row(NamedEntry)) as cursor:
        # Backwards along audit_log_client_id_id_idx.
        await cursor.execute(
            """
            select a.id, a.client_id, a.operator_id, a.action, a.target_type, a.target_id, a.details, a.created_at,
                   c.name as client_name, o.name as operator_name
            from audit_log a
            join clients c on c.id = a.client_id
            left join operators o on o.id = a.operator_id
            where a.client_id = %(client_id)s and a.id < %(before)s
              and (%(operator_id)s::bigint is null or a.operator_id = %(operator_id)s)
              and (%(action)s::text is null or a.action = %(action)s)
            order by a.id desc
            limit %(limit)s
            """,
            {
                "client_id": client_id,
                "operator_id": operator_id,
                "action": action,
                "before": _NEWEST if before is None else before,
                "limit": limit,
            },
        )
        return await cursor.fetchall()


async def page_of_all(
    conn: Conn, *, operator_id: int | None, action: str | None, before: int | None, limit: int
) -> list[NamedEntry]:
    """System-wide: the same over all clients and the installation itself."""
    async with conn.cursor(row_factory=class_row(NamedEntry)) as cursor:
        # Backwards along the ids, of the operator or the action where one is named.
        await cursor.execute(
            """
            select a.id, a.client_id, a.operator_id, a.action, a.target_type, a.target_id, a.details, a.created_at,
                   c.name as client_name, o.name as operator_name
            from audit_log a
            left join clients c on c.id = a.client_id
            left join operators o on o.id = a.operator_id
            where a.id < %(before)s
              and (%(operator_id)s::bigint is null or a.operator_id = %(operator_id)s)
              and (%(action)s::text is null or a.action = %(action)s)
            order by a.id desc
            limit %(limit)s
            """,
            {
                "operator_id": operator_id,
                "action": action,
                "before": _NEWEST if before is None else before,
                "limit": limit,
            },
        )
        return await cursor.fetchall()


async def latest(conn: Conn, *, action: str) -> datetime | None:
    """System-wide: when something was last done."""
    # The end of audit_log_action_id_idx.
    cursor = await conn.execute(
        "select created_at from audit_log where action = %(action)s order by id desc limit 1", {"action": action}
    )
    row: tuple[datetime] | None = await cursor.fetchone()
    return row[0] if row else None
