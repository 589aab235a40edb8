"""Connection tests: each way a connection can fail has its own words, and says what to do."""

import socket
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from server.net.egress import Egress
from server.tools.connections.check import Verdict
from server.tools.connections.check import test_connection as try_connection
from server.tools.connections.http import HttpConnection
from server.tools.connections.kinds import parse
from server.tools.connections.shops import ShopifyConnection
from tests.tools.live_world import World, open_world
from tests.tools.shop_server import (
    CLIENT_ID,
    CLIENT_SECRET,
    SHOPIFY_TOKEN,
    TOKEN,
    WOO_KEY,
    WOO_SECRET,
    answer,
    hang_up,
    silence,
)
from tests.tools.sql_relay import relaying
from tests.tools.sql_shops import PASSWORD, Shop


@pytest.fixture
async def world(redis_url: str) -> AsyncIterator[World]:
    async with open_world(redis_url) as world:
        yield world


async def tried(
    world: World, config: dict[str, Any], kind: str = "custom_api", egress: Egress | None = None
) -> Verdict:
    connection = parse(kind, config, world.egress)
    verdict = await try_connection(kind, connection, egress=egress or world.egress, databases=world.databases)
    assert verdict.ms >= 0
    assert verdict.ok or verdict.advice
    assert not any(secret in str(verdict) for secret in (TOKEN, CLIENT_SECRET, WOO_SECRET, PASSWORD, SHOPIFY_TOKEN))
    return verdict


class _Shop(ShopifyConnection, frozen=True, kw_only=True):
    """A Shopify connection whose shop is the local server: no name below myshopify.com leads there."""

    origin: str

    def http(self) -> HttpConnection:
        return msgspec.structs.replace(super().http(), api_url=f"{self.origin}/admin/api/{self.api_version}")


async def test_it_works(world: World) -> None:
    """With a path to try."""
    verdict = await tried(world, {**world.api, "test_path": "/products/search?query=pizza"})
    assert (verdict.ok, verdict.message, verdict.advice) == (True, "The system answers (200).", None)
    [request] = world.shop.requests
    assert request.query == [("query", "pizza")]


async def test_without_a_path_the_credentials_are_not_judged(world: World) -> None:
    """It says so, and what to set."""
    verdict = await tried(world, {**world.api, "api_url": f"{world.shop.url}/nothing"})
    assert verdict.ok
    assert "credentials were not tried" in verdict.message
    assert verdict.advice is not None
    assert "test_path" in verdict.advice


async def test_wrong_credentials(world: World) -> None:
    """401 is the credentials."""
    wrong = {**world.api, "auth": {"type": "bearer", "token": "wrong-token"}, "test_path": "/products/search"}
    verdict = await tried(world, wrong)
    assert not verdict.ok
    assert verdict.message == "The system answers, but refuses the credentials (401)."


async def test_a_wrong_path(world: World) -> None:
    """404 is the address."""
    verdict = await tried(world, {**world.api, "test_path": "/nothing"})
    assert not verdict.ok
    assert verdict.advice == "Check api_url and test_path."


WEATHER: list[tuple[Any, str, str]] = [
    (answer(500), "an error of its own (500)", "Ask who runs it"),
    (answer(503), "an error of its own (503)", "Ask who runs it"),
    (answer(429), "too many requests", "rate_limit"),
    (answer(301, "", Location="https://x.example"), "a redirect (301)", "https, or www"),
    (answer(200, "<html>", Content_Type="text/html"), "a web page", "Check api_url"),
    (answer(418), "refuses the request (418)", "Check api_url"),
    (answer(200, b"x" * 1_100_000), "more than", "test_path"),
    (hang_up(), "closed the connection", "speaks HTTP"),
    (silence(), "did not answer within 5 s", "within 5 seconds"),
]


@pytest.mark.parametrize(("script", "message", "advice"), WEATHER)
async def test_bad_weather(world: World, script: Any, message: str, advice: str) -> None:
    """Each has its words, and one request is all a test makes."""
    world.shop.script.extend([script] * 3)
    verdict = await tried(world, {**world.weather, "test_path": "/x"})
    assert not verdict.ok
    assert message in verdict.message
    assert verdict.advice is not None
    assert advice in verdict.advice


