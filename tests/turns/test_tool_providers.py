"""The same conversation with a tool, through each provider's real client against its own wire."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import msgspec
import pytest

from server.protocol.visitor import MessageCompleted
from server.services import open_services
from server.settings import LlmSettings, Settings
from tests.support import SECRET_KEYS, ask, new_shop, visit
from tests.tools.webhook_server import WebhookServer, says
from tests.turns.toolkit import add_tool, executions
from tests.wire_servers import (
    Answer,
    ToolUse,
    WireServer,
    anthropic_server,
    ollama_server,
    openai_server,
)

SERVERS: dict[str, tuple[Callable[[], AbstractAsyncContextManager[WireServer]], Callable[[str], LlmSettings]]] = {
    "openai": (
        openai_server,
        lambda url: LlmSettings(provider="openai", model="gpt-4o-mini", openai_api_key="k", openai_base_url=url),
    ),
    "anthropic": (
        anthropic_server,
        lambda url: LlmSettings(
            provider="anthropic", model="claude-haiku-5-5", anthropic_api_key="k", anthropic_base_url=url
        ),
    ),
    "ollama": (ollama_server, lambda url: LlmSettings(provider="ollama", model="llama3.2", ollama_host=url)),
}


@pytest.fixture(params=SERVERS)
async def speaking(
    request: pytest.FixtureRequest, database_url: str, redis_url: str
) -> AsyncIterator[tuple[WireServer, Settings]]:
    """A server of each dialect, and settings of an instance that asks it."""
    serve, llm = SERVERS[request.param]
    async with serve() as server:
        yield (
            server,
            Settings(
                database_url=database_url,
                redis_url=redis_url,
                secret_keys=SECRET_KEYS,
                allow_private_egress=("127.0.0.1/32",),
                llm=llm(server.url),
            ),
        )


async def test_a_conversation_with_tools(speaking: tuple[WireServer, Settings], webhook: WebhookServer) -> None:
    """Calls that come in pieces, results that go back, two steps and an answer."""
    server, settings = speaking
    server.script(
        Answer(
            "Let me look.",
            tools=(ToolUse("look_up", {"item": "olives"}, "call_a"), ToolUse("look_up", {"item": "Käse"}, "call_b")),
            chunk_bytes=7,
        ),
        Answer(tools=(ToolUse("look_up", {"item": "bread", "count": 2}, "call_c"),)),
        Answer("All there."),
    )
    webhook.script(says({"stock": 1}), says({"stock": 1}), says("plenty"))
    async with open_services(settings) as services:
        shop = await new_shop(services)
        await add_tool(services, shop, webhook.url, "look_up")
        session = await visit(services, shop)
        end = await ask(services, session, "Is it all there?")
        assert isinstance(end, MessageCompleted)
        assert end.message.text == "Let me look.\n\nAll there."
        assert [row.parameters for row in await executions(services, session)] == [
            {"item": "olives"},
            {"item": "Käse"},
            {"item": "bread", "count": 2},
        ]
    last = msgspec.json.encode(server.requests[-1].body["messages"]).decode()
    assert "Käse" in last
    assert "plenty" in last
    assert len(server.requests) == 3
