"""Live data of every kind of integration through one door: configurations that are sealed, databases, shops."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from server.tools.live.http_endpoint import FETCH_S
from server.tools.tool import Endpoint, Tool, Webhook
from tests.tools.live_world import ANN, EVE, World, open_world
from tests.tools.shop_server import WOO_KEY, WOO_SECRET
from tests.tools.sql_relay import relaying
from tests.tools.sql_shops import PASSWORD, Shop


@pytest.fixture
async def world(redis_url: str) -> AsyncIterator[World]:
    async with open_world(redis_url) as world:
        yield world


def source(tool: Tool, **fields: Any) -> Tool:
    """The same tool with another source."""
    assert isinstance(tool.source, Endpoint)
    return msgspec.structs.replace(tool, source=msgspec.structs.replace(tool.source, **fields))


def database(shop: Shop, port: int) -> dict[str, Any]:
    """A configuration of the database behind a relay."""
    given = {"host": "127.0.0.1", "port": port, "database": shop.database, "user": shop.reader, "password": PASSWORD}
    return {**given, "tls": "off"}


async def test_a_database(world: World, postgres_shop: Shop) -> None:
    """Rows as a model reads them, or a part of them; kept like any other answer."""
    async with relaying(postgres_shop.target) as relay:
        config = database(postgres_shop, relay.port)
        tool = world.tool(
            "select name, stock from products where name ilike '%' || :words || '%'",
            config,
            "words",
            integration_type="postgres_database",
            method="SQL",
            cache_ttl=60,
        )
        outcome = await world.run(tool, words="pepperoni")
        assert outcome.content == '[{"name":"Pizza Pepperoni","stock":9007199254740993}]'
        assert outcome.response == {"data": [{"name": "Pizza Pepperoni", "stock": 9007199254740993}]}
        again = await world.run(tool, words="pepperoni", live=world.instance())
        assert again.content == outcome.content
        assert again.response["cached"] is True
        one = source(tool, response_path="[0].name", endpoint_id=2)
        assert (await world.run(one, words="pepperoni")).content == "Pizza Pepperoni"
        nothing = await world.run(tool, words="sushi")
        assert nothing.ok
        assert "nothing that matches" in nothing.content
        injected = await world.run(tool, words="' or 1=1 --")
        assert "nothing that matches" in injected.content
        await world.databases.close()


async def test_a_part_of_many_rows_is_said_to_be_one(world: World, postgres_shop: Shop) -> None:
    """So that nobody hears that this is all there is."""
    async with relaying(postgres_shop.target) as relay:
        tool = world.tool(
            "select n from numbers order by n",
            database(postgres_shop, relay.port),
            integration_type="postgres_database",
            method="SQL",
            response_path="[].n",
        )
        outcome = await world.run(tool)
        assert outcome.response["data"]["rows"][:2] == [1, 2]
        assert "there are more" in outcome.content
        await world.databases.close()


async def test_a_bound_row_is_its_visitors(world: World, postgres_shop: Shop) -> None:
    """Not even with the same arguments is it given to another."""
    async with relaying(postgres_shop.target) as relay:
        tool = world.tool(
            "select name from products where id = :id",
            database(postgres_shop, relay.port),
            integration_type="postgres_database",
            method="SQL",
            cache_ttl=60,
            bound={"id": "visitor.id"},
            schema={"type": "object", "properties": {"id": {}}, "required": ["id"]},
        )
        first = await world.run(tool, visitor=ANN, id=1)
        assert (await world.run(tool, visitor=ANN, id=1)).response["cached"] is True
        assert "cached" not in (await world.run(tool, visitor=EVE, id=1)).response
        assert "Margherita" in first.content
        await world.databases.close()


@pytest.mark.parametrize(
    ("statement", "fields", "words"),
    [
        ("select count(*) from numbers a, numbers b, numbers c, numbers d", {}, "the database did not answer in time"),
        ("select * from margins", {}, "the database does not allow this look-up"),
        ("select nothing from nowhere", {}, "the database could not run this look-up"),
        ("select 1", {"password": "wrong"}, "the database refused the connection"),
        ("select 1", {"port": 9}, "the database cannot be reached"),
    ],
)
async def test_a_database_in_bad_weather(
    world: World, postgres_shop: Shop, statement: str, fields: dict[str, Any], words: str
) -> None:
    """Told honestly to the model, exactly to the operator."""
    async with relaying(postgres_shop.target) as relay:
        tool = world.tool(
            statement,
            {**database(postgres_shop, relay.port), **fields},
            integration_type="postgres_database",
            method="SQL",
        )
        outcome = await world.run(tool, budget_s=1.5)
        assert not outcome.ok
        assert not outcome.in_doubt
        assert words in outcome.content
        assert "cannot be checked now" in outcome.content
        assert outcome.error is not None
        assert PASSWORD not in f"{outcome}"
        await world.databases.close()


async def test_an_argument_of_the_wrong_kind_can_be_mended(world: World, postgres_shop: Shop) -> None:
    """The model is told so, and tries again."""
    async with relaying(postgres_shop.target) as relay:
        tool = world.tool(
            "select name from products where id = :id",
            database(postgres_shop, relay.port),
            "id",
            integration_type="postgres_database",
            method="SQL",
        )
        outcome = await world.run(tool, id="abc")
        assert not outcome.ok
        assert "correct this and try again" in outcome.content
        await world.databases.close()


async def test_a_shop_by_its_own_type(world: World) -> None:
    """A WooCommerce connection finds its REST API below the site."""
    config = {"site_url": world.shop.url, "consumer_key": WOO_KEY, "consumer_secret": WOO_SECRET}
    tool = world.tool("/products/11", config, integration_type="woocommerce", response_path="name")
    assert (await world.run(tool)).content == "Pepperoni Pizza"


async def test_a_configuration_opens_for_its_client_only(world: World) -> None:
    """A row that came to another client, by whatever mistake, is of no use there."""
    tool = world.tool("/open/search{?query}", world.api, "query", client_id=1)
    outcome = await world.run(tool, client_id=2, query="pizza")
    assert not outcome.ok
    assert "not set up correctly" in outcome.content
    assert outcome.error is not None
    assert "client 2" in outcome.error
    # Nor once it has been opened for the right one.
    assert (await world.run(tool, client_id=1, query="pizza")).ok
    assert not (await world.run(tool, client_id=2, query="pizza")).ok
    assert len(world.shop.requests) == 1


async def test_a_configuration_that_makes_no_sense(world: World) -> None:
    """Of an older version, or broken: said to the operator, and the model says that it cannot check."""
    broken = world.tool("/x", {"api_url": 5})
    outcome = await world.run(broken)
    assert not outcome.ok
    assert outcome.error is not None
    assert outcome.error.startswith("connection_config: api_url")
    garbage = source(world.tool("/x", world.api), connection_config=b"\x01garbage")
    assert not (await world.run(garbage)).ok
    template = await world.run(source(world.tool("/x", world.api), url="//evil.example"))
    assert template.error is not None
    assert template.error.startswith("endpoint_url")
    assert world.shop.requests == []


async def test_a_new_configuration_is_used_at_once(world: World) -> None:
    """Another ciphertext is another connection."""
    right = world.tool("/products/search{?query}", world.api, "query")
    wrong = world.tool(
        "/products/search{?query}", {**world.api, "auth": {"type": "bearer", "token": "wrong-token"}}, "query"
    )
    assert (await world.run(right, query="pizza")).ok
    assert not (await world.run(wrong, query="pizza")).ok
    assert (await world.run(right, query="pizza")).ok


async def test_a_webhook_is_not_live_data(world: World) -> None:
    """A mistake of ours is loud."""
    tool = msgspec.structs.replace(world.tool("/x", world.api), source=Webhook("https://x.example", 1, None, {}))
    with pytest.raises(TypeError):
        await world.run(tool)


def test_the_owners_limit() -> None:
    """Five seconds for one look-up."""
    assert FETCH_S == 5.0
