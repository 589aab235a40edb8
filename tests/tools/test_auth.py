"""Credentials as they arrive at a client's system, and the tokens that are got with them."""

import asyncio
import base64
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from server.errors import EgressError
from server.net.egress import Egress
from server.tools.connections.http import HttpConnection, OAuth2
from server.tools.live.auth import Authorizer, CredentialsRefused
from tests.tools.live_world import World, open_world
from tests.tools.shop_server import CLIENT_ID, CLIENT_SECRET, TOKEN, answer, silence


@pytest.fixture
async def world(redis_url: str) -> AsyncIterator[World]:
    async with open_world(redis_url) as world:
        yield world


class Clock:
    """Seconds that a test moves."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def oauth(world: World, **fields: Any) -> dict[str, Any]:
    """A configuration of the custom API with client credentials."""
    given = {"type": "oauth2", "token_url": f"{world.shop.url}/oauth/token", "client_id": CLIENT_ID}
    return {"api_url": f"{world.shop.url}/api/v1", "auth": {**given, "client_secret": CLIENT_SECRET, **fields}}


def connection(world: World, **fields: Any) -> HttpConnection:
    """The same, for an authorizer of the test's own."""
    given = {"token_url": f"{world.shop.url}/oauth/token", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    return HttpConnection(api_url=f"{world.shop.url}/api/v1", auth=OAuth2(**{**given, **fields}))


AUTHS: list[tuple[dict[str, Any], str, str | None]] = [
    ({"type": "bearer", "token": TOKEN}, "authorization", f"Bearer {TOKEN}"),
    ({"type": "api_key", "name": "X-API-Key", "value": TOKEN}, "x-api-key", TOKEN),
    ({"type": "api_key", "name": "api_key", "value": TOKEN, "where": "query"}, "authorization", None),
    (
        {"type": "basic", "username": "bob", "password": TOKEN},
        "authorization",
        "Basic " + base64.b64encode(f"bob:{TOKEN}".encode()).decode(),
    ),
]


@pytest.mark.parametrize(("auth", "header", "value"), AUTHS)
async def test_fixed_credentials(world: World, auth: dict[str, Any], header: str, value: str | None) -> None:
    """In the header or the query they belong in, and nowhere else."""
    config = {"api_url": f"{world.shop.url}/api/v1", "auth": auth, "headers": {"X-Tenant": "bob"}}
    outcome = await world.run(world.tool("/products/search{?query}", config, "query"), query="pizza")
    assert outcome.ok
    [request] = world.shop.requests
    assert request.headers.get(header) == value
    assert request.headers["x-tenant"] == "bob"
    keys = [each for each in request.query if each[0] == "api_key"]
    assert keys == ([("api_key", TOKEN)] if auth.get("where") == "query" else [])


async def test_a_key_in_the_query_stays_out_of_records(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Not in the outcome, not in the log, not in the cache's key."""
    auth = {"type": "api_key", "name": "api_key", "value": TOKEN, "where": "query"}
    config = {"api_url": f"{world.shop.url}/api/v1", "auth": auth}
    outcome = await world.run(world.tool("/echo", config, cache_ttl=60))
    failed = await world.run(world.tool("/x", {**config, "api_url": "http://127.0.0.1:9"}))
    assert TOKEN in world.shop.requests[-1].raw_path
    keys = [key async for key in world.redis.scan_iter()]
    said = f"{outcome} {failed} {keys} {[await world.redis.get(key) for key in keys]} {capsys.readouterr()}"
    assert TOKEN not in said


@pytest.mark.parametrize("client_auth", ["basic", "body"])
async def test_client_credentials(world: World, client_auth: str) -> None:
    """One token for many calls, asked for as RFC 6749 says."""
    tool = world.tool("/products/search{?query}", oauth(world, client_auth=client_auth, scope="read"), "query")
    for _ in range(3):
        assert (await world.run(tool, query="pizza")).ok
    [asked] = world.shop.to("/oauth")
    assert asked.headers["content-type"] == "application/x-www-form-urlencoded"
    assert b"grant_type=client_credentials" in asked.body
    assert b"scope=read" in asked.body
    assert ("authorization" in asked.headers) is (client_auth == "basic")
    assert (b"client_secret=" in asked.body) is (client_auth == "body")
    assert world.shop.to("/api")[0].headers["authorization"] == f"Bearer {next(iter(world.shop.tokens))}"


async def test_one_request_for_a_token_at_a_time(world: World) -> None:
    """Ten calls that come at once wait for the one token."""
    world.shop.token_gate.clear()
    tool = world.tool("/products/search{?query}", oauth(world), "query")
    calls = [asyncio.create_task(world.run(tool, query="pizza")) for _ in range(10)]
    await world.shop.wait_for("/oauth")
    world.shop.token_gate.set()
    assert all(outcome.ok for outcome in await asyncio.gather(*calls))
    assert len(world.shop.to("/oauth")) == 1


async def test_a_caller_who_goes_away_leaves_the_others_waiting(world: World) -> None:
    """Whoever asked for the token may be stopped; the next one asks."""
    world.shop.token_gate.clear()
    tool = world.tool("/products/search{?query}", oauth(world), "query")
    first, second = [asyncio.create_task(world.run(tool, query="pizza")) for _ in range(2)]
    await world.shop.wait_for("/oauth")
    first.cancel()
    world.shop.token_gate.set()
    assert (await second).ok
    assert len(world.shop.to("/oauth")) == 2


async def test_tokens_belong_to_their_connection(world: World) -> None:
    """Another client's, and another secret's, is another token."""
    for client_id, secret in ((1, CLIENT_SECRET), (2, CLIENT_SECRET)):
        tool = world.tool("/products/search{?query}", oauth(world, client_secret=secret), "query", client_id=client_id)
        assert (await world.run(tool, query="pizza", client_id=client_id)).ok
    wrong = world.tool("/products/search{?query}", oauth(world, client_secret="another-secret"), "query")
    assert not (await world.run(wrong, query="pizza")).ok
    assert len(world.shop.to("/oauth")) == 3


async def test_a_refused_token_is_renewed_once(world: World) -> None:
    """The other side forgot it; a second refusal is one."""
    tool = world.tool("/products/search{?query}", oauth(world), "query")
    assert (await world.run(tool, query="pizza")).ok
    world.shop.tokens.clear()
    assert (await world.run(tool, query="pizza")).ok
    assert len(world.shop.to("/oauth")) == 2
    world.shop.requests.clear()
    refusing = world.tool("/x", {**oauth(world), "api_url": f"{world.shop.url}/weather"})
    world.shop.script.extend([answer(401)] * 5)
    outcome = await world.run(refusing)
    assert not outcome.ok
    assert outcome.error is not None
    assert "credentials were refused" in outcome.error
    assert len(world.shop.to("/weather")) == 2


@pytest.mark.parametrize(
    ("answered", "until", "after"),
    [
        ({"expires_in": 3600}, 3_539, 3_541),
        ({"expires_in": 100}, 89, 91),
        ({"expires_in": "100"}, 89, 91),
        ({}, 269, 271),
    ],
)
async def test_a_token_is_left_shortly_before_its_end(
    world: World, answered: dict[str, Any], until: float, after: float
) -> None:
    """A tenth of its life before it, a minute at most; unsaid, it lives five minutes."""
    world.shop.token_answer = answered
    clock = Clock()
    authorizer = Authorizer(world.egress, clock=clock)
    start = clock.now
    tokens = []
    for seconds in (0, until, after):
        clock.now = start + seconds
        got = await authorizer.authorize(connection(world), b"1", "http://x", timeout_s=5)
        tokens.append(got.token)
        assert str(got.token) not in repr(got)
    assert tokens[0] == tokens[1] != tokens[2]


async def test_a_token_with_no_life_is_used_once(world: World) -> None:
    """It was given, so it is good for this call."""
    world.shop.token_answer = {"expires_in": 0}
    tool = world.tool("/products/search{?query}", oauth(world), "query")
    for _ in range(2):
        assert (await world.run(tool, query="pizza")).ok
    assert len(world.shop.to("/oauth")) == 2


async def test_forgetting_an_older_token_keeps_the_newer(world: World) -> None:
    """Two calls were refused with the same token; the second does not throw the new one away."""
    authorizer = Authorizer(world.egress)
    old = (await authorizer.authorize(connection(world), b"1", "http://x", timeout_s=5)).token
    assert old is not None
    authorizer.forget(b"1", old)
    new = (await authorizer.authorize(connection(world), b"1", "http://x", timeout_s=5)).token
    authorizer.forget(b"1", old)
    authorizer.forget(b"unknown", old)
    assert (await authorizer.authorize(connection(world), b"1", "http://x", timeout_s=5)).token == new != old


REFUSED = [
    (answer(401, f'{{"error": "invalid_client", "error_description": "no {CLIENT_SECRET}"}}'), "401 invalid_client"),
    (answer(400, f'{{"error": "{CLIENT_SECRET}"}}'), "gave no token: 400"),
    (answer(403, "<html>"), "gave no token: 403"),
    (answer(302, "", Location="http://169.254.169.254/token"), "gave no token: 302"),
    (answer(200, "<html>"), "check token_url"),
    (answer(200, '{"access_token": 5}'), "check token_url"),
    (answer(200, '{"access_token": "a", "expires_in": "soon"}'), "check token_url"),
    (answer(200, '{"access_token": "a\\r\\nX-Evil: 1"}'), "cannot stand in a header"),
    (answer(200, '{"access_token": ""}'), "cannot stand in a header"),
    (answer(200, '{"access_token": "abc", "token_type": "mac"}'), "not a bearer token"),
]


@pytest.mark.parametrize(("script", "words"), REFUSED)
async def test_no_token_for_these_credentials(world: World, script: Any, words: str) -> None:
    """Said to the operator, without a secret; nothing is sent to the system."""
    world.shop.script.append(script)
    config = oauth(world, token_url=f"{world.shop.url}/weather/token")
    outcome = await world.run(world.tool("/products/search{?query}", config, "query"), query="pizza")
    assert not outcome.ok
    assert "not set up correctly" in outcome.content
    assert outcome.error is not None
    assert words in outcome.error
    assert CLIENT_SECRET not in str(outcome)
    assert world.shop.to("/api") == []


@pytest.mark.parametrize(
    ("script", "kind"), [(answer(500), "broken"), (answer(429), "broken"), (answer(200, "x" * 70_000), "too_large")]
)
async def test_a_token_endpoint_that_is_broken(world: World, script: Any, kind: str) -> None:
    """Nothing was sent to the system, so nothing can be in doubt."""
    world.shop.script.append(script)
    authorizer = Authorizer(world.egress)
    to = connection(world, token_url=f"{world.shop.url}/weather/token")
    with pytest.raises(EgressError) as failure:
        await authorizer.authorize(to, b"1", "http://x", timeout_s=5)
    assert (failure.value.kind, failure.value.sent) == (kind, False)


async def test_a_token_endpoint_that_says_nothing(world: World) -> None:
    """All who wait give up at their own time, and an effect is not in doubt."""
    world.shop.script.extend([silence()] * 20)
    config = oauth(world, token_url=f"{world.shop.url}/weather/token")
    tool = world.tool("/bookings", config, method="POST", effect="unsafe")
    began = time.monotonic()
    outcomes = await asyncio.gather(*(world.run(tool, budget_s=0.4) for _ in range(5)))
    assert time.monotonic() - began < 1.5
    assert {(outcome.ok, outcome.in_doubt) for outcome in outcomes} == {(False, False)}
    assert "did not answer in time" in outcomes[0].content


async def test_a_token_url_that_leads_inside(world: World) -> None:
    """What DNS says later is looked at when the token is asked for."""
    strict = Egress()
    with pytest.raises(EgressError) as refusal:
        await Authorizer(strict).authorize(connection(world), b"1", "http://x", timeout_s=5)
    assert (refusal.value.kind, refusal.value.sent) == ("forbidden", False)
    assert world.shop.requests == []
    await strict.close()


async def test_a_header_of_the_systems_own(world: World) -> None:
    """The token alone, as Shopify wants it."""
    authorizer = Authorizer(world.egress)
    got = await authorizer.authorize(
        connection(world, token_header="X-Shopify-Access-Token"), b"1", "http://x", timeout_s=5
    )
    assert got.headers == {"x-shopify-access-token": got.token}


async def test_wrong_credentials_raise(world: World) -> None:
    """By name, for a connection test."""
    with pytest.raises(CredentialsRefused) as refusal:
        await Authorizer(world.egress).authorize(connection(world, client_id="x"), b"1", "http://x", timeout_s=5)
    assert str(refusal.value) == "127.0.0.1 gave no token: 401 invalid_client"
