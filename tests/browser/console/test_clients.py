"""Clients in the console: one more with its first page, looks with a live preview, the assistant, origins, keys."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from playwright.async_api import Browser, Route, expect

from server.repositories import usage
from server.repositories.pool import unit_of_work
from tests.browser.console.client_pages import (
    WIDGET,
    choose,
    field,
    opened,
    part,
    read,
    rows,
    save,
    save_quietly,
    wrong,
)
from tests.browser.console.support import Tab, open_console
from tests.browser.console.variants import VARIANTS, Stop, Variant, walk
from tests.browser.site import Website, open_website
from tests.flows.support import Desk, Shop
from tests.staffing import hire


@pytest.fixture
async def website() -> AsyncIterator[Website]:
    """A website on another origin."""
    async with open_website() as website:
        yield website


@pytest.fixture
async def pizza(desk: Desk) -> Shop:
    """A client that nobody has touched yet."""
    return await desk.shop("pizza")


async def test_a_new_client_gets_to_a_working_widget(console: Tab, desk: Desk, website: Website) -> None:
    """Name, domain and origin; then the key once, the code to copy, and the page notices when the site has it."""
    await console.goto("/clients")
    await expect(console.fd("empty")).to_be_visible()
    await console.fd("new-client").first.click()
    await field(console, "name").fill("Rosa's Bakery")
    await field(console, "domain").fill("rosa.example")
    await field(console, "allowed_origins").fill(website.url)
    await console.fd("create").click()
    key = await console.fd("api-key").locator("code").inner_text()
    [(client_id, prefix)] = await desk.rows("select id, api_key_prefix from clients")
    assert console.path == f"/clients/{client_id}/start"
    assert key.startswith("sk_") and key.startswith(prefix)
    await expect(console.fd("script")).to_have_attribute("data-seen", "false")
    embed = await console.fd("embed").locator("pre").inner_text()
    page = await console.window.context.new_page()
    await page.goto(website.put("/", f"<!doctype html><html lang=en><title>Rosa</title><body>{embed}</body></html>"))
    await page.locator(f'{WIDGET} [data-fd="launcher"]').wait_for()
    await expect(console.fd("script")).to_have_attribute("data-seen", "true")
    await expect(rows(console, "On the site").first).to_contain_text(website.url)
    await console.page.reload()
    await expect(console.fd("public-key")).to_be_visible()
    await expect(console.fd("api-key")).to_have_count(0)


async def test_what_is_wrong_with_a_new_client_stands_at_its_field(console: Tab, desk: Desk) -> None:
    """Nothing is made, nothing that was typed is lost."""
    console.window.expect("status of 422")
    await console.goto("/clients/new")
    await field(console, "name").fill("Rosa's Bakery")
    await field(console, "domain").fill("not a domain")
    await console.fd("create").click()
    await expect(wrong(console, "domain")).to_be_visible()
    await field(console, "domain").fill("rosa.example")
    await field(console, "allowed_origins").fill("rosa.example/shop")
    await console.fd("create").click()
    await expect(wrong(console, "allowed_origins")).to_be_visible()
    await expect(field(console, "name")).to_have_value("Rosa's Bakery")
    assert await desk.rows("select id from clients") == []


async def test_the_list_is_searched_and_filtered(console: Tab, desk: Desk, pizza: Shop) -> None:
    """By name or domain and by status, both in the address; use against the plan stands in the row."""
    bakery = await desk.shop("bakery", plan_type="free")
    await desk.rows("update clients set status = 'suspended' where id = %s", bakery.id)
    async with unit_of_work(desk.pool) as conn:
        await usage.record(conn, client_id=pizza.id, day=datetime.now(UTC).date(), messages=120, cost=Decimal("1.5"))
    await console.goto("/clients")
    table = rows(console, "Clients")
    await expect(table).to_have_count(2)
    await expect(table.filter(has_text="pizza")).to_contain_text("120 of 100,000")
    await expect(table.filter(has_text="pizza")).to_contain_text("$1.50")
    await console.fd("search").fill("bak")
    await expect(table).to_have_count(1)
    await expect(table).to_contain_text("Suspended")
    await console.fd("status").select_option(label="Active")
    await expect(console.fd("empty")).to_be_visible()
    assert console.path == "/clients?q=bak&status=active"
    await console.fd("search").fill("")
    await expect(table).to_have_count(1)
    await table.get_by_role("link").click()
    await expect(console.page.locator("h1")).to_have_text("pizza")


async def test_leaving_with_something_unsaved_is_asked(console: Tab, pizza: Shop) -> None:
    """To another tab of the client: staying keeps what was typed, leaving drops it."""
    await console.goto(f"/clients/{pizza.id}/assistant")
    await console.fd("prompt").fill("Be kind.")
    await console.fd("tab-looks").click()
    await console.fd("confirm-no").click()
    await expect(console.fd("prompt")).to_have_value("Be kind.")
    await console.fd("tab-looks").click()
    await console.fd("confirm-yes").click()
    await expect(console.fd("preview")).to_be_visible()


async def test_two_people_at_the_same_client(browser: Browser, console: Tab, desk: Desk, pizza: Shop) -> None:
    """The second is told who was first and what differs; nothing is overwritten until they say how."""
    console.window.expect("status of 409")
    await console.goto(f"/clients/{pizza.id}/looks")
    await expect(console.fd("save")).to_be_visible()
    ana = await hire(desk.pool, desk.keyring, name="Ana")
    async with open_console(browser, desk, ana, path=f"/clients/{pizza.id}/assistant") as other:
        await other.fd("prompt").fill("Be kind.")
        await save(other)
    await field(console, "widget.title").fill("Bob's")
    await console.fd("save").click()
    clash = console.fd("clash")
    await expect(clash).to_contain_text("Ana")
    await expect(clash).to_contain_text("Instructions")
    await expect(clash).to_contain_text("Title")
    assert (await read(desk, pizza))["widget_config"] == {}
    await console.fd("clash-mine").click()
    await save(console)
    row = await read(desk, pizza)
    assert (row["system_prompt"], row["widget_config"]) == ("Be kind.", {"title": "Bob's"})


async def test_the_assistant_is_told_and_gets_its_models(console: Tab, desk: Desk, pizza: Shop) -> None:
    """Prices stand beside the models; a model that the list does not have is written; a fallback is chosen."""
    await console.goto(f"/clients/{pizza.id}/assistant")
    await console.fd("prompt").fill("You are the front desk of a pizza shop.")
    options = await console.fd("model").locator("option").all_inner_texts()
    assert any("$" in option for option in options)
    await console.fd("model").select_option(label="OpenAI · another model ...")
    await console.fd("model-name").fill("gpt-next-large")
    await expect(console.page.get_by_text("Nobody said what this model costs").first).to_be_visible()
    priced = next(i for i, option in enumerate(options) if "$" in option)
    await console.fd("fallback").select_option(index=priced)
    await console.fd("temperature").fill("0.4")
    await save(console)
    row = await read(desk, pizza)
    config = row["model_config"]
    assert isinstance(config, dict)
    assert row["system_prompt"] == "You are the front desk of a pizza shop."
    assert (config["provider"], config["model"], config["temperature"]) == ("openai", "gpt-next-large", 0.4)
    assert config["fallback"]["model"] in options[priced]
    console.window.expect("status of 422")
    await console.fd("temperature").fill("3")
    await console.fd("save").click()
    await expect(wrong(console, "model.temperature")).to_be_visible()


async def test_an_origin_that_is_refused_can_be_allowed(console: Tab, desk: Desk, website: Website) -> None:
    """A page that loads the widget and may not is listed, and one click allows it."""
    console.window.expect("403|not allowed|frontdesk")
    shop = await desk.shop("pizza")
    await console.goto(f"/clients/{shop.id}/origins")
    tag = f'<script async src="{desk.url}/widget.js" data-client-key="{shop.key}"></script>'
    page = await console.window.context.new_page()
    await page.goto(website.put("/", f"<!doctype html><html lang=en><title>Shop</title><body>{tag}</body></html>"))
    await expect(rows(console, "On the site").filter(has_text=website.url)).to_contain_text("Not allowed")
    await console.fd("allow").click()
    await expect(console.fd("origins")).to_have_value(f"https://pizza.example\n{website.url}")
    await save_quietly(console)
    await expect(rows(console, "On the site").filter(has_text="Not allowed")).to_have_count(0)
    assert (await read(desk, shop))["allowed_origins"] == ["https://pizza.example", website.url]


async def test_secrets_are_shown_once(console: Tab, desk: Desk, pizza: Shop) -> None:
    """Another API key after a question, an identity secret at once; each dialog closes when it is said to be kept."""
    await console.goto(f"/clients/{pizza.id}/origins")
    await console.fd("rotate").click()
    await console.fd("confirm-yes").click()
    key = await console.fd("secret").locator("code").inner_text()
    assert key.startswith("sk_") and key != pizza.secret_key
    await expect(console.fd("once-done")).to_be_disabled()
    await console.page.keyboard.press("Escape")
    await expect(console.fd("once")).to_be_visible()
    await console.fd("once-kept").check()
    await console.fd("once-done").click()
    await expect(console.page.get_by_text(key)).to_have_count(0)
    assert (await read(desk, pizza))["api_key_prefix"] == key[:8]
    await console.fd("identity").click()
    await expect(console.fd("secret").locator("code")).to_be_visible()
    await console.fd("once-kept").check()
    await console.fd("once-done").click()
    await console.fd("identity").click()
    await expect(console.fd("confirm")).to_be_visible()
    await console.fd("confirm-no").click()


async def test_suspending_and_letting_back_in(console: Tab, desk: Desk, pizza: Shop) -> None:
    """Asked before; the state stands at the name, and visitors are refused until it is active again."""

    async def answer() -> int:
        return (await desk.http.get(f"{desk.url}/api/v1/config", params={"key": pizza.key})).status_code

    await console.goto(f"/clients/{pizza.id}")
    await console.fd("suspend").click()
    await console.fd("confirm-yes").click()
    await expect(console.page.locator(".page-title .badge")).to_have_text("Suspended")
    assert (await read(desk, pizza))["status"] == "suspended"
    await console.fd("activate").click()
    await expect(console.page.locator(".page-title .badge")).to_have_count(0)
    assert (await read(desk, pizza))["status"] == "active"
    assert await answer() == 200


async def test_settings_and_use_against_the_plan(console: Tab, desk: Desk, pizza: Shop) -> None:
    """The month's figures, a warning near the end of the plan, and another plan that takes it away."""
    await desk.rows("update clients set plan_type = 'free' where id = %s", pizza.id)
    async with unit_of_work(desk.pool) as conn:
        await usage.record(conn, client_id=pizza.id, day=datetime.now(UTC).date(), conversations=30, messages=900)
    await console.goto(f"/clients/{pizza.id}")
    await expect(console.fd("month-messages").locator(".stat-value")).to_have_text("900")
    month = console.fd("month")
    await expect(month.locator(".notice")).to_contain_text("nearly used up")
    await field(console, "plan").select_option(index=2)
    await field(console, "timezone").fill("Europe/Rome")
    await save_quietly(console)
    await expect(month.locator(".notice")).to_have_count(0)
    row = await read(desk, pizza)
    assert (row["plan_type"], row["timezone"]) == ("pro", "Europe/Rome")


