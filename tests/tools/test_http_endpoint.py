"""Look-ups over real HTTP: arguments that attack, systems that are down, answers that are kept."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.net.egress import Egress
from server.services import open_redis
from server.tools.live.data import LiveData
from server.tools.tool import MODEL_BYTES, Outcome
from tests.tools.live_world import ANN, EVE, World, open_world
from tests.tools.shop_server import TOKEN, answer, hang_up, silence

JSON = "application/json"


@pytest.fixture
async def world(redis_url: str) -> AsyncIterator[World]:
    async with open_world(redis_url) as world:
        yield world


def honest(outcome: Outcome) -> bool:
    """Whether the model is told that this could not be checked."""
    return not outcome.ok and "cannot be checked now" in outcome.content and not outcome.in_doubt


async def test_the_owners_example(world: World) -> None:
    """A product by its id: the path's template, the bearer token, the part that was asked for."""
    tool = world.tool("/products/{product_id}.json", world.api, "product_id", response_path="product.totalInventory")
    outcome = await world.run(tool, product_id="PEP-30")
    assert outcome == Outcome(True, "12", response={"status": 200, "data": 12})
    assert world.shop.requests[-1].headers["authorization"] == f"Bearer {TOKEN}"
    assert world.shop.requests[-1].headers["accept"] == JSON


@pytest.mark.parametrize("template", ["/products/search{?query}", "/products/search?query={query}"])
async def test_a_search(world: World, template: str) -> None:
    """Both spellings of a query."""
    tool = world.tool(template, world.api, "query", response_path="products[].title")
    assert (await world.run(tool, query="pepperoni")).content == '["Pepperoni Pizza"]'


async def test_types_in_a_url(world: World) -> None:
    """Numbers, truth and lists as an API reads them; what was not given is left out."""
    schema = {
        "type": "object",
        "properties": {name: {} for name in ("count", "price", "sale", "tags", "sizes", "none", "whole")},
    }
    tool = world.tool("/echo{?count,price,sale,tags,sizes*,none,whole}", world.api, schema=schema)
    values: dict[str, Any] = {
        "count": 0,
        "price": 9.5,
        "sale": False,
        "tags": ["a,b", "c"],
        "sizes": ["30", "40"],
        "whole": 5.0,
    }
    outcome = await world.run(tool, **values)
    assert outcome.response["data"]["query"] == [
        ["count", "0"],
        ["price", "9.5"],
        ["sale", "false"],
        ["tags", "a,b,c"],
        ["sizes", "30"],
        ["sizes", "40"],
        ["whole", "5"],
    ]


@pytest.mark.parametrize(
    "attack",
    [
        "..", ".", "../admin", "..%2fadmin", "%2e%2e", "%2E%2e/x", "%252e%252e", "..\\admin", "a/../../b", "//a.test",
        "https://evil.example/", "x\r\nHost: evil.example", "x\0y", "x%00y", "x%0d%0ay", "\u2028", "", "a/b", "a%2Fb",
        "\x7f", "..;", "..;x=1",
    ],
)  # fmt: skip
async def test_no_value_leaves_its_part_of_a_path(world: World, attack: str) -> None:
    """Refused before anything is sent, in words from which a model can mend it."""
    tool = world.tool("/products/{product_id}.json", world.api, "product_id")
    outcome = await world.run(tool, product_id=attack)
    assert not outcome.ok
    assert "product_id must" in outcome.content
    assert world.shop.requests == []


@pytest.mark.parametrize("attack", ["?admin=1", "#x", "@evil.example", "a&b=c", "x y", "é\u202e", "%", "a:80@b"])
async def test_what_is_odd_in_a_path_stays_one_part_of_it(world: World, attack: str) -> None:
    """Encoded, it arrives as it was."""
    outcome = await world.run(world.tool("/echo/{value}/end", world.api, "value"), value=attack)
    assert outcome.ok
    raw = world.shop.requests[-1].raw_path
    assert raw.startswith("/api/v1/echo/")
    assert raw.endswith("/end")
    assert raw.count("/") == 5
    assert not any(mark in raw for mark in "?#; ")
    assert unquote(raw.split("/")[4]) == attack


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    value=st.text(alphabet=st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), max_size=60),
    other=st.text(alphabet="&=?#/.%+ ab@:", max_size=20),
)
async def test_any_text_arrives_in_a_query_as_it_was(world: World, value: str, other: str) -> None:
    """Whatever it is made of, it is one value of one parameter, and nothing more."""
    outcome = await world.run(world.tool("/echo?fixed=1{&q,r}", world.api, "q", "r"), q=value, r=other)
    assert outcome.ok
    assert world.shop.requests[-1].query == [("fixed", "1"), ("q", value), ("r", other)]


