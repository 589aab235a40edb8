"""A webhook, and a model whose host refuses the key."""

from collections.abc import AsyncIterator

import pytest

from server.llm.registry import Registry, build_registry
from server.settings import LlmSettings
from tests.support import MODEL
from tests.tools.webhook_server import says, webhook_server
from tests.turns.toolkit import webhook

__all__ = ["refusing", "webhook"]


@pytest.fixture
async def refusing() -> AsyncIterator[Registry]:
    """Its provider answers 401 to everything."""
    async with webhook_server() as server:
        server.default = says({"error": {"message": "Incorrect API key provided."}}, status=401)
        registry = await build_registry(
            LlmSettings(provider="openai", model=MODEL, openai_api_key="sk-wrong", openai_base_url=server.url)
        )
        yield registry
        await registry.close()