async def test_the_doctor_looks_at_a_client(console: Tab, pizza: Shop) -> None:
    """When called; the findings say what to do."""
    await console.goto(f"/clients/{pizza.id}")
    await console.fd("doctor").click()
    await expect(console.fd("finding").first).to_be_visible()
    await expect(console.page.locator(".operations-advice").first).to_be_visible()


async def test_an_admin_of_one_client(browser: Browser, desk: Desk, pizza: Shop) -> None:
    """Sees that one, edits it, and can neither add, suspend nor change the plan; another one is not there for them."""
    bakery = await desk.shop("bakery")
    admin = await hire(desk.pool, desk.keyring, role="admin", client_id=pizza.id)
    async with open_console(browser, desk, admin, path="/clients") as tab:
        await expect(rows(tab, "Clients")).to_have_count(1)
        await expect(tab.fd("new-client")).to_have_count(0)
        await rows(tab, "Clients").get_by_role("link").click()
        await expect(field(tab, "plan")).to_be_disabled()
        await expect(tab.fd("suspend")).to_have_count(0)
        await field(tab, "name").fill("Bob's Pizza")
        await save_quietly(tab)
        await expect(tab.page.locator("h1")).to_have_text("Bob's Pizza")
        tab.window.expect("status of 404")
        await tab.goto(f"/clients/{bakery.id}")
        await expect(tab.fd("error")).to_be_visible()