async def test_what_no_url_can_carry(world: World) -> None:
    """Objects, endless numbers, far too much: refused before anything is sent."""
    tool = world.tool("/echo{?q}", world.api, schema={"type": "object", "properties": {"q": {}}})
    for value in ({"a": 1}, [{"a": 1}], float("inf"), "x" * 9_000, ["y" * 100] * 100, "line\nbreak"):
        outcome = await world.run(tool, q=value)
        assert not outcome.ok
        assert "correct this" in outcome.content
    assert world.shop.requests == []


async def test_a_body_holds_what_the_url_does_not(world: World) -> None:
    """Of what the schema declares, and no more: a model cannot add fields."""
    schema = {"type": "object", "properties": {"branch": {"type": "string"}, "people": {"type": "integer"}}}
    tool = world.tool(
        "/bookings{?branch}", world.api, method="POST", effect="unsafe", schema=schema, response_path="booked"
    )
    outcome = await world.run(tool, branch="west", people=4, admin=True)
    assert outcome == Outcome(True, "true", response={"status": 201, "data": True})
    [request] = world.shop.requests
    assert (request.method, request.query, request.json) == ("POST", [("branch", "west")], {"people": 4})
    assert request.headers["content-type"] == JSON


@pytest.mark.parametrize("path", ["products[?title=='Nothing'].title", "nothing.here", "products[9]"])
async def test_nothing_found_is_said_as_nothing(world: World, path: str) -> None:
    """No match is an answer, not a failure."""
    tool = world.tool("/products/search{?query}", world.api, "query", response_path=path)
    outcome = await world.run(tool, query="pizza")
    assert outcome.ok
    assert outcome.content == "The business's system was asked and has nothing that matches this."


async def test_a_404_means_the_argument_or_the_address(world: World) -> None:
    """With an argument in it there is no such thing; without one the address is wrong."""
    outcome = await world.run(world.tool("/products/{id}.json", world.api, "id"), id="NO-1")
    assert outcome.ok
    assert "nothing that matches" in outcome.content
    assert outcome.response["status"] == 404
    outcome = await world.run(world.tool("/gone", world.api))
    assert honest(outcome)
    assert outcome.error is not None
    assert "check endpoint_url" in outcome.error


BAD: list[tuple[str, Any, str, str]] = [
    ("500", answer(500, "boom"), "had an error", "HTTP 500"),
    ("401", answer(401, "{}"), "not set up correctly", "credentials were refused"),
    ("403", answer(403, "{}"), "not set up correctly", "credentials were refused"),
    ("429", answer(429, "{}"), "too busy", "lower rate_limit"),
    ("408", answer(408, "{}"), "in time", "HTTP 408"),
    ("400", answer(400, '{"m": "bad sku"}'), "refused this", "HTTP 400"),
    ("redirect", answer(302, "", Location="http://169.254.169.254/"), "not set up correctly", "not followed"),
    ("html", answer(200, "<!doctype html><h1>Login</h1>", Content_Type="text/html"), "cannot be used", "a web page"),
    ("not json", answer(200, '{"a": ', Content_Type=JSON), "cannot be used", "says it is JSON"),
    ("binary", answer(200, b"\xff\xd8\xff", Content_Type="image/jpeg"), "cannot be used", "not UTF-8"),
    ("huge", answer(200, b"[" + b"1," * 600_000 + b"1]", Content_Type=JSON), "cannot be used", "too_large"),
    ("hang up", hang_up(), "cannot be reached", "broken"),
]


