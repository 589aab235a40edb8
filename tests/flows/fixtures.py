"""Installations as fixtures: `flows/`, `api/` and `ws/` import them into their conftest."""

from collections.abc import AsyncIterator

import pytest

from server.settings import LlmSettings, Settings
from tests.flows.support import Desk, open_desk
from tests.support import MODEL, SECRET_KEYS
from tests.wire_servers import WireServer


def settings_for(database_url: str, redis_url: str, model: WireServer) -> Settings:
    """Settings whose default provider is the one that this wire server speaks for."""
    return Settings(database_url=database_url, redis_url=redis_url, secret_keys=SECRET_KEYS, llm=llm_at(model))


def llm_at(server: WireServer) -> LlmSettings:
    """Settings of the provider that this wire server speaks for."""
    match server.dialect.name:
        case "openai":
            return LlmSettings(
                provider="openai", model=MODEL, openai_api_key="sk-test-0123456789", openai_base_url=server.url
            )
        case "anthropic":
            return LlmSettings(
                provider="anthropic",
                model="claude-haiku-5-5",
                anthropic_api_key="sk-ant-test-0123456789",
                anthropic_base_url=server.url,
            )
        case _:
            return LlmSettings(provider="ollama", model="llama3.2", ollama_host=server.url)


@pytest.fixture
async def desk(settings: Settings) -> AsyncIterator[Desk]:
    """One instance, which asks `model`."""
    async with open_desk(settings) as desk:
        yield desk


@pytest.fixture
async def two(settings: Settings) -> AsyncIterator[Desk]:
    """Two instances on the same Postgres and Redis."""
    async with open_desk(settings, instances=2) as desk:
        yield desk
