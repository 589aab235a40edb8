"""What the demo shops' systems answer: the same prices as the prompt, and bookings that keep the shop's hours."""

import re
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.embedded import demo_shop
from server.embedded.demo_catalogue import DEMO_ENDPOINTS, DEMO_TOOLS
from server.embedded.demo_data import DEMO_CLIENTS, DemoClient
from server.embedded.demo_shop import SHOPS
from server.tools.arguments.schema import check_schema
from server.tools.labels import check_labels

PIZZA, BAKERY = SHOPS["pizza"], SHOPS["bakery"]
# A Sunday, 10 in the morning in Portland.
NOW = datetime(2026, 11, 22, 18, 0, tzinfo=UTC)


def book(now: datetime = NOW, **arguments: Any) -> dict[str, Any]:
    return demo_shop.book_appointment(PIZZA, arguments, "trn_1:2", now)


@pytest.mark.parametrize("client", DEMO_CLIENTS, ids=lambda client: client.slug)
def test_products_cost_what_the_prompt_says(client: DemoClient) -> None:
    """The live system and the facts never contradict each other on a price."""
    shop = SHOPS[client.slug]
    told = re.findall(r"^- ([^:(,\n]+?)(?: \(.*\)|, [\w ]+)?: \$([\d.]+)$", client.system_prompt, re.MULTILINE)
    by_name = {each.name: each.price for each in shop.products}
    assert {name.removesuffix(" cake"): float(price) for name, price in told} == by_name
    assert shop.timezone == client.timezone


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("pepperoni pizza", ["Pepperoni"]),
        ("Do you have pepperoni pizzas today?", ["Pepperoni"]),
        ("mushrooms", ["Bob's Special", "Veggie Garden"]),
        ("vegan pizza", ["Veggie Garden", "Marinara"]),
        ("wings", ["Oven-Roasted Wings"]),
        ("gluten free", ["Gluten-free crust"]),
        ("sushi", []),
    ],
)
def test_a_search_finds_what_is_meant(query: str, names: list[str]) -> None:
    """By name and kind first, then by what is said of a product; nothing where nothing fits."""
    assert [each.name for each in demo_shop.find(PIZZA.products, query)] == names


def test_a_search_for_nothing_is_the_whole_price_list() -> None:
    """What a connection test asks for."""
    assert len(demo_shop.live(PIZZA, "")) == len(PIZZA.products)


def test_live_data_has_price_and_stock() -> None:
    """What the model needs to say yes or no."""
    assert demo_shop.live(PIZZA, "cannoli") == [
        {
            "name": "Cannoli",
            "category": "dessert",
            "price": 6,
            "currency": "USD",
            "in_stock": False,
            "quantity_left": 0,
        }
    ]


def test_an_order_is_found_by_its_number() -> None:
    """With or without the sign before it; each shop has its own orders."""
    pizza = demo_shop.get_order_status(PIZZA, {"order_id": " #12345 "}, "k", NOW)
    assert (pizza["status"], pizza["eta_minutes"], pizza["currency"]) == ("out_for_delivery", 12, "USD")
    assert demo_shop.get_order_status(BAKERY, {"order_id": "12345"}, "k", NOW)["status"] == "ready_for_pickup"


def test_an_unknown_order_is_an_answer() -> None:
    """The model says that there is none, which is no failure of the system."""
    assert demo_shop.get_order_status(PIZZA, {"order_id": "99"}, "k", NOW) == {"order_id": "99", "found": False}


def test_a_booking_without_details_takes_the_usual() -> None:
    """The next open day, the usual time, two people; and it says what it assumed."""
    assert book() == {
        "booked": True,
        "reference": demo_shop.reference("trn_1:2"),
        "kind": "table",
        "date": "2026-11-24",  # Monday is closed
        "weekday": "Tuesday",
        "time": "19:00",
        "party_size": 2,
        "name": None,
        "assumed": ["date", "time", "party_size"],
    }