@pytest.mark.parametrize(("name", "script", "words", "error"), BAD, ids=[each[0] for each in BAD])
async def test_bad_weather_is_told_honestly(world: World, name: str, script: Any, words: str, error: str) -> None:
    """The model hears that it could not be checked, in plain words; the operator hears why. No address is told."""
    world.shop.script.extend([script, script])
    outcome = await world.run(world.tool("/x", world.weather))
    assert honest(outcome)
    assert words in outcome.content
    assert outcome.error is not None
    assert error in outcome.error
    assert "127.0.0.1" not in outcome.content
    assert not any("169.254" in each.headers["host"] for each in world.shop.requests)


async def test_deep_json_is_cut(world: World) -> None:
    """Nested without end, it neither breaks us nor the record."""
    world.shop.script.append(answer(200, b"[" * 200_000 + b"]" * 200_000, Content_Type=JSON))
    outcome = await world.run(world.tool("/x", world.weather))
    assert honest(outcome)


async def test_a_system_that_is_down(world: World) -> None:
    """Nobody listens: the model is told that it is down."""
    outcome = await world.run(world.tool("/x", {"api_url": "http://127.0.0.1:9"}))
    assert honest(outcome)
    assert "cannot be reached right now" in outcome.content
    assert outcome.error is not None
    assert outcome.error.startswith("refused: ")


@pytest.mark.parametrize("budget_s", [0.6, 60.0])
async def test_a_system_that_says_nothing(world: World, budget_s: float) -> None:
    """5 seconds, or what is left of the turn; not a second try after that."""
    world.shop.script.extend([silence()] * 3)
    began = time.monotonic()
    outcome = await world.run(world.tool("/x", world.weather), budget_s=budget_s)
    assert honest(outcome)
    assert "did not answer in time" in outcome.content
    # Before the turn's own end, so that the reason is ours.
    assert time.monotonic() - began < (budget_s if budget_s < 5 else 5.5)
    assert len(world.shop.requests) == 1


@pytest.mark.parametrize("script", [answer(502), answer(503), answer(504), hang_up()])
async def test_what_passes_is_tried_once_more(world: World, script: Any) -> None:
    """A look-up does no harm twice."""
    world.shop.script.extend([script, answer(200, '{"a": 1}', Content_Type=JSON)])
    outcome = await world.run(world.tool("/x", world.weather))
    assert outcome.content == '{"a":1}'
    assert len(world.shop.requests) == 2


@pytest.mark.parametrize("status", [500, 501, 429, 400])
async def test_what_does_not_pass_is_not(world: World, status: int) -> None:
    """One request."""
    world.shop.script.append(answer(status))
    assert honest(await world.run(world.tool("/x", world.weather)))
    assert len(world.shop.requests) == 1


@pytest.mark.parametrize(
    ("script", "in_doubt"),
    [
        (answer(503), True),
        (hang_up(), True),
        (answer(302, "", Location="/y"), True),
        (answer(400), False),
        (answer(401), False),
    ],
)
async def test_an_effect_is_tried_once_and_may_be_in_doubt(world: World, script: Any, in_doubt: bool) -> None:
    """What broke after it was sent may have happened: the model is told that nobody knows."""
    world.shop.script.append(script)
    outcome = await world.run(world.tool("/x", world.weather, method="POST", effect="unsafe"))
    assert not outcome.ok
    assert outcome.in_doubt is in_doubt
    assert ("it is not known whether it was done" if in_doubt else "nothing was done") in outcome.content
    assert len(world.shop.requests) == 1


async def test_an_effect_that_was_not_sent_is_not_in_doubt(world: World) -> None:
    """Nobody listened."""
    tool = world.tool("/x", {"api_url": "http://127.0.0.1:9"}, method="POST", effect="unsafe")
    outcome = await world.run(tool)
    assert (outcome.ok, outcome.in_doubt) == (False, False)


async def test_an_effect_with_nothing_to_say(world: World) -> None:
    """204 is a success."""
    world.shop.script.append(answer(204))
    outcome = await world.run(world.tool("/x", world.weather, method="DELETE", effect="idempotent"))
    assert outcome.ok
    assert outcome.content.startswith("Done.")


