"""Which provider answers for whom."""

import asyncio
import socket
from typing import get_args

import anthropic.types.model
import openai.types
import pytest

from server.errors import SettingsError
from server.llm.pricing import seed_prices
from server.llm.provider import ChatMessage, ModelRequest, TextDelta
from server.llm.registry import build_registry
from server.protocol.client_config import ModelConfig
from server.settings import LlmSettings
from tests.wire_servers import Answer, ollama_server, openai_server

# Nobody listens there.
NOWHERE = "http://127.0.0.1:9"


async def chosen(settings: LlmSettings, config: ModelConfig | None = None, *, small: bool = False) -> tuple[str, str]:
    registry = await build_registry(settings)
    try:
        provider, model = registry.choose(config, small=small)
        return provider.name, model
    finally:
        await registry.close()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (LlmSettings(openai_api_key="k", anthropic_api_key="k"), "openai"),
        (LlmSettings(anthropic_api_key="k"), "anthropic"),
        (LlmSettings(ollama_host=NOWHERE), "demo"),
        (LlmSettings(provider="demo", openai_api_key="k"), "demo"),
        (LlmSettings(provider="anthropic", openai_api_key="k", anthropic_api_key="k"), "anthropic"),
        (LlmSettings(provider="ollama", ollama_host=NOWHERE, model="llama3.2"), "ollama"),
    ],
)
async def test_the_default_provider(settings: LlmSettings, expected: str) -> None:
    """`auto` goes by keys in order; a name given is a name taken."""
    assert (await chosen(settings))[0] == expected


async def test_auto_finds_an_ollama() -> None:
    """A reachable Ollama with a model is taken, and its own model is the default."""
    async with ollama_server() as server:
        assert await chosen(LlmSettings(ollama_host=server.url)) == ("ollama", "llama3.2:latest")


async def test_auto_passes_over_what_is_no_ollama() -> None:
    """Another server on that port, which answers 404 where Ollama lists its models."""
    async with openai_server() as server:
        assert await chosen(LlmSettings(ollama_host=server.url.removesuffix("/v1"))) == ("demo", "demo")


async def test_auto_does_not_wait_for_an_ollama_that_hangs() -> None:
    """Something that listens and never answers costs a second at start."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with asyncio.timeout(3):
            assert await chosen(LlmSettings(ollama_host=f"127.0.0.1:{silent.getsockname()[1]}")) == ("demo", "demo")


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
async def test_a_provider_asked_for_needs_its_key(provider: str) -> None:
    """One line that names the variable."""
    settings = LlmSettings(provider="openai") if provider == "openai" else LlmSettings(provider="anthropic")
    with pytest.raises(SettingsError, match=f"{provider.upper()}_API_KEY"):
        await build_registry(settings)


async def test_another_servers_models_are_not_guessed() -> None:
    """OpenAI's default model would not exist there."""
    with pytest.raises(SettingsError, match="LLM_MODEL"):
        await build_registry(LlmSettings(openai_base_url="http://localhost:8000/v1"))
    settings = LlmSettings(openai_base_url="http://localhost:8000/v1", model="qwen3-8b")
    assert await chosen(settings) == ("openai", "qwen3-8b")
    assert await chosen(settings, small=True) == ("openai", "qwen3-8b")


async def test_default_models_exist() -> None:
    """Both are names that the installed clients know, and both have a price."""
    names = {
        "openai": set(get_args(openai.types.ChatModel)),
        "anthropic": set(get_args(get_args(anthropic.types.model.Model)[0])),
    }
    for settings in (LlmSettings(openai_api_key="k"), LlmSettings(anthropic_api_key="k")):
        for small in (False, True):
            provider, model = await chosen(settings, small=small)
            assert model in names[provider]
            assert any(price.provider == provider and price.model == model for price in seed_prices())


BOTH = LlmSettings(openai_api_key="k", anthropic_api_key="k", model="gpt-4o", small_model="gpt-4o-mini")


@pytest.mark.parametrize(
    ("config", "small", "expected"),
    [
        (None, False, ("openai", "gpt-4o")),
        (None, True, ("openai", "gpt-4o-mini")),
        (ModelConfig(), False, ("openai", "gpt-4o")),
        (ModelConfig(model="gpt-4.1"), False, ("openai", "gpt-4.1")),
        (ModelConfig(provider="anthropic"), False, ("anthropic", "claude-haiku-5-5")),
        (ModelConfig(provider="anthropic", model="claude-opus-5-5"), False, ("anthropic", "claude-opus-5-5")),
        (ModelConfig(provider="anthropic", model="claude-opus-5-5"), True, ("anthropic", "claude-haiku-5-5")),
        (ModelConfig(provider="ollama", model="llama3.2"), False, ("openai", "gpt-4o")),
        (ModelConfig(provider="demo", model="gpt-4o"), False, ("demo", "demo")),
    ],
)
async def test_a_client_chooses_among_what_is_configured(
    config: ModelConfig | None, small: bool, expected: tuple[str, str]
) -> None:
    """A provider that is not configured falls back to the deployment's default, model and all."""
    assert await chosen(BOTH, config, small=small) == expected


async def test_a_fallback_is_logged_once(capsys: pytest.CaptureFixture[str]) -> None:
    """The log names what was wanted, and does not repeat it with every message."""
    registry = await build_registry(LlmSettings(provider="demo"))
    for _ in range(3):
        registry.choose(ModelConfig(provider="openai", model="gpt-4o"))
    await registry.close()
    captured = capsys.readouterr()
    assert (captured.out + captured.err).count("provider_not_configured") == 1


async def test_a_registry_answers() -> None:
    """What the registry hands out streams."""
    async with openai_server() as server:
        server.script(Answer("From the wire."))
        registry = await build_registry(LlmSettings(openai_base_url=server.url, model="m"))
        provider, model = registry.choose()
        async with provider.stream(ModelRequest(model, (ChatMessage("user", "hi"),), 50)) as batches:
            text = "".join([event.text async for batch in batches for event in batch if isinstance(event, TextDelta)])
        await registry.close()
    assert text == "From the wire."
    assert server.requests[0].body["model"] == "m"
