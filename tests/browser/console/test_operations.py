"""The page of operations: what runs, and how well, refreshed while somebody looks."""

import pytest
from playwright.async_api import Browser, Locator, Route, expect

from tests.browser.console.support import Tab, open_console
from tests.browser.console.variants import VARIANTS, Stop, Variant, walk
from tests.flows.support import Desk
from tests.staffing import hire
from tests.wire_servers import Answer, WireServer


def rows(tab: Tab, label: str) -> Locator:
    return tab.page.locator(f'table[aria-label="{label}"] tbody tr')


def figure(tab: Tab, hook: str) -> Locator:
    return tab.fd(hook).locator(".stat-value")


async def test_at_rest(console: Tab) -> None:
    """The instance that answers, both stores, no turn, no model, retention that never ran."""
    await console.goto("/operations")
    await expect(rows(console, "Instances")).to_have_count(1)
    await expect(rows(console, "Instances").first).to_contain_text("this one")
    await expect(figure(console, "running")).to_have_text("0")
    for store in ("postgres", "redis"):
        await expect(console.fd(store).locator(".badge")).to_have_text("Works")
    await expect(console.fd("turns").locator('[data-fd="empty"]')).to_be_visible()
    await expect(console.fd("models").locator('[data-fd="empty"]')).to_be_visible()
    await expect(console.fd("retention")).to_contain_text("Never")


async def test_a_turn_and_its_model_show_by_themselves(console: Tab, desk: Desk, model: WireServer) -> None:
    """Nobody presses anything: the next look has the running turn, which leads to its conversation."""
    shop = await desk.shop("pizza")
    model.script(Answer("Hello there"), Answer("One two three four", stall_after=2))
    await console.goto("/operations")
    await expect(figure(console, "running")).to_have_text("0")
    async with desk.visit(shop) as (visitor, welcome):
        await visitor.say("Hello")
        await visitor.end()
        await visitor.say("And now?")
        await expect(figure(console, "running")).to_have_text("1")
        await expect(rows(console, "Turns").first).to_contain_text("pizza")
        await expect(rows(console, "Models").first).to_contain_text("openai")
        await rows(console, "Turns").first.get_by_role("link").click()
        await expect(console.page).to_have_url(f"{desk.url}/admin/inbox/{welcome.conversation_id}")


async def test_the_doctor_comes_when_called(console: Tab) -> None:
    """Not before; what is wrong stands first, with what to do."""
    await console.goto("/operations")
    await expect(console.fd("findings")).to_have_count(0)
    await console.fd("doctor").click()
    findings = console.fd("finding")
    await expect(findings.first).to_be_visible()
    order = {"error": 0, "warning": 1, "ok": 2}
    states = [order[str(await each.get_attribute("data-status"))] for each in await findings.all()]
    assert states == sorted(states) and len(states) >= 4
    await expect(console.fd("finding", status="ok").filter(has_text="database").first).to_be_visible()


async def test_only_an_owner_sees_it(browser: Browser, desk: Desk) -> None:
    """Others have no entry of it, and the page itself is not shown to them."""
    admin = await hire(desk.pool, desk.keyring, role="admin")
    async with open_console(browser, desk, admin, path="/operations") as tab:
        await expect(tab.page.locator('a[href="/admin/operations"]')).to_have_count(0)
        await expect(tab.fd("turns")).to_have_count(0)


async def test_what_failed_is_said_and_the_last_figures_stay(console: Tab) -> None:
    """An error of a later look stands above what was read before, until a look works again."""
    await console.goto("/operations")
    await expect(rows(console, "Instances")).to_have_count(1)
    console.window.expect("status of 503")

    async def refuse(route: Route) -> None:
        await route.fulfill(
            status=503, json={"error": {"code": "unavailable", "message": "Postgres is away.", "request_id": "req_1"}}
        )

    await console.page.route("**/api/v1/admin/operations", refuse)
    await console.fd("refresh").click()
    await expect(console.fd("error")).to_contain_text("Postgres is away.")
    await expect(rows(console, "Instances")).to_have_count(1)
    await console.page.unroute("**/api/v1/admin/operations")
    await console.fd("retry").click()
    await expect(console.fd("error")).to_have_count(0)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
async def test_pictures(browser: Browser, desk: Desk, model: WireServer, variant: Variant) -> None:
    """A turn that runs, an instance that is gone, the doctor's findings: readable, and within the window."""
    shop = await desk.shop("pizza")
    await desk.rows(
        "insert into instances (instance, version, started_at, seen_at, figures) "
        "values ('ins_gone', '0.0.1', now() - interval '3 days', now() - interval '2 min', '{}')"
    )
    model.script(Answer("Hello there"), Answer("One two three four", stall_after=2))
    async with desk.visit(shop) as (visitor, _):
        await visitor.say("Hello")
        await visitor.end()
        await visitor.say("And now?")

        async def ready(tab: Tab) -> None:
            await expect(rows(tab, "Turns")).to_have_count(1)
            await expect(rows(tab, "Models")).to_have_count(1)
            await tab.fd("doctor").click()
            await tab.fd("finding").first.wait_for()

        owner = await hire(desk.pool, desk.keyring)
        await walk(browser, desk, owner, variant, {"operations": Stop("/operations", ready)})