async def test_plain_text_is_data(world: World) -> None:
    """Some systems answer a question with a word."""
    world.shop.script.append(answer(200, "12 in stock", Content_Type="text/plain; charset=utf-8"))
    assert (await world.run(world.tool("/x", world.weather))).content == "12 in stock"


async def test_a_path_that_does_not_fit(world: World) -> None:
    """A function on the wrong type is the configuration's fault, and is said to the operator."""
    tool = world.tool("/products/search{?query}", world.api, "query", response_path="length(count)")
    outcome = await world.run(tool, query="pizza")
    assert honest(outcome)
    assert outcome.error is not None
    assert outcome.error.startswith("response_path does not fit")


async def test_a_model_reads_a_part_of_a_large_answer(world: World) -> None:
    """The record has it whole."""
    world.shop.script.append(answer(200, b"[" + b'"0123456789",' * 5_000 + b"1]", Content_Type=JSON))
    outcome = await world.run(world.tool("/x", world.weather))
    assert outcome.ok
    assert len(outcome.content.encode()) <= MODEL_BYTES
    assert len(outcome.response["data"]) == 5_001


async def test_an_answer_is_kept(world: World) -> None:
    """Asked once in its time, by two instances; the record says which answer was kept, the model cannot tell."""
    tool = world.tool("/products/search{?query}", world.api, "query", response_path="count", cache_ttl=300)
    first = await world.run(tool, query="pizza")
    second = await world.run(tool, query="pizza", live=world.instance())
    assert len(world.shop.requests) == 1
    assert second == Outcome(True, first.content, response={**first.response, "cached": True})
    [key] = [key.decode() async for key in world.redis.scan_iter()]
    assert key.startswith("endpoint:1:1:")
    assert TOKEN not in key
    assert 0 < await world.redis.ttl(key) <= 300
    await world.run(tool, query="secret")
    assert len(world.shop.requests) == 2


async def test_nothing_found_is_kept_too(world: World) -> None:
    """It is an answer."""
    tool = world.tool("/products/search{?query}", world.api, "query", response_path="products", cache_ttl=300)
    first, second = [await world.run(tool, query="sushi") for _ in range(2)]
    assert first.content == second.content
    assert "nothing that matches" in first.content
    assert len(world.shop.requests) == 1


async def test_no_answer_is_given_to_somebody_else(world: World) -> None:
    """Another client, endpoint, credential, path of the response: each asks for itself."""
    base: dict[str, Any] = {"response_path": "count", "cache_ttl": 300}
    for more in (
        {},
        {"client_id": 2},
        {"endpoint_id": 2},
        {"response_path": "products"},
    ):
        tool = world.tool("/products/search{?query}", world.api, "query", **{**base, **more})
        await world.run(tool, query="pizza", client_id=more.get("client_id", 1))  # type: ignore[arg-type]  # a table
    other = {**world.api, "auth": {"type": "api_key", "name": "X-API-Key", "value": TOKEN}}
    await world.run(world.tool("/products/search{?query}", other, "query", **base), query="pizza")
    assert len(world.shop.requests) == 5


async def test_a_bound_answer_is_its_visitors(world: World) -> None:
    """Even where the bound argument is the same, another visitor is not given it."""
    tool = world.tool("/open/search{?query}", world.api, "query", cache_ttl=300, bound={"query": "visitor.name"})
    for visitor in (ANN, ANN, EVE, EVE):
        assert (await world.run(tool, visitor=visitor, query="pizza")).ok
    assert len(world.shop.requests) == 2


async def test_failures_and_effects_are_not_kept(world: World) -> None:
    """Nothing but a success of a look-up."""
    tool = world.tool("/x", world.weather, cache_ttl=300)
    world.shop.script.extend([answer(500), answer(404), answer(200, "<html>", Content_Type="text/html")])
    for _ in range(3):
        assert not (await world.run(tool)).ok
    assert (await world.run(tool)).ok
    effect = world.tool("/x", world.weather, method="POST", effect="idempotent", cache_ttl=300)
    for _ in range(2):
        await world.run(effect)
    assert len(world.shop.requests) == 6
    never = world.tool("/x", world.weather)
    for _ in range(2):
        await world.run(never)
    assert len(world.shop.requests) == 8


