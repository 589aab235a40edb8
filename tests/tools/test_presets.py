"""The ready endpoints, against shops that answer as Shopify and WooCommerce do."""

import re
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from server.errors import Invalid
from server.tools.arguments.schema import checker
from server.tools.live.http_request import check_template
from server.tools.live.response_path import check_response_path
from server.tools.setup.definition import EndpointDefinition
from server.tools.setup.presets import definitions
from server.tools.setup.rules import checked_endpoint
from server.tools.tool import Person
from tests.tools.live_world import ANN, EVE, World, open_world
from tests.tools.shop_server import SHOPIFY_TOKEN, WOO_KEY, WOO_SECRET

ALL = [(kind, each) for kind in ("shopify", "woocommerce") for each in definitions(kind)]


@pytest.fixture
async def world(redis_url: str) -> AsyncIterator[World]:
    async with open_world(redis_url) as world:
        yield world


def named(kind: str, name: str) -> EndpointDefinition:
    [found] = [each for each in definitions(kind) if each.endpoint_name == name]
    return found


def shopify(world: World) -> dict[str, Any]:
    """The shop's Admin API at the local server, as `ShopifyConnection.http` makes it for the real one."""
    auth = {"type": "api_key", "name": "X-Shopify-Access-Token", "value": SHOPIFY_TOKEN}
    return {"api_url": f"{world.shop.url}/admin/api/2026-10", "auth": auth}


async def ask(world: World, kind: str, name: str, visitor: Person | None = None, **arguments: Any) -> Any:
    """What a model reads of a preset's endpoint."""
    if kind == "shopify":
        tool = world.defined(named(kind, name), shopify(world))
    else:
        config = {"site_url": world.shop.url, "consumer_key": WOO_KEY, "consumer_secret": WOO_SECRET}
        tool = world.defined(named(kind, name), config)
        assert not isinstance(tool.source, str)
        tool = msgspec.structs.replace(
            tool, source=msgspec.structs.replace(tool.source, integration_type="woocommerce")
        )
    outcome = await world.run(tool, visitor=visitor, **arguments)
    assert outcome.ok, outcome
    if outcome.content.startswith("The business's system"):
        return None
    return msgspec.json.decode(outcome.content)


@pytest.mark.parametrize(("kind", "definition"), ALL, ids=[f"{kind}-{each.endpoint_name}" for kind, each in ALL])
def test_a_preset_is_what_anybody_may_configure(kind: str, definition: EndpointDefinition) -> None:
    """It passes every check that an owner's own endpoint has to pass, and only looks up."""
    checked = checked_endpoint(definition, database=False)
    assert checked.effect == "read_only"
    check_template(definition.endpoint_url, checked.method or "", definition.parameters_schema)
    check_response_path(definition.response_path)
    assert set(definition.label) == {"en", "he", "ar", "de", "fr", "es"}
    assert definition.parameters_schema["additionalProperties"] is False
    own = definition.endpoint_name == "get_order_status"
    assert (definition.proof == "verified") is bool(definition.bound) is own


def test_the_four_of_each_shop() -> None:
    """Under the same names, so that a prompt fits both."""
    names = ["find_products", "get_product", "check_inventory", "get_order_status"]
    for kind in ("shopify", "woocommerce"):
        assert [each.endpoint_name for each in definitions(kind)] == names
    for kind in ("custom_api", "mysql_database", "ftp"):
        with pytest.raises(Invalid) as refusal:
            definitions(kind)
        assert refusal.value.field == "integration_type"


PIZZA = {"title": "Pepperoni Pizza", "url": "https://bob.example/products/pepperoni-pizza"}


async def test_shopify_finds_products(world: World) -> None:
    """What is for sale, with price and stock."""
    [found] = await ask(world, "shopify", "find_products", search="pepperoni")
    assert found == {
        **PIZZA,
        "handle": "pepperoni-pizza",
        "type": "Pizza",
        "description": "Tomato, mozzarella, pepperoni",
        "price_from": "11.50",
        "price_to": "11.50",
        "currency": "EUR",
        "stock": 12,
        "stock_is_counted": True,
    }
    assert world.shop.requests[-1].method == "POST"
    assert world.shop.requests[-1].json["variables"] == {"search": "pepperoni"}


@pytest.mark.parametrize("search", ["pizza", "status:draft", "secret"])
async def test_shopify_shows_nothing_that_is_not_for_sale(world: World, search: str) -> None:
    """Whatever the search says."""
    found = await ask(world, "shopify", "find_products", search=search) or []
    assert "Secret Pizza" not in [each["title"] for each in found]
    stock = await ask(world, "shopify", "check_inventory", item=search) or []
    assert "Secret Pizza" not in [each["product"] for each in stock]


