"""The page of usage: figures, charts, tables, the period and the client in its address."""

import csv
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from playwright.async_api import Browser, Locator, Route, expect

from server.repositories import usage
from server.repositories.pool import unit_of_work
from tests.admin.test_usage import call
from tests.browser.console.support import Tab, open_console
from tests.browser.console.variants import VARIANTS, Stop, Variant, walk
from tests.flows.support import Desk, Shop
from tests.staffing import hire


def today() -> date:
    return datetime.now(UTC).date()


def ago(days: int) -> date:
    return today() - timedelta(days=days)


async def use(desk: Desk, shop: Shop, day: date, n: int = 1) -> None:
    """A day on which `n` conversations had four messages each."""
    async with unit_of_work(desk.pool) as conn:
        await usage.record(
            conn,
            client_id=shop.id,
            day=day,
            conversations=n,
            messages=n * 4,
            tokens_input=n * 12_000,
            tokens_output=n * 2_000,
            tool_calls=n * 2,
            cached_answers=n // 3,
            cost=Decimal("0.25") * n,
        )


@pytest.fixture
async def pizza(desk: Desk) -> Shop:
    """Ten conversations today, twenty 20 days ago, forty 60 days ago."""
    shop = await desk.shop("Bob's Pizza")
    await use(desk, shop, today(), 10)
    await use(desk, shop, ago(20), 20)
    await use(desk, shop, ago(60), 40)
    return shop


@pytest.fixture
async def bakery(desk: Desk) -> Shop:
    """One conversation yesterday."""
    shop = await desk.shop("Bakery")
    await use(desk, shop, ago(1))
    return shop


def total(tab: Tab, name: str) -> Locator:
    return tab.fd(f"total-{name}").locator("b")


def rows(tab: Tab, label: str) -> Locator:
    return tab.page.locator(f'table[aria-label="{label}"] tbody tr')


async def choose(tab: Tab, hook: str, label: str) -> None:
    await tab.fd(hook).select_option(label=label)


@pytest.mark.usefixtures("pizza", "bakery")
async def test_the_period_is_chosen_and_stands_in_the_address(console: Tab) -> None:
    """30 days at first; 7, 90 and days of one's own change the figures, and a reload keeps them."""
    await console.goto("/usage")
    await expect(total(console, "conversations")).to_have_text("31")
    await expect(total(console, "messages")).to_have_text("124")
    await expect(total(console, "cost")).to_have_text("$7.75")
    await choose(console, "period", "7 days")
    await expect(total(console, "conversations")).to_have_text("11")
    await choose(console, "period", "90 days")
    await expect(total(console, "conversations")).to_have_text("71")
    assert console.path == "/usage?period=90d"
    await choose(console, "period", "Other days")
    await console.fd("from").fill(ago(20).isoformat())
    await console.fd("to").fill(ago(20).isoformat())
    await expect(total(console, "conversations")).to_have_text("20")
    await console.page.reload()
    await expect(total(console, "conversations")).to_have_text("20")
    await expect(console.fd("from")).to_have_value(ago(20).isoformat())


@pytest.mark.usefixtures("pizza")
async def test_days_that_cannot_be_asked_for_are_named(console: Tab) -> None:
    """Turned round, too many, none: the page says which, and asks the server for nothing."""
    await console.goto("/usage?period=custom&from=2026-02-02&to=2026-02-01")
    notice = console.page.locator(".notice")
    await expect(notice).to_contain_text("first day is after")
    await console.fd("from").fill("2020-01-01")
    await expect(notice).to_contain_text("366 days")
    await console.fd("from").fill("")
    await expect(notice).to_contain_text("Choose the first and the last day")
    assert not any("/v1/admin/usage?" in url for url in console.window.requests)


async def test_one_client_is_chosen_from_the_filter_or_from_the_table(console: Tab, pizza: Shop, bakery: Shop) -> None:
    """The figures are then that client's, and its limits show; all of them is the way back."""
    await console.goto("/usage")
    table = rows(console, "By client")
    await expect(table).to_have_count(2)
    await expect(table.first).to_contain_text("Bob's Pizza")
    await table.nth(1).get_by_role("link").click()
    await expect(total(console, "conversations")).to_have_text("1")
    assert f"client={bakery.id}" in console.path
    await expect(console.fd("client").locator("option:checked")).to_have_text("Bakery")
    await expect(rows(console, "Limits").first).to_contain_text("Messages this month")
    await choose(console, "client", "Bob's Pizza")
    await expect(total(console, "conversations")).to_have_text("30")
    assert f"client={pizza.id}" in console.path
    await choose(console, "client", "All clients")
    await expect(total(console, "conversations")).to_have_text("31")


@pytest.mark.usefixtures("pizza")
async def test_a_chart_is_read_with_the_keyboard_and_as_a_table(console: Tab) -> None:
    """Arrow keys say a day and its figures; the table has every day, the newest first."""
    await console.goto("/usage")
    chart = console.fd("chart-0")
    await expect(chart.locator("canvas")).to_have_count(1)
    plot = chart.get_by_role("slider")
    await plot.focus()
    await console.page.keyboard.press("End")
    await expect(plot).to_have_attribute(
        "aria-valuetext", f"{today():%a}, {today():%b} {today().day}, Messages 40, Conversations 10"
    )
    await console.page.keyboard.press("ArrowLeft")
    await expect(plot).to_have_attribute("aria-valuenow", "28")
    await expect(plot).to_have_attribute(
        "aria-valuetext", f"{ago(1):%a}, {ago(1):%b} {ago(1).day}, Messages 0, Conversations 0"
    )
    await console.fd("days").locator("summary").click()
    days = rows(console, "By day")
    await expect(days).to_have_count(30)
    await expect(days.first).to_contain_text("40")


