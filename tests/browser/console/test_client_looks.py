"""A client's looks in the console, with a live preview in a page of its own."""

import re

import pytest
from playwright.async_api import Request, Route, expect

from tests.browser.console.client_pages import WIDGET, choose, field, part, preview, save, wrong
from tests.browser.console.support import Tab
from tests.flows.support import Desk, Shop
from tests.support import eventually


@pytest.fixture
async def pizza(desk: Desk) -> Shop:
    """A client that nobody has touched yet."""
    return await desk.shop("pizza")


async def test_the_preview_follows_each_keystroke(console: Tab, pizza: Shop) -> None:
    """Words, colours, place and language as they are typed, long before anything is saved."""
    await console.goto(f"/clients/{pizza.id}/looks")
    await expect(part(console, "panel")).to_be_visible()
    await field(console, "widget.welcome_message").fill("Ciao, **hungry**?")
    await expect(part(console, "text").locator("strong")).to_have_text("hungry")
    await field(console, "widget.suggestions").fill("Menu?\nOpen today?")
    await expect(part(console, "suggestion")).to_have_text(["Menu?", "Open today?"])
    await field(console, "widget.colors.primary").fill("#c22d1b")
    await expect(part(console, "launcher")).to_have_css("background-color", "rgb(194, 45, 27)")
    await field(console, "widget.colors.primary").fill("#c22d1")
    await expect(part(console, "launcher")).to_have_css("background-color", "rgb(79, 70, 229)")
    await field(console, "widget.title").fill("Bob's <b>Pizza</b>")
    await expect(part(console, "panel").locator("h2")).to_have_text("Bob's <b>Pizza</b>")
    await field(console, "locale").select_option(label="German (Deutsch)")
    await expect(part(console, "input")).to_have_attribute("placeholder", re.compile("Nachricht"))
    await field(console, "locale").select_option(label="Hebrew (עברית)")
    await expect(preview(console).locator(f"{WIDGET} .fd")).to_have_attribute("dir", "rtl")
    await choose(console, "position", 1)
    await expect(preview(console).locator(f"{WIDGET} .fd.left")).to_have_count(1)


async def test_the_preview_can_be_tried(console: Tab, pizza: Shop) -> None:
    """Dark and on a phone; what is written gets a sample of an answer, and nothing goes to the server."""
    await console.goto(f"/clients/{pizza.id}/looks")
    await expect(part(console, "panel")).to_be_visible()
    await choose(console, "preview-light", 1)
    await expect(preview(console).locator(f"{WIDGET} .fd.dark")).to_have_count(1)
    await choose(console, "preview-device", 1)
    await expect(preview(console).locator(f"{WIDGET} .fd.mobile")).to_have_count(1)
    await choose(console, "preview-device", 0)
    await expect(console.fd("link-state")).to_have_attribute("data-state", "up")
    before = len(console.window.requests)
    await part(console, "input").fill("Are you open?")
    await part(console, "input").press("Enter")
    await expect(part(console, "message")).to_have_count(2)
    await expect(part(console, "message").nth(1).locator("li")).to_have_count(2)
    await part(console, "launcher").click()
    await expect(part(console, "panel")).to_be_hidden()
    await part(console, "launcher").click()
    await expect(part(console, "panel")).to_be_visible()
    # What the inbox reads meanwhile is not the preview's.
    assert [url for url in console.window.requests[before:] if "/api/v1/admin/conversations" not in url] == []


async def test_looks_are_saved_and_visitors_get_them(console: Tab, desk: Desk, pizza: Shop) -> None:
    """After a reload they are there, and pages of the client's get them."""

    async def told() -> bool:
        answer = await desk.http.get(f"{desk.url}/api/v1/config", params={"key": pizza.key})
        widget = answer.json()["widget"]
        seen = [widget.get(name) for name in ("welcome_message", "radius", "theme", "suggestions")]
        return seen == ["Ciao!", 4, "dark", ["Menu?"]]

    await console.goto(f"/clients/{pizza.id}/looks")
    await field(console, "widget.welcome_message").fill("Ciao!")
    await field(console, "widget.suggestions").fill("Menu?")
    await field(console, "widget.radius").fill("4")
    await choose(console, "theme", 2)
    await save(console)
    await eventually(told, "pages get it")
    await console.page.reload()
    await expect(field(console, "widget.welcome_message")).to_have_value("Ciao!")
    await expect(preview(console).locator(f"{WIDGET} .fd.dark")).to_have_count(1)


async def test_the_logo_shows_in_the_preview_and_nowhere_else_may_a_picture_come_from(
    console: Tab, pizza: Shop
) -> None:
    """The preview is a page of its own that may load it; a policy that forbade it would fail this test."""
    picture = '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="40"><rect width="40" height="40"/></svg>'
    asked: list[Request] = []

    async def give(route: Route) -> None:
        asked.append(route.request)
        await route.fulfill(body=picture, content_type="image/svg+xml")

    console.window.expect("other.svg")
    await console.page.route("https://pictures.example/*", give)
    await console.goto(f"/clients/{pizza.id}/looks")
    await field(console, "widget.logo_url").fill("https://pictures.example/logo.svg")
    logo = preview(console).locator(f"{WIDGET} .avatar img").first
    await expect(logo).to_have_js_property("naturalWidth", 40)
    assert [(await each.all_headers()).get("referer") for each in asked] == [None]
    assert await console.page.evaluate(_OUTSIDE) == "refused"


# A picture from elsewhere on the console itself. The refusal is told by the browser, too.
_OUTSIDE = """() => new Promise((done) => {
  const picture = new Image();
  picture.onload = () => done("loaded");
  picture.onerror = () => done("refused");
  picture.src = "https://pictures.example/other.svg";
})"""


async def test_a_logo_without_https_is_told_before_it_is_saved(console: Tab, pizza: Shop) -> None:
    """Pages with https and the preview do not show it: the hint at the field says so while it is typed."""
    # The preview asks for what is typed; what goes wrong with its picture is no script that may run there.
    console.window.expect("pictures.example|ERR_|Blocked script execution")
    await console.goto(f"/clients/{pizza.id}/looks")
    await expect(part(console, "panel")).to_be_visible()
    logo = field(console, "widget.logo_url")
    await expect(logo).to_have_accessible_description(re.compile("begins with https://"))
    await logo.fill("http://pictures.example/logo.svg")
    await expect(logo).to_have_accessible_description(re.compile("do not show such a picture"))
    await logo.fill("https://pictures.example/")
    await expect(logo).to_have_accessible_description(re.compile("begins with https://"))


async def test_what_is_wrong_with_looks_stands_at_its_field(console: Tab, pizza: Shop) -> None:
    """The server's reason at a nested field; what was typed stays to be mended."""
    console.window.expect("status of 422")
    await console.goto(f"/clients/{pizza.id}/looks")
    await field(console, "widget.colors.primary").fill("red")
    await console.fd("save").click()
    await expect(wrong(console, "widget.colors.primary")).to_contain_text("#c22d1b")
    await field(console, "widget.colors.primary").fill("#aa0000")
    await field(console, "widget.suggestions").fill("1\n2\n3\n4\n5\n6\n7")
    await console.fd("save").click()
    await expect(wrong(console, "widget.suggestions")).to_be_visible()
