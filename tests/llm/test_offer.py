"""What a client can choose from: providers, the models known of each, and their prices."""

from datetime import date
from decimal import Decimal

import pytest

from server.errors import Invalid
from server.llm import offer
from server.llm.pricing import Price, seed_prices
from server.llm.registry import build_registry
from server.protocol.admin.models import Models
from server.protocol.client_config import ModelChoice, ModelConfig
from server.settings import LlmSettings
from tests.wire_servers import ollama_server

TODAY = date(2026, 11, 1)


async def offered(settings: LlmSettings, prices: list[Price] | None = None) -> Models:
    """As the console is told."""
    registry = await build_registry(settings)
    try:
        return await offer.models(registry, seed_prices() if prices is None else prices, TODAY)
    finally:
        await registry.close()


async def test_all_that_are_configured() -> None:
    """The deployment's own choice first; each with its price list, and a demo that has one model."""
    told = await offered(LlmSettings(provider="anthropic", openai_api_key="k", anthropic_api_key="k"))
    assert (told.default_provider, told.default_model) == ("anthropic", "claude-haiku-5-5")
    assert [each.name for each in told.providers] == ["anthropic", "demo", "openai"]
    by_name = {each.name: {model.model: model for model in each.models} for each in told.providers}
    assert set(by_name["openai"]) == {price.model for price in seed_prices() if price.provider == "openai"}
    assert list(by_name["openai"]) == sorted(by_name["openai"])
    mini = by_name["openai"]["gpt-4o-mini"]
    assert mini.window == 128_000 and mini.price is not None
    assert (mini.price.input_per_million, mini.price.output_per_million) == (Decimal("0.15"), Decimal("0.60"))
    assert list(by_name["demo"]) == ["demo"]


async def test_prices_in_force() -> None:
    """A price of tomorrow is none yet, and neither is its model."""
    later = [
        Price("openai", "gpt-7", Decimal(1), None, Decimal(1), date(2027, 1, 1)),
        Price("openai", "gpt-6-luna", Decimal(1), None, Decimal(1), TODAY),
        Price("openai", "gpt-6-luna", Decimal(9), None, Decimal(9), date(2027, 1, 1)),
    ]
    told = await offered(LlmSettings(openai_api_key="k"), later)
    [luna] = told.providers[0].models
    assert luna.price is not None and (luna.model, luna.price.input_per_million) == ("gpt-6-luna", Decimal(1))
    [nothing] = (await offered(LlmSettings(openai_api_key="k"), [])).providers[0].models
    assert (nothing.model, nothing.price) == ("gpt-6-luna", None)


async def test_another_servers_models_are_not_guessed() -> None:
    """Behind a base URL of one's own only what the deployment named is known."""
    told = await offered(LlmSettings(openai_base_url="http://localhost:9/v1", model="qwen3-8b", small_model="qwen3-1b"))
    assert [model.model for model in told.providers[0].models] == ["qwen3-1b", "qwen3-8b"]


async def test_what_an_ollama_has() -> None:
    """What is installed, for nothing; none of it while it is away."""
    async with ollama_server() as server:
        registry = await build_registry(LlmSettings(ollama_host=server.url))
        told = await offer.models(registry, seed_prices(), TODAY)
    [llama] = told.providers[0].models
    assert (told.default_provider, llama.model) == ("ollama", "llama3.2:latest")
    assert llama.price is not None and llama.price.input_per_million == 0
    away = await offer.models(registry, seed_prices(), TODAY)
    assert [model.model for model in away.providers[0].models] == ["llama3.2:latest"], "the deployment's own"
    await registry.close()


BOTH = LlmSettings(openai_api_key="k", anthropic_api_key="k", model="gpt-4o")


@pytest.mark.parametrize(
    ("config", "field"),
    [
        (ModelConfig(provider="ollama"), "model.provider"),
        (ModelConfig(fallback=ModelChoice(provider="ollama", model="x")), "model.fallback.provider"),
        (ModelConfig(provider="demo", model="gpt-4o"), "model.model"),
    ],
)
async def test_a_choice_that_cannot_be_asked(config: ModelConfig, field: str) -> None:
    """Refused by its field, unless it was so before: an owner who took a provider away blocks no other edit."""
    registry = await build_registry(BOTH)
    with pytest.raises(Invalid) as refusal:
        registry.check(config, at="model")
    assert refusal.value.field == field
    registry.check(config, at="model", before=config)
    await registry.close()


async def test_a_choice_without_a_default() -> None:
    """A server whose models nobody knows needs a name."""
    registry = await build_registry(
        LlmSettings(provider="anthropic", anthropic_api_key="k", openai_base_url="http://localhost:9/v1")
    )
    with pytest.raises(Invalid) as refusal:
        registry.check(ModelConfig(provider="openai"), at="model")
    assert refusal.value.field == "model.model"
    registry.check(ModelConfig(provider="openai", model="qwen3-8b"), at="model")
    assert registry.default_of("openai") is None
    await registry.close()


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (ModelConfig(), None),
        (ModelConfig(fallback=ModelChoice(provider="anthropic")), ("anthropic", "claude-haiku-5-5")),
        (ModelConfig(fallback=ModelChoice(model="gpt-4.1")), ("openai", "gpt-4.1")),
        # The same in other words, and one that is not configured, whose place the deployment's own takes.
        (ModelConfig(fallback=ModelChoice(model="gpt-4o")), None),
        (ModelConfig(fallback=ModelChoice(provider="ollama", model="x")), None),
        (ModelConfig(model="gpt-4.1", fallback=ModelChoice(provider="ollama", model="x")), ("openai", "gpt-4o")),
    ],
)
async def test_who_answers_instead(config: ModelConfig, expected: tuple[str, str] | None) -> None:
    """Whom the client chose, where that is somebody else."""
    registry = await build_registry(BOTH)
    found = registry.fallback(config)
    assert (None if found is None else (found[0].name, found[1])) == expected
    await registry.close()