@pytest.mark.parametrize("search", ["status:draft", "(a)", "a*", 'x" OR "y', "a\\b", "", "x" * 101])
def test_shopify_takes_words_and_no_search_syntax(search: str) -> None:
    """The model is told so before anything is asked."""
    assert checker(named("shopify", "find_products").parameters_schema).problems({"search": search})
    assert checker(named("shopify", "check_inventory").parameters_schema).problems({"item": search})


async def test_shopify_gets_a_product(world: World) -> None:
    """With its variants; a draft is not there."""
    found = await ask(world, "shopify", "get_product", handle="pepperoni-pizza")
    assert found["title"] == "Pepperoni Pizza"
    assert found["variants"] == [
        {"title": "30 cm", "sku": "PEP-30", "price": "11.50", "price_before": None, "can_be_bought": True, "stock": 12}
    ]
    assert await ask(world, "shopify", "get_product", handle="secret-pizza") is None
    assert await ask(world, "shopify", "get_product", handle="no-pizza") is None


async def test_shopify_checks_the_stock(world: World) -> None:
    """By SKU."""
    [found] = await ask(world, "shopify", "check_inventory", item="PEP-30")
    assert (found["product"], found["sku"], found["stock"]) == ("Pepperoni Pizza", "PEP-30", 12)


async def test_shopify_orders_are_the_visitors_own(world: World) -> None:
    """Found by the address that the server filled in; somebody without orders reads nothing."""
    [order] = await ask(world, "shopify", "get_order_status", ANN, email=ANN.email)
    assert order == {
        "order": "#1001",
        "placed": "2026-11-01T10:00:00Z",
        "cancelled": None,
        "payment": "PAID",
        "shipping": "FULFILLED",
        "total": "23.00",
        "currency": "EUR",
        "items": [{"title": "Pepperoni Pizza", "quantity": 2}],
        "parcels": [
            {
                "status": "IN_TRANSIT",
                "expected": "2026-11-03T00:00:00Z",
                "delivered": None,
                "tracking": [{"company": "DHL", "number": "JD01", "url": "https://dhl.example/JD01"}],
            }
        ],
    }
    assert await ask(world, "shopify", "get_order_status", EVE, email=EVE.email) is None
    assert await ask(world, "shopify", "get_order_status", EVE, email="nobody@example.com") is None


async def test_woocommerce_finds_products(world: World) -> None:
    """What is published, and of it what a customer may know."""
    [found] = await ask(world, "woocommerce", "find_products", search="pizza")
    assert found == {
        "id": 11,
        "name": "Pepperoni Pizza",
        "sku": "PEP-30",
        "price": "11.50",
        "price_before": "12.00",
        "on_sale": True,
        "stock": 12,
        "stock_status": "instock",
        "description": "<p>Hot</p>",
        "url": "https://bob.example/p/11",
    }


async def test_woocommerce_gets_a_product(world: World) -> None:
    """A draft, and one that is not there, are nothing."""
    found = await ask(world, "woocommerce", "get_product", product_id=11)
    assert (found["name"], found["categories"]) == ("Pepperoni Pizza", ["Pizza"])
    assert found["attributes"] == [{"name": "Size", "options": ["30 cm"]}]
    assert "purchase_note" not in found
    assert await ask(world, "woocommerce", "get_product", product_id=12) is None
    assert await ask(world, "woocommerce", "get_product", product_id=99) is None


async def test_woocommerce_checks_the_stock(world: World) -> None:
    """By SKU, exactly."""
    [found] = await ask(world, "woocommerce", "check_inventory", sku="PEP-30")
    assert (found["stock"], found["stock_status"]) == (12, "instock")
    assert await ask(world, "woocommerce", "check_inventory", sku="SEC-1") is None


async def test_woocommerce_orders_are_the_visitors_own(world: World) -> None:
    """Found by the id that the website vouches for; another customer's number finds nothing."""
    orders = await ask(world, "woocommerce", "get_order_status", ANN, customer=ANN.id)
    assert [order["order"] for order in orders] == ["701", "702"]
    assert orders[0]["items"] == [{"name": "Pepperoni Pizza", "quantity": 2}]
    assert not re.search("email|customer", str(orders))
    [one] = await ask(world, "woocommerce", "get_order_status", ANN, customer=ANN.id, include=702)
    assert one["status"] == "completed"
    assert await ask(world, "woocommerce", "get_order_status", EVE, customer=EVE.id, include=701) is None


@pytest.mark.parametrize("visitor_id", ["0", "guest", "7,8", "-1", "7 OR 1=1", "", "07"])
async def test_an_id_that_is_no_customers_reads_nothing(world: World, visitor_id: str) -> None:
    """0 would be every guest; what is no number is not sent at all."""
    tool = world.defined(named("woocommerce", "get_order_status"), shopify(world))
    outcome = await world.run(tool, visitor=Person(visitor_id), customer=visitor_id)
    assert not outcome.ok
    assert outcome.error is not None
    assert outcome.error.startswith("bound arguments: customer")
    assert world.shop.requests == []
