"""Tools and integrations as an owner sets them up: what is wrong is told at once, and each can be tried out."""

import json

import pytest
from playwright.async_api import Browser, expect

from tests.browser.console.support import Tab, open_console
from tests.browser.console.variants import VARIANTS, Stop, Variant, walk
from tests.flows.support import Desk, Shop
from tests.flows.tooling import add_live_data, add_tool
from tests.staffing import hire
from tests.tools.webhook_server import WebhookServer, says
from tests.turns.toolkit import webhook

__all__ = ["webhook"]

SCHEMA = {
    "type": "object",
    "properties": {"order": {"type": "string", "description": "Its number"}},
    "required": ["order"],
}


@pytest.fixture
async def shop(desk: Desk) -> Shop:
    return await desk.shop("Bob's Pizza")


async def test_a_tool_from_its_definition_to_its_first_call(console: Tab, shop: Shop, webhook: WebhookServer) -> None:
    """What is wrong with its schema stands beside it; then it is saved, enabled, and tried out."""
    await console.goto("/tools/+new")
    await console.fd("tool-name").fill("track_order")
    await console.fd("description").fill("Where an order is.")
    await console.fd("schema").fill('{"type": "object", "properties": {"order": {"type": "strin"}}}')
    await expect(console.fd("problems")).to_contain_text("properties/order/type")
    await console.fd("schema").fill(json.dumps(SCHEMA))
    await expect(console.fd("no-problem")).to_be_visible()
    await console.fd("save").click()
    await expect(console.page).to_have_url(f"{console.desk.url}/admin/tools/track_order")

    await console.goto(f"/clients/{shop.id}/tools")
    await console.fd("base-url").fill(webhook.url.removesuffix("/tool"))
    await console.fd("save").click()
    await expect(console.fd("save-bar")).to_have_count(0)
    await console.fd("on-track_order").click()
    secret = await console.fd("secret").locator("code").inner_text()
    assert secret.startswith("whsec_")
    await console.fd("once-kept").click()
    await console.fd("once-done").click()
    await expect(console.fd("on-track_order")).to_be_checked()

    webhook.script(says({"status": "in the <b>oven</b>"}))
    await console.goto(f"/clients/{shop.id}/tools/track_order")
    await expect(console.fd("trial-arguments")).to_have_value('{\n  "order": ""\n}')
    await console.fd("trial-arguments").fill('{"order": "7"}')
    await console.fd("trial-run").click()
    await expect(console.fd("trial-outcome")).to_have_text("It worked")
    await expect(console.fd("trial-content")).to_contain_text("in the <b>oven</b>")
    [received] = webhook.requests
    received.verify(secret)
    assert secret not in await console.page.content()


async def test_what_is_no_json_is_told_at_its_field(console: Tab) -> None:
    """Nothing is sent; the field is marked and has the focus."""
    await console.goto("/tools/+new")
    await console.fd("tool-name").fill("track_order")
    await console.fd("schema").fill("{")
    await console.fd("save").click()
    await expect(console.fd("field-error")).to_contain_text("not JSON")
    await expect(console.fd("schema")).to_be_focused()
    await console.fd("tool-name").fill("track order")
    await console.fd("schema").fill("{}")
    await console.fd("save").click()
    await expect(console.fd("tool-name")).to_be_focused()
    assert await console.desk.rows("select tool_name from tools") == []


async def test_an_unsafe_tool_is_called_only_on_purpose(console: Tab, shop: Shop, webhook: WebhookServer) -> None:
    """Its button is off until one says so; a failure shows what was sent and what came back."""
    await add_tool(console.desk, shop, webhook.url, "pay", "unsafe")
    await console.goto(f"/clients/{shop.id}/tools/pay")
    await expect(console.fd("trial-run")).to_be_disabled()
    await console.fd("trial-really").click()
    webhook.script(says({"error": "no money"}, 500))
    await console.fd("trial-arguments").fill('{"item": "rent"}')
    await console.fd("trial-run").click()
    await expect(console.fd("trial-result")).to_contain_text("no money")
    await expect(console.fd("trial-outcome")).not_to_have_text("It worked")