async def test_a_list_that_failed_can_be_tried_again(console: Tab, pizza: Shop) -> None:
    """A skeleton while it loads, the reason and a retry when it failed."""
    console.window.expect("status of 503")
    broken = True

    async def refuse(route: Route) -> None:
        error = {"code": "unavailable", "message": "Postgres is away.", "request_id": "req_1"}
        await (route.fulfill(status=503, json={"error": error}) if broken else route.continue_())

    await console.page.route("**/api/v1/admin/clients", refuse)
    await console.goto("/clients")
    await expect(console.fd("error")).to_contain_text("Postgres is away.")
    broken = False
    await console.fd("retry").click()
    await expect(rows(console, "Clients")).to_have_count(1)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
async def test_pictures(browser: Browser, desk: Desk, variant: Variant) -> None:
    """The list, a new one, its first page and each tab: readable and within the window."""
    look = (
        '{"title": "Bob\'s Pizza", "subtitle": "We answer within a minute", "colors": {"primary": "#c22d1b"}, '
        '"welcome_message": "Ciao! Hungry, curious, or waiting for a pizza?", '
        '"suggestions": ["What is on the menu?", "Do you deliver?"], "launcher_text": "Chat"}'
    )
    pizza = await desk.shop("pizza", system_prompt="You are the front desk of Bob's Pizza in Portland.\n\nBe brief.")
    await desk.rows("update clients set name = 'Bob''s Pizza', widget_config = %s::jsonb where id = %s", look, pizza.id)
    full = await desk.shop("bakery", plan_type="free")
    await desk.rows("update clients set name = 'مخبز النيل', status = 'suspended' where id = %s", full.id)
    await desk.shop("a-client-with-a-name-that-is-much-longer-than-anybody-would-have-thought-possible")
    async with unit_of_work(desk.pool) as conn:
        day = datetime.now(UTC).date()
        await usage.record(conn, client_id=pizza.id, day=day, conversations=412, messages=1648, cost=Decimal("23.71"))
        await usage.record(conn, client_id=full.id, day=day, conversations=250, messages=1000, cost=Decimal("4.2"))

    async def table(tab: Tab) -> None:
        await expect(rows(tab, "Clients")).to_have_count(3)

    async def overview(tab: Tab) -> None:
        await rows(tab, "Limits").first.wait_for()
        await tab.fd("doctor").click()
        await tab.fd("finding").first.wait_for()

    async def looks(tab: Tab) -> None:
        await opened(tab.page)

    async def dark(tab: Tab) -> None:
        await opened(tab.page)
        await choose(tab, "preview-light", 1)
        await choose(tab, "preview-device", 1)
        await tab.fd("preview-frame").scroll_into_view_if_needed()
        await part(tab, "suggestion").first.click()
        await expect(part(tab, "message")).to_have_count(3)

    async def seen(tab: Tab) -> None:
        await rows(tab, "On the site").first.wait_for()
        await tab.fd("embed").wait_for()

    base = f"/clients/{pizza.id}"
    owner = await hire(desk.pool, desk.keyring)
    stops = {
        "clients": Stop("/clients", table),
        "clients-new": Stop("/clients/new", lambda tab: field(tab, "domain").wait_for()),
        "clients-start": Stop(f"{base}/start", seen),
        "clients-overview": Stop(base, overview),
        "clients-suspended": Stop(f"/clients/{full.id}", lambda tab: rows(tab, "Limits").first.wait_for()),
        "clients-looks": Stop(f"{base}/looks", looks),
        "clients-looks-dark": Stop(f"{base}/looks", dark),
        "clients-assistant": Stop(f"{base}/assistant", lambda tab: tab.fd("model").wait_for()),
        "clients-origins": Stop(f"{base}/origins", seen),
    }
    await walk(browser, desk, owner, variant, stops)