async def test_nobody_there(world: World) -> None:
    """Refused, not found, forbidden, not TLS: what egress says, and what to do."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        verdict = await tried(world, {"api_url": f"http://127.0.0.1:{port}"})
    assert "does not accept connections" in verdict.message
    assert verdict.advice is not None
    assert "firewall" in verdict.advice
    verdict = await tried(world, {"api_url": world.shop.url.replace("http", "https")})
    assert "TLS" in verdict.message
    strict = Egress()
    verdict = await tried(world, world.api, egress=strict)
    assert verdict.advice is not None
    assert "FRONTDESK_ALLOW_PRIVATE_EGRESS" in verdict.advice
    assert world.shop.requests == []
    await strict.close()


async def nowhere(_host: str) -> list[str]:
    """A resolver that knows no names."""
    return []


async def test_a_name_that_is_not_found(world: World) -> None:
    """Usually a slip of the pen."""
    lost = Egress(lookup=nowhere)
    verdict = await tried(world, {"api_url": "https://api.exmaple.com"}, egress=lost)
    assert verdict.message == "Api.exmaple.com was not found; check the name."
    await lost.close()


async def test_oauth(world: World) -> None:
    """The token's own failures are told apart from the system's."""
    auth = {"type": "oauth2", "token_url": f"{world.shop.url}/oauth/token", "client_id": CLIENT_ID}
    config = {**world.api, "auth": {**auth, "client_secret": CLIENT_SECRET}, "test_path": "/products/search"}
    assert (await tried(world, config)).ok
    config["auth"]["client_id"] = "somebody"
    verdict = await tried(world, config)
    assert verdict.message == "No token: 127.0.0.1 gave no token: 401 invalid_client."
    assert verdict.advice is not None
    assert "client_auth to body" in verdict.advice


async def test_woocommerce(world: World) -> None:
    """It asks for one product."""
    config = {"site_url": world.shop.url, "consumer_key": WOO_KEY, "consumer_secret": WOO_SECRET}
    assert (await tried(world, config, "woocommerce")).ok
    assert world.shop.requests[-1].raw_path == "/wp-json/wc/v3/products?per_page=1"
    verdict = await tried(world, {**config, "consumer_key": "ck_other"}, "woocommerce")
    assert verdict.advice is not None
    assert "consumer_key" in verdict.advice
    verdict = await tried(world, {**config, "site_url": f"{world.shop.url}/blog"}, "woocommerce")
    assert verdict.advice is not None
    assert "permalinks" in verdict.advice


@pytest.mark.parametrize(
    ("token", "ok", "words"), [(SHOPIFY_TOKEN, True, "answers"), ("shpat_wrong", False, "refuses the credentials")]
)
async def test_shopify(world: World, token: str, ok: bool, words: str) -> None:
    """It asks for the shop's name."""
    shop = _Shop(shop="bob.myshopify.com", access_token=token, origin=world.shop.url)
    verdict = await try_connection("shopify", shop, egress=world.egress, databases=world.databases)
    assert (verdict.ok, words in verdict.message) == (ok, True)
    assert b"shop { name }" in world.shop.requests[-1].body


async def test_a_database(world: World, postgres_shop: Shop) -> None:
    """A login, a question, and a word about a user who may write."""
    async with relaying(postgres_shop.target) as relay:
        config = {
            "host": "127.0.0.1",
            "port": relay.port,
            "database": postgres_shop.database,
            "user": postgres_shop.reader,
            "password": PASSWORD,
            "tls": "off",
        }
        kind = "postgres_database"
        reader = await tried(world, config, kind)
        assert (reader.ok, reader.message) == (True, "The database answers.")
        writer = await tried(world, {**config, "user": postgres_shop.writer}, kind)
        assert writer.ok
        assert writer.advice is not None
        assert "may only read" in writer.advice
        wrong = await tried(world, {**config, "password": "wrong"}, kind)
        assert not wrong.ok
        assert wrong.message.startswith("The database refused the connection.")
        assert wrong.advice is not None
        assert "password" in wrong.advice
        away = await tried(world, {**config, "port": 9}, kind)
        assert away.message.startswith("The database cannot be reached.")
        plain = await tried(world, {**config, "tls": "require"}, kind)
        assert plain.advice is not None
        assert "tls" in plain.advice
        await world.databases.close()
