"""What operators should know, and that they have read it."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from server.admin.gate import Caller, guarded, path_id
from server.errors import NotFound
from server.protocol.admin.notifications import (
    NotificationInfo,
    NotificationKind,
    NotificationPage,
    NotificationQuery,
    NotificationsRead,
    NotificationsReadResult,
)
from server.repositories import audit, notifications
from server.repositories.notifications import Notification
from server.repositories.pool import Conn, reading, unit_of_work
from server.services import Services
from server.staff import serves
from server.web.responses import body, json, query

# As many unread ones are counted.
UNREAD = 100
_PRIVATE = {"cache-control": "no-store"}


async def listed(request: Request, services: Services, caller: Caller) -> Response:
    asked = query(request, NotificationQuery)
    client_id = _client(caller, asked.client_id)
    async with reading(services.pool) as conn:
        found = await _found(conn, client_id, asked)
        if client_id is None:
            unread = await notifications.count_unread_of_all(conn, most=UNREAD)
        else:
            unread = await notifications.count_unread(conn, client_id=client_id, most=UNREAD)
    page = found[: asked.limit]
    told = NotificationPage(
        rows=[_told(each) for each in page],
        before=page[-1].id if len(found) > asked.limit else None,
        unread=unread,
    )
    return json(told, headers=_PRIVATE)


async def read(request: Request, services: Services, caller: Caller) -> Response:
    notification_id, operator = path_id(request, "notification_id"), caller.operator
    async with unit_of_work(services.pool) as conn:
        row = await notifications.find_of_any(conn, notification_id=notification_id)
        if row is None or not serves(operator, row.client_id):
            raise NotFound("there is no such notification")
        if await notifications.mark_one_read(conn, client_id=row.client_id, notification_id=row.id):
            await _record(conn, caller, "notification.read", row.client_id, str(row.id))
            row = await notifications.find_of_any(conn, notification_id=notification_id) or row
    return json(_told(row), headers=_PRIVATE)


async def read_all(request: Request, services: Services, caller: Caller) -> Response:
    given = await body(request, NotificationsRead)
    client_id = _client(caller, given.client_id)
    async with unit_of_work(services.pool) as conn:
        if client_id is None:
            marked = await notifications.mark_read_of_all(conn, through_id=given.through_id)
        else:
            marked = await notifications.mark_read(conn, client_id=client_id, through_id=given.through_id)
        if marked:
            await _record(conn, caller, "notification.read_all", client_id, str(given.through_id))
    return json(NotificationsReadResult(marked=marked), headers=_PRIVATE)


def _client(caller: Caller, client_id: int | None) -> int | None:
    """Whose: one client's, or None for all of them. Raises NotFound."""
    if client_id is None:
        return caller.operator.client_id
    caller.check_serves(client_id)
    return client_id


async def _found(conn: Conn, client_id: int | None, asked: NotificationQuery) -> list[Notification]:
    """One more than asked for, where there is one."""
    before, limit = asked.before, asked.limit + 1
    if client_id is None:
        if asked.unread:
            return await notifications.list_unread_of_all(conn, before=before, limit=limit)
        return await notifications.page_of_all(conn, before=before, limit=limit)
    if asked.unread:
        return await notifications.list_unread(conn, client_id=client_id, before=before, limit=limit)
    return await notifications.page(conn, client_id=client_id, before=before, limit=limit)


async def _record(conn: Conn, caller: Caller, action: str, client_id: int | None, target_id: str) -> None:
    await audit.record(
        conn,
        client_id=client_id,
        operator_id=caller.operator.id,
        action=action,
        target_type="notification",
        target_id=target_id,
    )


def _told(row: Notification) -> NotificationInfo:
    return NotificationInfo(
        id=row.id,
        client_id=row.client_id,
        kind=msgspec.convert(row.kind, NotificationKind),
        conversation_id=row.conversation_public_id,
        details=row.details,
        created_at=row.created_at,
        read_at=row.read_at,
    )


ENDPOINTS = (
    guarded(
        "GET",
        "/notifications",
        listed,
        "Read notifications",
        NotificationPage,
        needs="operator",
        asks=NotificationQuery,
        about="Newest first: of one client, or of all whom the operator serves.",
        refuses=(404,),
    ),
    guarded(
        "POST",
        "/notifications/read-all",
        read_all,
        "Mark notifications as read",
        NotificationsReadResult,
        needs="operator",
        takes=NotificationsRead,
        refuses=(404,),
    ),
    guarded(
        "POST",
        "/notifications/{notification_id}/read",
        read,
        "Mark a notification as read",
        NotificationInfo,
        needs="operator",
        about="For everybody: the first who reads it is the one.",
    ),
)