@pytest.mark.parametrize(
    ("said", "date"),
    [
        ("today", "2026-11-22"),
        ("tonight", "2026-11-22"),
        ("Friday", "2026-11-27"),
        ("next friday", "2026-11-27"),
        ("sunday", "2026-11-29"),
        ("2026-12-24", "2026-12-24"),
        ("היום", "2026-11-22"),
    ],
)
def test_a_day_is_understood(said: str, date: str) -> None:
    """Words and ISO dates; a weekday is the next one and never today."""
    assert book(date=said, time="20:00")["date"] == date


@pytest.mark.parametrize(
    ("said", "time"),
    [
        ("7 pm", "19:00"),
        ("7pm", "19:00"),
        ("7:30 p.m.", "19:30"),
        ("12 pm", "12:00"),
        ("19:00", "19:00"),
        ("19.30", "19:30"),
    ],
)
def test_a_time_is_understood(said: str, time: str) -> None:
    """As people and models write it."""
    assert book(date="friday", time=said)["time"] == time


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"date": "tomorrow"}, "closed on Monday"),
        ({"date": "friday", "time": "3 am"}, "open from 11:00 to 23:00"),
        ({"date": "friday", "time": "23:00"}, "open from 11:00 to 23:00"),
        ({"date": "friday", "party_size": 13}, "1 to 12 people"),
        ({"date": "today", "time": "9:59"}, "passed"),
        ({"date": "2020-01-01"}, "passed"),
    ],
)
def test_a_booking_that_cannot_be_is_refused_with_its_reason(arguments: dict[str, Any], reason: str) -> None:
    """An answer that the model can tell, and nothing is booked."""
    answer = book(**arguments)
    assert answer["booked"] is False
    assert reason in answer["reason"]
    assert "reference" not in answer


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"date": "someday"}, "date"),
        ({"time": "25:00"}, "time"),
        ({"time": "soon"}, "time"),
        ({"time": "7:75"}, "time"),
    ],
)
def test_what_is_no_day_or_time_is_an_error_to_mend(arguments: dict[str, Any], field: str) -> None:
    """It names the argument and what is allowed."""
    assert book(**arguments)["error"].startswith(f"{field}: ")


def test_the_day_is_the_shops_own() -> None:
    """At 3 in the morning UTC it is still yesterday in Portland."""
    assert book(datetime(2026, 11, 25, 3, 0, tzinfo=UTC), date="today", time="20:30")["date"] == "2026-11-24"


def test_wrong_arguments_are_refused() -> None:
    """The system checks too, whoever called."""
    for arguments in ({}, {"order_id": 5}, {"order_id": "1", "more": True}):
        with pytest.raises(msgspec.ValidationError):
            demo_shop.get_order_status(PIZZA, arguments, "k", NOW)


@given(st.text(max_size=30), st.text(max_size=30), st.text(max_size=60))
def test_any_words_get_an_answer(date: str, time: str, query: str) -> None:
    """No text breaks it."""
    assert {"booked", "error"} & book(date=date, time=time).keys()
    assert isinstance(demo_shop.live(PIZZA, query), list)


def test_the_catalogue_is_fit_to_be_offered() -> None:
    """Schemas a validator takes, labels in six languages, and booking asks first."""
    assert {each.name for each in DEMO_TOOLS} == demo_shop.TOOLS.keys()
    assert [each.slug for each in DEMO_ENDPOINTS] == [each.slug for each in DEMO_CLIENTS]
    for each in (*DEMO_TOOLS, *DEMO_ENDPOINTS):
        check_schema(each.parameters, field="parameters_schema")
        assert check_labels(each.label).keys() == {"en", "he", "ar", "de", "fr", "es"}
    assert {each.name: (each.effect, each.confirm) for each in DEMO_TOOLS} == {
        "get_order_status": ("read_only", False),
        "check_inventory": ("read_only", False),
        "get_product_info": ("read_only", False),
        "book_appointment": ("idempotent", True),
    }
