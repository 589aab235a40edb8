"""What the tests of setting up share: requests of a signed-in console, their refusals, and what the audit log says."""

from typing import Any

import httpx

from tests.admin.console import BASE, Console
from tests.flows.support import Desk

# A definition of a tool as the console sends it.
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"order_id": {"type": "string"}}, "required": ["order_id"]}
TOOL: dict[str, Any] = {
    "version": None,
    "description": "Looks an order up.",
    "category": "shop",
    "parameters_schema": SCHEMA,
    "effect": "read_only",
    "proof": "none",
    "confirm": False,
    "bound": {},
    "label": {"en": "Looking up your order"},
}
# How a client uses one.
USE: dict[str, Any] = {
    "version": None,
    "enabled": True,
    "n8n_webhook_url": "https://n8n.example/webhook/order",
    "timeout_ms": 5_000,
    "custom_config": {"shop": 7},
    "client_proof": None,
    "client_confirm": False,
}


async def send(console: Console, route: str, json: object = None) -> httpx.Response:
    """`route` is such as "PUT /tools/x"."""
    method, path = route.split(" ", 1)
    return await console.http.request(method, BASE + path, json=json, headers=console.headers)


async def done(console: Console, route: str, json: object = None) -> Any:
    """What a request that worked said; None where it said nothing."""
    answer = await send(console, route, json)
    assert answer.is_success, f"{route}: {answer.status_code} {answer.text}"
    return answer.json() if answer.content else None


async def refused(console: Console, route: str, json: object = None) -> tuple[int, str, str | None, str]:
    """Status, code, field and message of a refusal."""
    answer = await send(console, route, json)
    assert answer.status_code >= 400, answer.text
    error = answer.json()["error"]
    return answer.status_code, error["code"], error.get("field"), error["message"]


async def everything(desk: Desk) -> list[tuple[Any, ...]]:
    """Every row that setting up may change, and what the audit log says: equal when nothing has changed."""
    return await desk.rows(
        """
        select (select jsonb_agg(t order by id) from tools t),
               (select jsonb_agg(t order by id) from client_tools t),
               (select jsonb_agg(t order by id) from client_integrations t),
               (select jsonb_agg(t order by id) from integration_endpoints t),
               (select jsonb_agg(t order by id) from clients t),
               (select count(*) from audit_log),
               (select count(*) from tool_executions)
        """
    )


async def audited(desk: Desk, since: int = 0) -> list[tuple[str, str, str, int | None]]:
    """Action, kind of target, target and client of what operators changed, oldest first, after so many."""
    rows = await desk.rows(
        "select action, target_type, target_id, client_id from audit_log "
        "where operator_id is not null and action not like 'operator.%%' order by id offset %s",
        since,
    )
    return [(action, kind, target, client_id) for action, kind, target, client_id in rows]
