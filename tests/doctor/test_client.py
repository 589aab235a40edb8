"""What the doctor finds about one client."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from server.doctor import Means, examine_client
from server.errors import NotFound
from server.llm.registry import Registry
from server.protocol.admin.doctor import Finding
from server.repositories import clients, integrations, sightings, usage
from server.repositories.clients import ClientChanges
from server.repositories.pool import reading, unit_of_work
from server.services import Services
from tests.support import Shop, new_shop, rows
from tests.tools.webhook_server import WebhookServer
from tests.turns.toolkit import add_tool


@pytest.fixture
def means(services: Services) -> Means:
    """Those of an instance."""
    return Means(services.settings, services.redis, services.egress, services.vault, services.pool, services.registry)


@pytest.fixture
async def shop(services: Services) -> Shop:
    """A client that lacks nothing."""
    shop = await new_shop(services, "pizza", allowed_origins=["https://pizza.example", "https://www.pizza.example"])
    async with reading(services.pool) as conn:
        await sightings.record(conn, seen=[(shop.id, "https://pizza.example")])
    return shop


async def found(means: Means, shop: Shop) -> dict[str, list[Finding]]:
    """Findings by check."""
    told: dict[str, list[Finding]] = {}
    for each in await examine_client(means, shop.id):
        assert "\n" not in each.says and (each.advice is None) == (each.status == "ok")
        told.setdefault(each.check, []).append(each)
    return told


async def change(services: Services, shop: Shop, **changes: Any) -> None:
    """Other settings of the client."""
    async with reading(services.pool) as conn:
        await clients.update(conn, client_id=shop.id, changes=ClientChanges(**changes))


def says(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(each.status, each.says) for each in findings]


async def test_all_is_well(means: Means, shop: Shop) -> None:
    """Every check is made."""
    told = await found(means, shop)
    assert list(told) == ["client", "origins", "script", "client's model", "webhooks", "integrations", "tool calls"]
    assert {each.status for findings in told.values() for each in findings} == {"ok"}, told


async def test_no_such_client(means: Means) -> None:
    """Is said as such."""
    with pytest.raises(NotFound, match="no client 999999"):
        await examine_client(means, 999_999)


async def test_its_standing(means: Means, services: Services, shop: Shop) -> None:
    """Suspended; nearly over its month; over it; without a limit."""
    await rows(services, "update clients set plan_type = 'free' where id = %s", shop.id)
    for messages, status in ((899, "ok"), (1, "warning"), (100, "error")):
        async with unit_of_work(services.pool) as conn:
            await usage.record(conn, client_id=shop.id, day=datetime.now(UTC).date(), messages=messages)
        assert (await found(means, shop))["client"][0].status == status
    await rows(services, "insert into plans (name, requests_per_minute) values ('endless', 60)")
    await rows(services, "update clients set plan_type = 'endless' where id = %s", shop.id)
    assert says((await found(means, shop))["client"]) == [("ok", "active, on the plan endless without a monthly limit")]
    async with reading(services.pool) as conn:
        await clients.set_status(conn, client_id=shop.id, status="suspended")
    assert (await found(means, shop))["client"][0].status == "error"


@pytest.mark.parametrize(
    ("origins", "expected"),
    [
        ([], [("error", "no origin is allowed, so the widget works nowhere")]),
        (
            ["https://Pizza.example/"],
            [("error", "the origin https://Pizza.example/ is not written as browsers write it, and matches nothing")],
        ),
        (["http://pizza.example"], [("warning", "http://pizza.example has no TLS: others can read along")]),
        (["http://localhost:8000"], [("warning", "none of the origins is of pizza.example")]),
        (["https://notpizza.example"], [("warning", "none of the origins is of pizza.example")]),
        (["https://shop.pizza.example", "http://127.0.0.1:8000"], [("ok", "2 origins are allowed")]),
        (["https://shop.pizza.example"], [("ok", "1 origin is allowed")]),
    ],
)
async def test_origins(
    means: Means, services: Services, shop: Shop, origins: list[str], expected: list[tuple[str, str]]
) -> None:
    """None, written wrongly, without TLS, of somebody else."""
    await change(services, shop, allowed_origins=origins)
    assert says((await found(means, shop))["origins"]) == expected


async def test_the_script(means: Means, services: Services, shop: Shop) -> None:
    """Never seen, not lately, seen where it is not allowed."""
    async with reading(services.pool) as conn:
        await sightings.record(conn, seen=[(shop.id, "https://copy.example")])
    [stranger] = (await found(means, shop))["script"]
    assert stranger.status == "warning" and "https://copy.example" in stranger.says
    await rows(services, "update script_sightings set seen_at = now() - interval '8 days'")
    old, _ = (await found(means, shop))["script"]
    assert old.status == "warning" and old.says.startswith("no page has loaded the widget since")
    await rows(services, "delete from script_sightings")
    [never] = (await found(means, shop))["script"]
    assert never.says == "no page of this client has loaded the widget yet"


async def test_its_model(means: Means, services: Services, shop: Shop, refusing: Registry) -> None:
    """A setting without sense, a provider that is not there, one that refuses."""
    for config, part in (
        ({"temperature": "hot"}, "the model's temperature makes no sense"),
        ({"provider": "anthropic"}, "anthropic is not configured here"),
    ):
        await change(services, shop, model_config=config)
        [finding] = (await found(means, shop))["client's model"]
        assert finding.status == "error" and part in finding.says
    await change(services, shop, model_config={})
    [finding] = (await found(msgspec.structs.replace(means, registry=refusing), shop))["client's model"]
    assert finding.status == "error" and "refuses the API key" in finding.says


async def test_webhooks(means: Means, services: Services, shop: Shop, webhook: WebhookServer) -> None:
    """Hosts are asked once each and no webhook is called; what is not set up or does not answer is named."""
    url = webhook.url
    await add_tool(services, shop, f"{url}/one", "one")
    await add_tool(services, shop, f"{url}/two", "two")
    [well] = (await found(means, shop))["webhooks"]
    assert well.status == "ok" and well.says.endswith("/ answers")
    assert [(each.method, each.path) for each in webhook.requests] == [("GET", "/")]
    await add_tool(services, shop, "http://127.0.0.1:1/three", "three")
    await add_tool(services, shop, "http://192.168.0.1/four", "four")
    await rows(
        services,
        "update client_tools set n8n_webhook_url = null where tool_id = (select id from tools where tool_name = 'one')",
    )
    await rows(
        services,
        "update client_tools set signing_secret = null where tool_id = (select id from tools where tool_name = 'two')",
    )
    findings = (await found(means, shop))["webhooks"]
    assert {each.status for each in findings} == {"error"} and len(findings) == 4
    text = "\n".join(each.says for each in findings)
    assert "the tool one has no webhook and the client no base URL" in text
    assert "the tool two has no signing secret" in text
    assert "http://127.0.0.1:1/ (of three)" in text and "http://192.168.0.1/ (of four)" in text
    await change(services, shop, webhook_base_url=f"{url}/hooks")
    assert len((await found(means, shop))["webhooks"]) == 3


async def test_a_base_url_alone(means: Means, services: Services, shop: Shop) -> None:
    """Is asked too."""
    await change(services, shop, webhook_base_url="http://127.0.0.1:1")
    [finding] = (await found(means, shop))["webhooks"]
    assert finding.status == "error" and "webhook_base_url" in finding.says


async def test_connections(means: Means, services: Services, shop: Shop) -> None:
    """Never tested, failed in its own words, passed; one that is off is not looked at."""
    async with reading(services.pool) as conn:
        row = await integrations.create(
            conn, client_id=shop.id, integration_type="shopify", connection_config=b"sealed"
        )
        name = f"integration {row.id} (shopify)"
        assert says((await found(means, shop))["integrations"]) == [("warning", f"{name} was never tested")]
        for result, expected in (
            ({"ok": False, "message": "It is shut.", "advice": "Open it."}, ("error", f"{name}: It is shut.")),
            ({"ok": True}, ("ok", "1 connection passed its last test, with 0 endpoints")),
        ):
            await integrations.record_test(conn, client_id=shop.id, integration_id=row.id, result=result)
            assert says((await found(means, shop))["integrations"]) == [expected]
    await rows(services, "update client_integrations set enabled = false")
    assert says((await found(means, shop))["integrations"]) == [("ok", "no integrations are enabled")]


async def test_calls_that_fail(means: Means, services: Services, shop: Shop) -> None:
    """More than half of five or more in a day."""
    [(turn, cnv)] = await rows(
        services,
        """
        with c as (
            insert into conversations (public_id, client_id, session_id, session_token_hash, channel, locale, epoch)
            values ('c', %s, 's', 'h', 'api', 'en', 'e') returning id, client_id
        ), m as (
            insert into messages (public_id, client_id, conversation_id, role, seq)
            select 'm', client_id, id, 'user', 1 from c returning id, client_id, conversation_id
        )
        insert into turns (public_id, client_id, conversation_id, message_id, answer_id, status)
        select 't', client_id, conversation_id, id, 'a', 'done' from m returning id, conversation_id
        """,
        shop.id,
    )
    for number, success in enumerate((False, False, False, True, True)):
        [finding] = (await found(means, shop))["tool calls"]
        assert finding.status == "ok", number
        await rows(
            services,
            """
            insert into tool_executions (client_id, conversation_id, turn_id, call_id, tool_name, parameters, success,
                                         execution_time_ms)
            values (%s, %s, %s, %s, 'pay', '{}', %s, 5)
            """,
            shop.id,
            cnv,
            turn,
            f"call_{number}",
            success,
        )
    [finding] = (await found(means, shop))["tool calls"]
    assert says([finding]) == [("error", "the tool pay failed in 3 of 5 calls of the last day")]


async def test_without_a_model(means: Means, shop: Shop) -> None:
    """What needs one is left out."""
    told = await found(msgspec.structs.replace(means, registry=None), shop)
    assert "client's model" not in told and "origins" in told
    assert await examine_client(msgspec.structs.replace(means, pool=None), shop.id) == []
