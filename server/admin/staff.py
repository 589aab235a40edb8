"""Operators: who may sign in, what they may, and how they get in again."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from server import ids
from server.admin.gate import Caller, guarded, path_id
from server.protocol.admin.staff import (
    LoginLink,
    OperatorCreate,
    OperatorCreated,
    OperatorEdit,
    OperatorPage,
    OperatorRow,
    OperatorsQuery,
    PasswordChange,
    PasswordShown,
)
from server.repositories import operators
from server.repositories.operators import ListedOperator
from server.repositories.pool import reading
from server.services import Services
from server.staff.authority import check_may_make, manages
from server.staff.staff import LINK_S, login_url
from server.web.responses import body, convert, json, peer, query

_PRIVATE = {"cache-control": "no-store"}


async def index(request: Request, services: Services, caller: Caller) -> Response:
    asked, client_id = query(request, OperatorsQuery), caller.operator.client_id
    if asked.client_id is not None:
        caller.check_serves(asked.client_id)
        client_id = asked.client_id
    async with reading(services.pool) as conn:
        rows = await operators.page(conn, client_id=client_id, before=asked.before, limit=asked.limit + 1)
    more = len(rows) > asked.limit
    rows = rows[: asked.limit]
    return json(OperatorPage(rows=[_told(row, caller) for row in rows], before=rows[-1].id if more else None))


async def create(request: Request, services: Services, caller: Caller) -> Response:
    given = await body(request, OperatorCreate)
    check_may_make(caller.operator, role=given.role, client_id=given.client_id)
    password = ids.password()
    made = await services.accounts.create(
        email=given.email,
        name=given.name,
        role=given.role,
        client_id=given.client_id,
        password=password,
        by=caller.operator.id,
    )
    told = OperatorCreated(operator=await _row(services, caller, made.id), password=password)
    return json(told, status=201, headers=_PRIVATE)


async def edit(request: Request, services: Services, caller: Caller) -> Response:
    given = await body(request, OperatorEdit)
    changed = await services.accounts.edit(path_id(request, "operator_id"), given, by=caller.operator)
    return json(await _row(services, caller, changed.id))


async def reset_password(request: Request, services: Services, caller: Caller) -> Response:
    operator_id = path_id(request, "operator_id")
    password = await services.accounts.new_password(operator_id, by=caller.operator)
    return json(PasswordShown(operator_id=operator_id, password=password), headers=_PRIVATE)


async def link(request: Request, services: Services, caller: Caller) -> Response:
    operator_id = path_id(request, "operator_id")
    secret = await services.staff.login_link(operator_id, by=caller.operator)
    told = LoginLink(operator_id=operator_id, url=login_url(caller.site.origin, secret), expires_in_s=int(LINK_S))
    return json(told, headers=_PRIVATE)


async def change_password(request: Request, services: Services, caller: Caller) -> Response:
    given = await body(request, PasswordChange)
    await services.accounts.change_password(caller.signed, current=given.current, new=given.new, address=peer(request))
    return Response(status_code=204, headers=_PRIVATE)


async def _row(services: Services, caller: Caller, operator_id: int) -> OperatorRow:
    async with reading(services.pool) as conn:
        # The page that begins with them.
        [row] = await operators.page(conn, client_id=None, before=operator_id + 1, limit=1)
    return _told(row, caller)


def _told(row: ListedOperator, caller: Caller) -> OperatorRow:
    return convert({**msgspec.structs.asdict(row), "manageable": manages(caller.operator, row)}, OperatorRow)


ENDPOINTS = (
    guarded(
        "GET",
        "/operators",
        index,
        "List operators",
        OperatorPage,
        needs="admin",
        asks=OperatorsQuery,
        about="Newest first. An admin of one client sees those who answer for it alone.",
        refuses=(404,),
    ),
    guarded(
        "POST",
        "/operators",
        create,
        "Create an operator",
        OperatorCreated,
        needs="admin",
        takes=OperatorCreate,
        status=201,
        about="The password is shown here only. An owner is made by owners; an admin of one client makes its staff.",
        refuses=(404, 409, 429),
    ),
    guarded(
        "PUT",
        "/operators/{operator_id}",
        edit,
        "Edit an operator",
        OperatorRow,
        needs="admin",
        takes=OperatorEdit,
        about="With the version that was seen: 409 `changed_meanwhile` when it has moved since, `last_owner` for the "
        "only active one, `own_account` for one's own role, client or status.",
        refuses=(409,),
    ),
    guarded(
        "POST",
        "/operators/{operator_id}/reset-password",
        reset_password,
        "Give an operator another password",
        PasswordShown,
        needs="admin",
        about="It is shown here only. They are signed out everywhere, and a lock-out of theirs ends.",
        refuses=(409, 429),
    ),
    guarded(
        "POST",
        "/operators/{operator_id}/link",
        link,
        "Make a login link for an operator",
        LoginLink,
        needs="admin",
        about="It is shown here only, and signs in once within 15 minutes.",
    ),
    guarded(
        "POST",
        "/me/password",
        change_password,
        "Change one's own password",
        None,
        needs="operator",
        takes=PasswordChange,
        status=204,
        about="Every other session of one's own ends. A wrong `current` counts against the lock-out.",
        refuses=(429,),
    ),
)
