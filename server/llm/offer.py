"""What a client can choose from: the configured providers, the models known of each, and their prices."""

from collections.abc import Sequence
from datetime import date
from typing import Final

import msgspec

from server import log
from server.errors import ModelError
from server.llm import tokens
from server.llm.pricing import Price, find_price
from server.llm.provider import Provider
from server.llm.registry import Registry
from server.protocol.admin.models import ModelInfo, ModelPrice, Models, ProviderInfo
from server.protocol.client_config import ProviderName

# Seconds that an Ollama has to list what is installed: a page waits for it.
_LIST_S: Final = 1.0

_log = log.get("llm.offer")


async def models(registry: Registry, prices: Sequence[Price], day: date) -> Models:
    """The deployment's own choice first; prices as in force on `day`."""
    first = registry.default_provider
    ordered = [first, *(each for each in registry.providers if each is not first)]
    return Models(
        default_provider=registry.name_of(first),
        default_model=registry.default_model,
        providers=[await _offered(registry, each, prices, day) for each in ordered],
    )


async def _offered(registry: Registry, provider: Provider, prices: Sequence[Price], day: date) -> ProviderInfo:
    name = registry.name_of(provider)
    return ProviderInfo(
        name=name,
        default_model=registry.default_of(name),
        models=[_model(name, model, prices, day) for model in await _known(registry, provider, prices, day)],
    )


async def _known(registry: Registry, provider: Provider, prices: Sequence[Price], day: date) -> list[str]:
    """In order. Those with a price, unless they would be another server's; what an Ollama says it has."""
    name = registry.name_of(provider)
    names = registry.named(name)
    if name in registry.listed:
        names |= {
            price.model for price in prices if price.provider == name and price.model != "*" and price.valid_from <= day
        }
    if name == "ollama":
        from server.llm.ollama import OllamaProvider

        if isinstance(provider, OllamaProvider):
            try:
                names |= set(await provider.models(_LIST_S))
            except ModelError as error:
                _log.warning("ollama_unreachable", reason=error.message)
    return sorted(names)


def _model(provider: ProviderName, model: str, prices: Sequence[Price], day: date) -> ModelInfo:
    price = find_price(prices, provider, model, day)
    return ModelInfo(
        model=model,
        window=tokens.context_window(model, provider=provider),
        price=None if price is None else msgspec.convert(price, ModelPrice, from_attributes=True),
    )
