"""The widget without a mouse, without sight, without motion."""

import re

import pytest
from playwright.async_api import Browser, expect

from tests.browser.measure import nameless, poor_contrast
from tests.browser.player import Player
from tests.browser.site import Site
from tests.browser.window import ColorScheme, Window, open_window
from tests.wire_servers import Answer, WireServer

RICH = """\
## Our menu

Every pizza is **14 inches** wide, see [the menu](https://bobspizza.com/menu).

| Pizza | Price |
| --- | ---: |
| Margherita | $16 |

1. Choose
2. Order with `code`

> Hot to your door.
"""


async def test_the_keyboard_alone_is_enough(site: Site, window: Window) -> None:
    """Tab to the launcher, Enter, type, Enter, and Escape gives the focus back, with a ring wherever it goes."""
    chat = await window.open(site.website.put("/", site.page(body='<a href="#x">First</a>')))
    press = chat.page.keyboard.press
    await press("Tab")
    await expect(chat.page.locator("a")).to_be_focused()
    await press("Tab")
    await expect(chat.fd("launcher")).to_be_focused()
    await expect(chat.fd("launcher")).to_have_css("outline-style", "solid")
    await press("Enter")
    await expect(chat.fd("input")).to_be_focused()
    await chat.page.keyboard.type("By keyboard")
    await press("Enter")
    await chat.answered()
    await expect(chat.fd("input")).to_be_focused()
    for hook in ("down", "up", "copy", "list", "close", "reset"):
        await press("Shift+Tab")
        await expect(chat.fd(hook).last).to_be_focused()
        await expect(chat.fd(hook).last).to_have_css("outline-style", "solid")
    await press("Escape")
    await expect(chat.fd("launcher")).to_be_focused()
    await expect(chat.fd("launcher")).to_have_attribute("aria-expanded", "false")
    await press("Tab")
    await expect(chat.fd("input")).not_to_be_focused()  # a closed panel is out of the way


async def test_on_a_phone_tab_stays_inside(site: Site, phone: Window) -> None:
    """The panel covers the page and is modal: Tab goes round in it."""
    chat = await phone.open(site.pizza)
    await chat.fd("launcher").tap()
    await chat.settled()
    await expect(chat.fd("panel")).to_have_attribute("aria-modal", "true")
    for _ in range(15):
        await chat.page.keyboard.press("Tab")
        assert await chat.page.evaluate(
            "() => !!document.querySelector('frontdesk-widget').shadowRoot.activeElement?.closest('[data-fd=panel]')"
        )


async def test_a_screen_reader_finds_its_way(site: Site, window: Window, model: WireServer) -> None:
    """A named dialog with a log of named messages; every control has a name; an answer is said once, at its end."""
    model.script(Answer(RICH, tokens_per_s=200))
    chat = await window.open(site.pizza)
    await expect(chat.fd("launcher")).to_have_attribute("aria-label", "Ask Bob's")
    await chat.open()
    polite = chat.fd("panel").locator('[aria-live="polite"]')
    await expect(polite).to_have_count(1)
    await expect(polite).to_have_text("")
    await chat.say("What do you have?")
    await chat.answered()
    await expect(polite).to_contain_text("Every pizza is 14 inches wide")
    await expect(polite).not_to_contain_text("**")
    dialog = chat.page.get_by_role("dialog", name="Bob's Pizza Shop")
    await expect(dialog).to_be_visible()
    await expect(dialog.get_by_role("log")).to_be_visible()
    await expect(dialog.get_by_role("article")).to_have_count(3)
    await expect(dialog.get_by_role("article", name="You")).to_have_count(1)
    await expect(dialog.get_by_role("heading", name="Our menu", level=4)).to_be_visible()
    await expect(dialog.get_by_role("cell", name="$16")).to_be_visible()
    await expect(dialog.get_by_role("textbox", name=re.compile("Write a message"))).to_be_focused()
    assert await nameless(chat.page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_text_can_be_read(browser: Browser, site: Site, model: WireServer, scheme: ColorScheme) -> None:
    """All texts have a contrast of 4.5 at least, by day and by night, in any colour of the client's."""
    model.default = lambda _request: Answer(RICH)
    async with open_window(browser, color_scheme=scheme) as window:
        chat = await window.open(site.pizza)
        await chat.open()
        await expect(chat.fd("suggestion").first).to_be_visible()
        await chat.still()
        assert await poor_contrast(chat.page) == []
        await chat.say("What do you have?")
        await chat.answered()
        for color in ("#c22d1b", "#ffe000", "#7f7f7f", "#000000", "#ffffff", "#0a84ff"):
            await chat.call("update", {"colors": {"primary": color, "primary_dark": color}})
            await chat.page.evaluate(
                "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
            )
            await chat.still()
            assert await poor_contrast(chat.page) == [], color


async def test_who_wants_no_motion_gets_none(site: Site, window: Window) -> None:
    """With reduced motion nothing in the widget goes on moving."""
    chat, player = await window.tab(), Player()
    await chat.page.emulate_media(reduced_motion="reduce")
    await player.play(chat.page)
    player.greet()
    await chat.goto(site.website.put("/", site.page()))
    await chat.open()
    await chat.say("Hello?")
    await player.take()
    await expect(chat.fd("typing")).to_be_visible()
    await chat.still()
    moving = await chat.page.evaluate(
        """() => document.querySelector("frontdesk-widget").shadowRoot
          .getAnimations().filter((each) => each.playState === "running").length"""
    )
    assert moving == 0
