"""Tools for tests of the turn loop: a client whose tools are done by one scriptable webhook.

Fixtures: `webhook` (see tests/tools/webhook_server), `toolshop` (a client with `look_up`, read only, `reserve`,
idempotent, and `pay`, unsafe, all done by that webhook).
"""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from server.access import Session
from server.llm.provider import ToolCall
from server.net import webhooks
from server.net.vault import SIGNING_SECRET
from server.repositories import client_tools, tool_executions, tools
from server.repositories.pool import reading
from server.repositories.tool_executions import ToolExecution
from server.repositories.turn_steps import TurnStep
from server.services import Services
from server.turns.steps import Decision, Result
from tests.support import Shop, new_shop, rows
from tests.tools.webhook_server import WebhookServer, webhook_server

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"item": {"type": "string", "maxLength": 40}, "count": {"type": "integer"}},
    "required": ["item"],
}
EFFECTS = {"look_up": "read_only", "reserve": "idempotent", "pay": "unsafe"}


async def add_tool(
    services: Services, shop: Shop, url: str, name: str, effect: str = "read_only", **fields: Any
) -> str:
    """A tool of this client, done by this webhook; its signing secret. `fields` are more of the catalogue's."""
    secret = webhooks.new_secret()
    async with reading(services.pool) as conn:
        tool = await tools.create(
            conn,
            **{
                "tool_name": name,
                "description": f"Does {name}.",
                "parameters_schema": SCHEMA,
                "category": "test",
                "effect": effect,
                "label": {"en": f"Doing {name}", "he": "עובדים על זה"},
                "proof": "session",
                "confirm": False,
                "bound": {},
                **fields,
            },
        )
        await client_tools.enable(
            conn,
            client_id=shop.id,
            tool_id=tool.id,
            n8n_webhook_url=url,
            signing_secret=services.vault.seal(secret, client_id=shop.id, field=SIGNING_SECRET),
        )
    return secret


@pytest.fixture
async def webhook() -> AsyncIterator[WebhookServer]:
    """Unscripted it answers `{"ok": true}`."""
    async with webhook_server() as server:
        yield server


@pytest.fixture
async def toolshop(services: Services, webhook: WebhookServer) -> Shop:
    shop = await new_shop(services, "tools")
    for name, effect in EFFECTS.items():
        await add_tool(services, shop, webhook.url, name, effect)
    return shop


async def executions(services: Services, session: Session) -> list[ToolExecution]:
    """The record of a conversation, oldest first."""
    async with reading(services.pool) as conn:
        return await tool_executions.list_for_conversation(
            conn, client_id=session.client.id, conversation_id=session.conversation.id
        )


async def recorded_steps(services: Services) -> list[tuple[int, str, str]]:
    """Number, kind and state of every step."""
    return [
        (row[0], row[1], row[2])
        for row in await rows(services, "select no, kind, state from turn_steps order by turn_id, no")
    ]


def told(request: Any) -> list[Any]:
    """What the tools' messages of a request to an OpenAI server say, decoded where they are JSON."""
    said = [message["content"] for message in request.body["messages"] if message["role"] == "tool"]
    return [msgspec.json.decode(text) if text[:1] in {"{", "["} else text for text in said]


def kept(*calls: tuple[str, str, Result | None]) -> list[TurnStep]:
    """The steps of one decision and its calls: tool, state and result of each."""
    at = datetime.now(UTC)
    decision = Decision(
        "", tuple(ToolCall(f"call_{n}", tool, '{"item": "x"}') for n, (tool, _, _) in enumerate(calls)), 10
    )
    first = TurnStep(1, 1, "llm", "done", b"", msgspec.to_builtins(decision), 1, at, at)
    rest = [
        TurnStep(1, 2 + n, "tool", state, b"", None if result is None else msgspec.to_builtins(result), 1, at, None)
        for n, (_, state, result) in enumerate(calls)
    ]
    return [first, *rest]
