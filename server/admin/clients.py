"""Clients: the list, one of them whole, what is edited, and how it is suspended and let back in."""

from datetime import UTC, date, datetime, time, timedelta

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from server.admin.gate import Caller, guarded, path_id
from server.clients import script
from server.errors import NotFound
from server.protocol.admin.clients import (
    ClientCreate,
    ClientCreated,
    ClientDetail,
    ClientEdit,
    ClientPage,
    ClientRow,
    ClientsQuery,
    MonthUse,
    PlanInfo,
    Plans,
)
from server.protocol.client_config import read_model, read_widget
from server.repositories import client_list, clients, plans, usage
from server.repositories.client_list import ListedClient
from server.repositories.clients import Client
from server.repositories.pool import reading
from server.repositories.usage import UsageTotal
from server.services import Services
from server.web.languages import languages
from server.web.responses import body, json, query


async def index(request: Request, services: Services, caller: Caller) -> Response:
    asked, today = query(request, ClientsQuery), _today()
    async with reading(services.pool) as conn:
        rows = await client_list.page(
            conn,
            client_id=caller.operator.client_id,
            query=asked.q or None,
            status=asked.status,
            before=asked.before,
            limit=asked.limit + 1,
            today=today,
        )
    more = len(rows) > asked.limit
    rows = rows[: asked.limit]
    return json(ClientPage(rows=[_row(row, today) for row in rows], before=rows[-1].id if more else None))


async def create(request: Request, services: Services, caller: Caller) -> Response:
    given = await body(request, ClientCreate)
    made, api_key = await services.clients.create(
        name=given.name,
        domain=given.domain,
        allowed_origins=given.allowed_origins,
        plan=given.plan,
        locale=given.locale,
        timezone=given.timezone,
        by=caller.operator.id,
    )
    told = ClientCreated(
        client=await _detail(services, made), api_key=api_key, script=script(made.public_key, caller.site.origin)
    )
    return json(told, status=201, headers={"cache-control": "no-store"})


async def show(request: Request, services: Services, _caller: Caller) -> Response:
    client_id = path_id(request, "client_id")
    async with reading(services.pool) as conn:
        found = await clients.find(conn, client_id=client_id)
    if found is None:
        raise NotFound("there is no such client")
    return json(await _detail(services, found))


async def edit(request: Request, services: Services, caller: Caller) -> Response:
    given = await body(request, ClientEdit)
    changed = await services.clients.edit(
        path_id(request, "client_id"), given, registry=services.registry, by=caller.operator
    )
    return json(await _detail(services, changed))


async def suspend(request: Request, services: Services, caller: Caller) -> Response:
    return await _set_status(request, services, caller, "suspended")


async def activate(request: Request, services: Services, caller: Caller) -> Response:
    return await _set_status(request, services, caller, "active")


async def all_plans(_request: Request, services: Services, _caller: Caller) -> Response:
    async with reading(services.pool) as conn:
        rows = await plans.list_all(conn)
    return json(Plans(rows=[msgspec.convert(row, PlanInfo, from_attributes=True) for row in rows]))


async def _set_status(request: Request, services: Services, caller: Caller, status: str) -> Response:
    changed = await services.clients.set_status(path_id(request, "client_id"), status, by=caller.operator.id)
    return json(await _detail(services, changed))


async def _detail(services: Services, client: Client) -> ClientDetail:
    today = _today()
    async with reading(services.pool) as conn:
        identity = await clients.identity_secret(conn, client_id=client.id)
        used = await usage.current_period(conn, client_id=client.id, today=today)
    model, wrong_model = read_model(client.model_config)
    widget, wrong_widget = read_widget(client.widget_config)
    return ClientDetail(
        id=client.id,
        version=client.version,
        name=client.name,
        domain=client.domain,
        allowed_origins=client.allowed_origins,
        public_key=client.public_key,
        api_key_prefix=client.api_key_prefix,
        has_identity_secret=identity is not None,
        plan=client.plan_type,
        requests_per_minute=client.requests_per_minute,
        status="active" if client.status == "active" else "suspended",
        system_prompt=client.system_prompt,
        model=model,
        widget=widget,
        ignored=[*(f"model.{field}" for field in wrong_model), *(f"widget.{field}" for field in wrong_widget)],
        locale=client.locale,
        timezone=client.timezone,
        created_at=client.created_at,
        month=_month(used, client.monthly_messages, today),
        widget_languages=languages(),
    )


def _row(row: ListedClient, today: date) -> ClientRow:
    return ClientRow(
        id=row.id,
        name=row.name,
        domain=row.domain,
        public_key=row.public_key,
        plan=row.plan_type,
        status="active" if row.status == "active" else "suspended",
        created_at=row.created_at,
        seen_at=row.seen_at,
        month=MonthUse(
            since=today.replace(day=1),
            resets_at=_next_month(today),
            conversations=row.conversations,
            messages=row.messages,
            monthly_messages=row.monthly_messages,
            tokens_input=row.tokens_input,
            tokens_output=row.tokens_output,
            tool_calls=row.tool_calls,
            cached_answers=row.cached_answers,
            cost=row.cost,
        ),
    )


def _month(used: UsageTotal, monthly_messages: int | None, today: date) -> MonthUse:
    return MonthUse(
        since=today.replace(day=1),
        resets_at=_next_month(today),
        conversations=used.conversation_count,
        messages=used.message_count,
        monthly_messages=monthly_messages,
        tokens_input=used.tokens_input,
        tokens_output=used.tokens_output,
        tool_calls=used.tool_calls_count,
        cached_answers=used.cached_answers,
        cost=used.cost_estimate,
    )


def _today() -> date:
    return datetime.now(UTC).date()


def _next_month(today: date) -> datetime:
    # Every month ends before its 32nd day.
    first = (today.replace(day=1) + timedelta(days=31)).replace(day=1)
    return datetime.combine(first, time(), UTC)


ENDPOINTS = (
    guarded(
        "GET",
        "/clients",
        index,
        "List clients",
        ClientPage,
        needs="admin",
        asks=ClientsQuery,
        about="Newest first, with the month so far. An admin of one client sees that one.",
    ),
    guarded(
        "POST",
        "/clients",
        create,
        "Create a client",
        ClientCreated,
        needs="owner",
        takes=ClientCreate,
        status=201,
        about="The secret key is shown here only.",
    ),
    guarded("GET", "/clients/{client_id}", show, "Read a client", ClientDetail, needs="admin"),
    guarded(
        "PUT",
        "/clients/{client_id}",
        edit,
        "Edit a client",
        ClientDetail,
        needs="admin",
        takes=ClientEdit,
        about="The whole editable state, with the version that was seen: 409 `changed_meanwhile` when it has moved "
        "since. Another plan takes an owner.",
        refuses=(409,),
    ),
    guarded(
        "POST",
        "/clients/{client_id}/suspend",
        suspend,
        "Suspend a client",
        ClientDetail,
        needs="owner",
        about="Within 5 s its widget says so and no model is called. Nothing is removed.",
    ),
    guarded("POST", "/clients/{client_id}/activate", activate, "Let a client back in", ClientDetail, needs="owner"),
    guarded("GET", "/plans", all_plans, "List plans", Plans, needs="admin"),
)
