"""What a call costs, in US dollars, as decimal and never as float. Pure.

Prices live in the table `model_prices`; `seed_prices()` is what a new installation starts with.
"""

import re
import tomllib
from collections.abc import Iterable
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Any, Final

import msgspec

from server.llm.provider import Usage

_SEED: Final = Path(__file__).parent / "prices.toml"
_MILLION: Final = Decimal(1_000_000)
# A token of the cheapest model costs 10^-8 dollars; two digits more keep sums of many calls honest.
_QUANTUM: Final = Decimal("0.0000000001")
# What stands after a model's own name in a dated one: -2024-11-20 (OpenAI), -20251001 (Anthropic), -0613, -latest.
_DATED: Final = re.compile(r"-(?:\d{4}-\d{2}-\d{2}|\d{8}|\d{4}|latest)")


class Price(msgspec.Struct, frozen=True):
    """US dollars for a million tokens, from `valid_from` on. No cached price: cached input costs what input costs."""

    provider: str
    model: str
    input_per_million: Decimal
    cached_input_per_million: Decimal | None
    output_per_million: Decimal
    valid_from: date


def cost(price: Price, usage: Usage) -> Decimal:
    """US dollars of one call, to 10 decimals. Cached input is a part of the input and priced apart."""
    cached = min(usage.cached_input, usage.input)
    cached_price = price.input_per_million if price.cached_input_per_million is None else price.cached_input_per_million
    total = (
        (usage.input - cached) * price.input_per_million
        + cached * cached_price
        + usage.output * price.output_per_million
    ) / _MILLION
    return total.quantize(_QUANTUM, ROUND_HALF_EVEN)


def find_price(prices: Iterable[Price], provider: str, model: str, day: date) -> Price | None:
    """The price in force: of the exact name, else of the longest name that `model` is a dated version of.

    Among those the newest with `valid_from <= day`. A price of model "*" holds for all models of its provider that
    have none. None when nobody said what the model costs, which is not the same as free.
    """
    valid = [price for price in prices if price.provider == provider and price.valid_from <= day]
    matching = [
        price
        for price in valid
        if price.model == model
        or (model.startswith(price.model) and _DATED.fullmatch(model, len(price.model)) is not None)
    ] or [price for price in valid if price.model == "*"]
    return max(matching, key=lambda price: (len(price.model), price.valid_from), default=None)


def seed_prices() -> list[Price]:
    """The list prices of `prices.toml`."""
    data: dict[str, dict[str, list[dict[str, Any]]]] = tomllib.loads(_SEED.read_text("utf-8"), parse_float=Decimal)
    return [
        Price(
            provider=provider,
            model=row["model"],
            input_per_million=Decimal(row["input"]),
            cached_input_per_million=Decimal(row["cached"]) if "cached" in row else None,
            output_per_million=Decimal(row["output"]),
            valid_from=row["from"],
        )
        for provider, table in data.items()
        for row in table["prices"]
    ]