async def test_a_system_is_connected_tested_and_looked_up_in(console: Tab, shop: Shop, webhook: WebhookServer) -> None:
    """The token goes in once and is never shown; a connection test and a look-up say what happened."""
    base = webhook.url.removesuffix("/webhook/tool")
    await console.goto(f"/clients/{shop.id}/integrations")
    await console.fd("new-integration").click()
    await console.fd("kind").select_option(label="HTTP API")
    await console.page.get_by_label("Signing in").select_option(label="Bearer token")
    console.window.expect("status of 422")
    await console.fd("connect-save").click()
    await expect(console.fd("field-error").first).to_be_visible()
    await console.fd("ask-api_url").fill(f"{base}/v1")
    await console.fd("ask-auth.token").fill("shops-own-key")
    await console.fd("connect-save").click()
    await expect(console.fd("connection")).to_contain_text("token (kept, never shown)")
    assert "shops-own-key" not in await console.page.content()

    webhook.script(says({"ok": True}))
    await console.fd("test-connection").click()
    await expect(console.fd("verdict")).to_be_visible()

    await console.fd("new-endpoint").click()
    await console.fd("endpoint-name").fill("product")
    await console.fd("endpoint-url").fill("/products/{sku}")
    await console.fd("description").fill("Looks a product up.")
    await console.fd("schema").fill('{"type":"object","properties":{"sku":{"type":"string"}},"required":["sku"]}')
    await console.fd("save").click()
    await expect(console.fd("trial")).to_be_visible()
    webhook.script(says({"name": "Calzone"}))
    await console.fd("trial-arguments").fill('{"sku": "c-1"}')
    await console.fd("trial-run").click()
    await expect(console.fd("trial-content")).to_contain_text("Calzone")
    assert webhook.requests[-1].headers["authorization"] == "Bearer shops-own-key"
    assert "shops-own-key" not in await console.page.content()


async def test_two_people_change_the_same_tool(
    browser: Browser, console: Tab, shop: Shop, webhook: WebhookServer
) -> None:
    """The second is told who was first, and loses nothing of their own."""
    await add_tool(console.desk, shop, webhook.url, "look_up")
    colleague = await hire(console.desk.pool, console.desk.keyring, name="Ann")
    async with open_console(browser, console.desk, colleague, path="/tools/look_up") as other:
        await console.goto("/tools/look_up")
        await console.fd("description").fill("The first one's.")
        await other.fd("description").fill("The second one's.")
        await console.fd("save").click()
        await expect(console.fd("save-bar")).to_have_count(0)
        other.window.expect("409")
        await other.fd("save").click()
        await expect(other.fd("clash")).to_contain_text("The first one's.")
        await other.fd("clash-mine").click()
        await other.fd("save").click()
        await expect(other.fd("save-bar")).to_have_count(0)
    assert await console.desk.rows("select description from tools") == [("The second one's.",)]


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
async def test_pictures(browser: Browser, desk: Desk, shop: Shop, webhook: WebhookServer, variant: Variant) -> None:
    """Each page can be read in each variant."""
    for name, effect in (("look_up", "read_only"), ("reserve", "idempotent"), ("pay", "unsafe")):
        await add_tool(desk, shop, webhook.url, name, effect, confirm=effect == "unsafe", bound={})
    await add_live_data(desk, shop, webhook)
    [(system,)] = await desk.rows("select id from client_integrations")
    client = f"/clients/{shop.id}"

    async def tried(tab: Tab) -> None:
        webhook.script(says({"name": "Calzone", "price": 12.5, "notes": "מוכן בעוד עשר דקות"}))
        await tab.fd("trial-arguments").fill('{"item": "calzone"}')
        await tab.fd("trial-run").click()
        await tab.fd("trial-result").wait_for()

    async def connecting(tab: Tab) -> None:
        await tab.fd("new-integration").click()
        await tab.fd("kind").select_option(label="PostgreSQL")

    await walk(
        browser,
        desk,
        await hire(desk.pool, desk.keyring),
        variant,
        {
            "tools": Stop("/tools", lambda tab: tab.fd("table").wait_for()),
            "tool": Stop("/tools/pay", lambda tab: tab.fd("no-problem").wait_for()),
            "client-tools": Stop(f"{client}/tools", lambda tab: tab.fd("on-pay").wait_for()),
            "client-tool": Stop(f"{client}/tools/look_up", tried),
            "integrations": Stop(f"{client}/integrations", lambda tab: tab.fd("table").wait_for()),
            "integrations-connect": Stop(f"{client}/integrations", connecting),
            "integration": Stop(f"{client}/integrations/{system}", lambda tab: tab.fd("table").wait_for()),
            "endpoint": Stop(f"{client}/integrations/{system}/product", lambda tab: tab.fd("no-problem").wait_for()),
        },
    )
