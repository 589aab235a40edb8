"""Money."""

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.llm.pricing import Price, cost, find_price, seed_prices
from server.llm.provider import Usage

DAY = date(2026, 11, 22)


def price(
    model: str = "m", *, cached: str | None = "0.25", valid_from: date = date(2026, 1, 1), provider: str = "p"
) -> Price:
    cached_price = None if cached is None else Decimal(cached)
    return Price(provider, model, Decimal("2.50"), cached_price, Decimal(10), valid_from)


@pytest.mark.parametrize(
    ("usage", "cached", "dollars"),
    [
        (Usage(0, 0), "0.25", "0"),
        (Usage(1_000_000, 0), "0.25", "2.50"),
        (Usage(0, 1_000_000), "0.25", "10"),
        (Usage(1200, 300, 1000), "0.25", "0.00375"),  # 200 at 2.50, 1000 at 0.25, 300 at 10
        (Usage(1200, 300, 1000), None, "0.006"),
        (Usage(1, 0), "0.25", "0.0000025"),
        (Usage(10, 0, 50), "0.25", "0.0000025"),  # more cached than read: all of it was cached
    ],
)
def test_cost(usage: Usage, cached: str | None, dollars: str) -> None:
    """Cached input is a part of the input and has its own price."""
    assert cost(price(cached=cached), usage) == Decimal(dollars)


@settings(deadline=None)
@given(st.integers(0, 10**7), st.integers(0, 10**6), st.integers(0, 10**7))
def test_cost_is_an_exact_decimal(given: int, made: int, cached: int) -> None:
    """Ten digits, never negative, never above what the same call costs without a cache."""
    dollars = cost(price(), Usage(given, made, cached))
    assert dollars.as_tuple().exponent == -10
    assert 0 <= dollars <= cost(price(cached=None), Usage(given, made, cached))


def test_the_newest_price_in_force_wins() -> None:
    """Neither an older one nor one of the future."""
    prices = [price(valid_from=date(2026, month, 1)) for month in (3, 1, 12, 6)]
    assert find_price(prices, "p", "m", DAY) == prices[3]
    assert find_price(prices, "p", "m", date(2026, 2, 1)) == prices[1]
    assert find_price(prices, "p", "m", date(2025, 2, 1)) is None


@pytest.mark.parametrize(
    ("model", "found"),
    [
        ("gpt-4o", "gpt-4o"),
        ("gpt-4o-2024-11-20", "gpt-4o"),
        ("gpt-4o-2024-05-13", "gpt-4o-2024-05-13"),
        ("gpt-4o-mini", "gpt-4o-mini"),
        ("gpt-4o-mini-2024-07-18", "gpt-4o-mini"),
        ("gpt-4-0613", "gpt-4"),
        ("claude-haiku-4-5-20251001", "claude-haiku-4-5"),
        ("gpt-4o-audio-preview", None),
        ("gpt-4o2024-11-20", None),
        ("gpt-5", None),
        ("", None),
    ],
)
def test_dated_names_have_the_price_of_their_model(model: str, found: str | None) -> None:
    """An exact name wins; only a date may follow, so that one model never has another one's price."""
    names = ("gpt-4", "gpt-4o", "gpt-4o-2024-05-13", "gpt-4o-mini", "claude-haiku-4-5")
    result = find_price([price(name) for name in names], "p", model, DAY)
    assert (result.model if result else None) == found


def test_providers_are_kept_apart() -> None:
    """The same name elsewhere costs what it costs there."""
    prices = [price("m", provider="a"), price("*", provider="b")]
    assert find_price(prices, "b", "m", DAY) == prices[1]
    assert find_price(prices, "c", "m", DAY) is None


def test_the_seed_has_a_price_for_every_default_model() -> None:
    """What runs by default is accounted for, and what runs at home is free."""
    prices = seed_prices()
    for provider, model in (("openai", "gpt-6-luna"), ("anthropic", "claude-haiku-5-5")):
        found = find_price(prices, provider, model, DAY)
        assert found is not None
        assert cost(found, Usage(1_000_000, 1_000_000)) > 0
    for provider in ("ollama", "demo"):
        found = find_price(prices, provider, "anything:8b", DAY)
        assert found is not None
        assert cost(found, Usage(10**9, 10**9)) == 0


def test_the_seed_makes_sense() -> None:
    """Every row once, cached input never dearer than input, output never cheaper, and no price of the future."""
    prices = seed_prices()
    assert len({(each.provider, each.model, each.valid_from) for each in prices}) == len(prices)
    for each in prices:
        assert isinstance(each.input_per_million, Decimal)
        assert each.output_per_million >= each.input_per_million
        assert (each.cached_input_per_million or 0) <= each.input_per_million
        assert each.valid_from <= DAY


def test_seed_prices_are_the_published_digits() -> None:
    """No float came in between: 0.075 is 0.075."""
    found = find_price(seed_prices(), "openai", "gpt-4o-mini", DAY)
    assert found is not None
    assert str(found.cached_input_per_million) == "0.075"
