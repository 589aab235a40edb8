"""The demo shops' systems over real sockets: only who can sign is answered, and our own executors can."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from server.cache.rate_limit import RateLimiter
from server.embedded import demo_shop
from server.fanout.hub import Hub
from server.fanout.signals import Signals
from server.llm.demo_results import found_nothing
from server.net import webhooks
from server.net.egress import Response
from server.net.signing import Keyring
from server.repositories.clients import Client
from server.services import open_redis
from server.tools.catalogue import Catalogue
from server.tools.live.data import LiveData
from server.tools.sql.databases import Databases
from server.tools.tool import Call, Caller, Outcome
from server.tools.webhook.callbacks import Callbacks
from server.tools.webhook.n8n import N8n
from tests.embedded.demo_site import CalledBack, Site, demo_site
from tests.support import PATIENCE_S, SECRET_KEYS


@pytest.fixture
async def site(database_url: str) -> AsyncIterator[Site]:
    """The seeded shops and their systems."""
    async with demo_site(database_url) as site:
        yield site


async def post(
    site: Site,
    tool: str,
    arguments: dict[str, Any],
    *,
    client: Client | None = None,
    secret: str | None = None,
    key: str = "trn_1:2",
    at: float = 0.0,
    headers: dict[str, str] | None = None,
    **more: Any,
) -> Response:
    """A signed call, as Frontdesk makes it. `at` is seconds from now."""
    client = client or site.pizza
    body = msgspec.json.encode({"tool": tool, "arguments": arguments, "client": {"id": client.id}, **more})
    signed = webhooks.sign(
        secret or await site.secret(client, tool), msg_id=key, timestamp=int(time.time() + at), body=body
    )
    given = {"content-type": "application/json", "idempotency-key": key, **signed, **(headers or {})}
    return await site.wiring.egress.request(
        "POST", f"{site.url}/demo/n8n/{tool}", headers=given, body=body, timeout_s=PATIENCE_S
    )


def said(response: Response) -> Any:
    return msgspec.json.decode(response.body)


async def called_back(site: Site) -> CalledBack:
    async with asyncio.timeout(PATIENCE_S):
        return await site.callbacks.get()


async def test_a_signed_call_is_answered(site: Site) -> None:
    """With the shop's own data."""
    answer = await post(site, "get_order_status", {"order_id": "12345"})
    assert (answer.status, said(answer)["status"]) == (200, "out_for_delivery")
    answer = await post(site, "get_order_status", {"order_id": "12345"}, client=site.bakery)
    assert said(answer)["status"] == "ready_for_pickup"


async def test_whoever_cannot_sign_is_refused(site: Site) -> None:
    """Another secret, another tool's secret, another client's, an old time, no signature: 401, and the same words."""
    ask: dict[str, Any] = {"order_id": "12345"}
    refused = [
        await post(site, "get_order_status", ask, secret=webhooks.new_secret()),
        await post(site, "get_order_status", ask, secret=await site.secret(site.pizza, "check_inventory")),
        await post(site, "get_order_status", ask, secret=await site.secret(site.bakery, "get_order_status")),
        await post(site, "get_order_status", ask, at=-400),
        await post(site, "get_order_status", ask, headers={"webhook-signature": "v1,AAAA"}),
    ]
    assert [each.status for each in refused] == [401] * 5


async def test_a_signature_is_of_one_tool(site: Site) -> None:
    """A body for one tool is nothing at another one's address."""
    body = msgspec.json.encode(
        {"tool": "check_inventory", "arguments": {"product": "pizza"}, "client": {"id": site.pizza.id}}
    )
    secret = await site.secret(site.pizza, "get_order_status")
    signed = webhooks.sign(secret, msg_id="m", timestamp=int(time.time()), body=body)
    response = await site.wiring.egress.request(
        "POST", f"{site.url}/demo/n8n/get_order_status", headers=signed, body=body, timeout_s=PATIENCE_S
    )
    assert response.status == 401


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"", 400), (b"{", 400), (b"[]", 400), (b'{"tool":1}', 400), (b"x" * 70_000, 413), (b'{"client":{"id":1}}', 400)],
)
async def test_what_is_no_request_is_refused(site: Site, body: bytes, status: int) -> None:
    """Before anything is looked up."""
    response = await site.wiring.egress.request(
        "POST", f"{site.url}/demo/n8n/get_order_status", body=body, timeout_s=PATIENCE_S
    )
    assert response.status == status
    assert said(response)["error"]


async def test_wrong_arguments_are_refused(site: Site) -> None:
    """With words a model can mend them by."""
    answer = await post(site, "get_order_status", {"order_id": 5})
    assert answer.status == 422
    assert "order_id" in said(answer)["error"]


async def test_a_booking_made_twice_with_one_key_is_one(site: Site) -> None:
    """A retry after a lost answer books no second table, whatever it asks for; another key does."""
    first = said(await post(site, "book_appointment", {"date": "friday"}))
    again = said(await post(site, "book_appointment", {"date": "saturday"}, headers={"idempotency-key": "not signed"}))
    assert first["booked"]
    assert again == first
    assert len(site.systems.book.entries) == 1
    other = said(await post(site, "book_appointment", {"date": "friday"}, key="trn_1:3"))
    assert other["reference"] != first["reference"]
    assert len(site.systems.book.entries) == 2