async def test_without_redis_the_system_is_asked(world: World) -> None:
    """Losing Redis answers no question wrongly, and refuses none."""
    from server.cache.rate_limit import RateLimiter

    nowhere = open_redis("unix:///nowhere/redis.sock")
    live = LiveData(world.egress, world.vault, nowhere, RateLimiter(nowhere), world.databases)
    tool = world.tool("/products/search{?query}", {**world.api, "rate_limit": 100}, "query", cache_ttl=300)
    for _ in range(2):
        assert (await world.run(tool, query="pizza", live=live)).ok
    assert len(world.shop.requests) == 2
    await nowhere.aclose()


async def test_the_integrations_limit(world: World) -> None:
    """Of one integration of one client, over all instances; the model is told that the system is busy."""
    tool = world.tool("/open/search{?query}", {**world.api, "rate_limit": 3}, "query")
    other = world.tool("/open/search{?query}", {**world.api, "rate_limit": 3}, "query", client_id=2)
    outcomes = await asyncio.gather(
        *(world.run(tool, query="pizza", live=live) for live in (world.live, world.instance()) for _ in range(4))
    )
    assert sum(outcome.ok for outcome in outcomes) == 3
    [busy, *_] = [outcome for outcome in outcomes if not outcome.ok]
    assert honest(busy)
    assert "too busy" in busy.content
    assert busy.error is not None
    assert "more than 3 requests a minute" in busy.error
    assert (await world.run(other, query="pizza", client_id=2)).ok


async def test_what_repeats_a_secret_is_cleaned(world: World) -> None:
    """A debugging page that echoes its request tells neither model nor operator the token."""
    outcome = await world.run(world.tool("/echo", world.api))
    assert TOKEN not in outcome.content
    assert TOKEN not in str(outcome.response)
    assert "Bearer [redacted]" in outcome.content
    odd = {"type": "api_key", "name": "shop", "value": "a/b+c d&e=5ecret", "where": "query"}
    outcome = await world.run(world.tool("/echo", {**world.api, "auth": odd}))
    assert world.shop.requests[-1].query == [("shop", "a/b+c d&e=5ecret")]
    assert "5ecret" not in f"{outcome.content}{outcome.response}"


async def test_a_private_address_is_not_called(world: World) -> None:
    """What was allowed when it was configured and is not any more."""
    strict = Egress()
    from server.cache.rate_limit import RateLimiter

    live = LiveData(strict, world.vault, world.redis, RateLimiter(world.redis), world.databases)
    outcome = await world.run(world.tool("/open/search{?query}", world.api, "query"), query="pizza", live=live)
    assert honest(outcome)
    assert world.shop.requests == []
    await strict.close()


GRAPHQL_BAD = [
    ('{"errors": [{"message": "Throttled", "extensions": {"code": "THROTTLED"}}]}', "too busy", "Throttled"),
    ('{"errors": [{"message": "Not you", "extensions": {"code": "ACCESS_DENIED"}}]}', "not set up", "Not you"),
    ('{"errors": [{"message": "Field x"}], "data": null}', "refused this", "Field x"),
    ('{"errors": "[API] Invalid"}', "refused this", "[API] Invalid"),
    ("[]", "refused this", "not a GraphQL answer"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "words", "error"), GRAPHQL_BAD)
async def test_graphql_says_what_is_wrong_in_a_200(world: World, body: str, words: str, error: str) -> None:
    """It is a failure all the same."""
    world.shop.script.append(answer(200, body, Content_Type=JSON))
    tool = world.tool("/graphql\nquery Q($x: String!) { y(x: $x) { z } }", world.weather, "x", method="POST")
    outcome = await world.run(tool, x="1")
    assert honest(outcome)
    assert words in outcome.content
    assert outcome.error is not None
    assert error in outcome.error
    assert world.shop.requests[-1].json == {
        "query": "query Q($x: String!) { y(x: $x) { z } }",
        "variables": {"x": "1"},
    }