async def test_tools_by_calls_with_their_failures(console: Tab, desk: Desk, pizza: Shop) -> None:
    """The most called first; a tool that often fails stands out."""
    for n in range(4):
        await call(desk, pizza, "book_table", success=n > 0, ms=200, at=datetime.now(UTC))
    await call(desk, pizza, "get_menu", success=True, ms=80, at=datetime.now(UTC))
    await console.goto(f"/usage?client={pizza.id}")
    table = rows(console, "Tools")
    await expect(table).to_have_count(2)
    await expect(table.first).to_contain_text("book_table")
    await expect(table.first.locator(".badge")).to_have_text("25%")
    # 80 ms, to about a tenth.
    await expect(table.nth(1)).to_contain_text("76 ms")


@pytest.mark.usefixtures("pizza", "bakery")
async def test_the_csv_is_of_what_is_shown(console: Tab, bakery: Shop) -> None:
    """The link downloads the period and the client of the page."""
    await console.goto(f"/usage?client={bakery.id}&period=7d")
    await expect(total(console, "conversations")).to_have_text("1")
    async with console.page.expect_download() as waiting:
        await console.fd("csv").click()
    download = await waiting.value
    lines = list(csv.DictReader((await download.path()).read_text().splitlines()))
    assert [(line["date"], line["client"], line["messages"]) for line in lines] == [(ago(1).isoformat(), "Bakery", "4")]


async def test_without_use_it_says_so(console: Tab, desk: Desk) -> None:
    """Empty figures, empty charts and tables have words."""
    await desk.shop("New")
    await console.goto("/usage")
    await expect(total(console, "conversations")).to_have_text("0")
    await expect(console.fd("empty")).to_have_count(2)
    await expect(console.page.locator("canvas")).to_have_count(0)


async def test_an_admin_of_one_client_sees_that_one_alone(
    browser: Browser, desk: Desk, pizza: Shop, bakery: Shop
) -> None:
    """Without a filter, whatever the address asks for."""
    admin = await hire(desk.pool, desk.keyring, role="admin", client_id=bakery.id)
    async with open_console(browser, desk, admin, path=f"/usage?client={pizza.id}") as tab:
        await expect(total(tab, "conversations")).to_have_text("1")
        await expect(tab.fd("client")).to_have_count(0)
        await expect(rows(tab, "Limits").first).to_be_visible()


@pytest.mark.usefixtures("pizza")
async def test_an_error_can_be_tried_again(console: Tab) -> None:
    """While the report loads a skeleton stands; what failed says why and comes with a retry."""
    console.window.expect("status of 503")
    broken = True

    async def refuse(route: Route) -> None:
        if broken:
            await route.fulfill(
                status=503,
                json={"error": {"code": "unavailable", "message": "Postgres is away.", "request_id": "req_1"}},
            )
        else:
            await route.continue_()

    await console.page.route("**/api/v1/admin/usage?*", refuse)
    await console.goto("/usage")
    error = console.fd("error")
    await expect(error).to_contain_text("Postgres is away.")
    await expect(error).to_contain_text("req_1")
    broken = False
    await console.fd("retry").click()
    await expect(total(console, "conversations")).to_have_text("30")
    await expect(error).to_have_count(0)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
async def test_pictures(browser: Browser, desk: Desk, variant: Variant) -> None:
    """Full, of one client, empty: readable and within the window."""
    shops = [await desk.shop(name) for name in ("Bob's Pizza", "Rosa's Bakery", "مخبز النيل", "Nobody yet")]
    for i, shop in enumerate(shops[:3]):
        for back in range(60):
            await use(desk, shop, ago(back), (60 - back) % (7 + i) + 2 + back % 3)
    for n in range(12):
        await call(desk, shops[0], "book_table", success=n % 4 > 0, ms=150 + 40 * n, at=datetime.now(UTC))
        await call(desk, shops[0], "get_order_status", success=True, ms=60 + n, at=datetime.now(UTC))

    async def full(tab: Tab) -> None:
        await expect(tab.page.locator("canvas")).to_have_count(4)
        await rows(tab, "Tools").first.wait_for()

    async def of_one(tab: Tab) -> None:
        await full(tab)
        await rows(tab, "Limits").first.wait_for()
        await tab.page.get_by_role("slider").first.focus()
        await tab.page.keyboard.press("End")

    async def empty(tab: Tab) -> None:
        await expect(tab.fd("empty")).to_have_count(2)

    owner = await hire(desk.pool, desk.keyring)
    await walk(
        browser,
        desk,
        owner,
        variant,
        {
            "usage": Stop("/usage", full),
            "usage-one": Stop(f"/usage?client={shops[0].id}&period=90d", of_one),
            "usage-empty": Stop(f"/usage?client={shops[3].id}", empty),
        },
    )
