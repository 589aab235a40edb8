"""`/audit`: who changed what."""

from starlette.requests import Request
from starlette.responses import Response

from server.admin.gate import Caller, guarded
from server.protocol.admin.audit import AuditPage, AuditQuery, AuditRow
from server.repositories import audit
from server.repositories.audit import NamedEntry
from server.repositories.pool import reading
from server.services import Services
from server.web.responses import json, query


async def read_audit(request: Request, services: Services, caller: Caller) -> Response:
    asked = query(request, AuditQuery)
    client_id = caller.operator.client_id if asked.client_id is None else asked.client_id
    if client_id is not None:
        caller.check_serves(client_id)
    # One more tells whether there is another page.
    limit = asked.limit + 1
    async with reading(services.pool) as conn:
        if client_id is None:
            rows = await audit.page_of_all(
                conn, operator_id=asked.operator_id, action=asked.action, before=asked.before, limit=limit
            )
        else:
            rows = await audit.page(
                conn,
                client_id=client_id,
                operator_id=asked.operator_id,
                action=asked.action,
                before=asked.before,
                limit=limit,
            )
    shown = rows[: asked.limit]
    return json(AuditPage(rows=[_told(row) for row in shown], before=shown[-1].id if len(rows) > asked.limit else None))


def _told(row: NamedEntry) -> AuditRow:
    return AuditRow(
        id=row.id,
        created_at=row.created_at,
        action=row.action,
        target_type=row.target_type,
        target_id=row.target_id,
        details=row.details,
        client_id=row.client_id,
        client_name=row.client_name,
        operator_id=row.operator_id,
        operator_name=row.operator_name,
    )


ENDPOINTS = (
    guarded(
        "GET",
        "/audit",
        read_audit,
        "Who changed what, newest first",
        AuditPage,
        needs="admin",
        asks=AuditQuery,
        refuses=(404,),
        about="Who serves one client sees what concerns that client.",
    ),
)