async def test_a_booking_reports_its_progress_and_its_result(site: Site) -> None:
    """202 at once, then two steps in the visitor's language and the result, each signed with the tool's secret."""
    answer = await post(
        site,
        "book_appointment",
        {"date": "friday", "name": "Ana"},
        callback={"url": f"{site.url}/callback"},
        conversation={"locale": "de-AT"},
    )
    assert answer.status == 202
    posted = [await called_back(site) for _ in range(3)]
    secret = await site.secret(site.pizza, "book_appointment")
    ids = {webhooks.verify(secret, each.headers, each.body, now=time.time()) for each in posted}
    assert len(ids) == 3
    assert [each.json["type"] for each in posted] == ["progress", "progress", "result"]
    assert posted[0].json["text"] == "Ein freier Platz wird gesucht"
    assert posted[2].json["result"]["name"] == "Ana"


async def test_what_cannot_be_booked_is_called_back_as_an_error(site: Site) -> None:
    """An argument that makes no sense ends the call as failed."""
    await post(site, "book_appointment", {"date": "someday"}, callback={"url": f"{site.url}/callback"})
    last = [await called_back(site) for _ in range(3)][-1]
    assert last.json["type"] == "error"
    assert "someday" in last.json["error"]


async def test_a_callback_goes_out_through_egress_alone(site: Site) -> None:
    """An address that Frontdesk's rules forbid gets nothing, even from the demo."""
    answer = await post(
        site, "book_appointment", {"date": "friday"}, callback={"url": "http://169.254.169.254/latest/meta-data/"}
    )
    assert answer.status == 202
    assert site.callbacks.empty()


@pytest.mark.parametrize("slug", ["pizza", "bakery", "nowhere"])
async def test_the_shops_api_wants_its_key(site: Site, slug: str) -> None:
    """No key, a wrong one, or one of another shop: nothing is shown."""
    for headers in ({}, {"X-API-Key": ""}, {"X-API-Key": "sk_wrong"}):
        response = await site.wiring.egress.request(
            "GET", f"{site.url}/demo/shop/{slug}/products?query=pizza", headers=headers, timeout_s=PATIENCE_S
        )
        assert response.status == 401
        assert "products" not in said(response)


def caller(client: Client) -> Caller:
    return Caller(
        client_id=client.id,
        client_key=client.public_key,
        client_name=client.name,
        conversation_id="cnv_1",
        turn_id="trn_1",
        turn_row=1,
        locale="en",
        channel="widget",
        visitor=None,
    )


async def run(site: Site, redis_url: str, client: Client, name: str, **arguments: Any) -> Outcome:
    """What a turn does with a tool that the seed made: from the catalogue, through the executor of its kind."""
    wiring = site.wiring
    redis = open_redis(redis_url)
    databases = Databases(wiring.egress)
    hub = Hub(redis, "ins_test")
    callbacks = Callbacks(wiring.pool, Signals(hub), hub, wiring.vault, Keyring(SECRET_KEYS), public_url=None)
    try:
        tool = (await Catalogue(wiring.pool).offered(client)).tools[name]
        call = Call("trn_1:1", name, arguments, caller(client), budget_s=PATIENCE_S)
        live = LiveData(wiring.egress, wiring.vault, redis, RateLimiter(redis), databases)
        executor = live if name.startswith("find_") else N8n(wiring.egress, wiring.vault, callbacks)
        return await executor.run(tool, call)
    finally:
        await databases.close()
        await redis.aclose()


async def test_the_catalogue_offers_what_was_seeded(site: Site) -> None:
    """Four tools and each shop's own look-up; booking asks the visitor first."""
    for client, lookup in ((site.pizza, "find_pizza"), (site.bakery, "find_bakes")):
        toolbox = await Catalogue(site.wiring.pool).offered(client)
        assert set(toolbox.tools) == {*demo_shop.TOOLS, lookup}
        assert [name for name, tool in toolbox.tools.items() if tool.confirm] == ["book_appointment"]


async def test_our_own_executors_get_answers(site: Site, redis_url: str) -> None:
    """The webhook's contract and the live API's, kept by both sides."""
    order = await run(site, redis_url, site.pizza, "get_order_status", order_id="12345")
    assert order.ok, order.error
    assert order.response["status"] == "out_for_delivery"
    pizza = await run(site, redis_url, site.pizza, "find_pizza", query="pepperoni pizza")
    assert pizza.ok, pizza.error
    read = msgspec.json.decode(pizza.content)
    assert [(each["name"], each["price"], each["in_stock"]) for each in read] == [("Pepperoni", 18, True)]
    bakes = await run(site, redis_url, site.bakery, "find_bakes", query="croissants & more?#/../x")
    assert bakes.ok, bakes.error
    assert found_nothing(bakes.content)  # which the demo model has to see
    table = await run(site, redis_url, site.pizza, "book_appointment", date="friday")
    assert table.ok, table.error
    assert table.response["booked"] is True
