"""The inbox behind every page: its number, its sound, and the end of a session; whose a conversation is."""

import asyncio
import re
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, WebSocketRoute, expect

from server.protocol.visitor import HandoffRequest
from tests.browser.console.support import Tab, open_console
from tests.flows.console import console as socket_of
from tests.flows.console import staff_of
from tests.flows.support import Desk
from tests.staffing import hire

# This browser wishes for the sound; tones are counted.
_HEARS = """
localStorage.setItem("frontdesk:alerts", JSON.stringify({ sound: true, notify: false }));
globalThis.tones = 0;
const start = OscillatorNode.prototype.start;
OscillatorNode.prototype.start = function (...given) { tones += 1; return start.apply(this, given); };
"""


@pytest.mark.parametrize(("path", "title"), [("/usage", "Usage"), ("/clients", "Clients")])
async def test_a_visitor_who_waits_is_told_on_every_page(browser: Browser, desk: Desk, path: str, title: str) -> None:
    """In the navigation, in the window's title and by the sound, where the inbox was never opened."""
    shop = await desk.shop()
    ana = await staff_of(desk, shop, name="Ana")
    async with (
        open_console(browser, desk, path=path) as tab,
        desk.visit(shop) as (visitor, welcome),
        socket_of(ana) as hers,
    ):
        await tab.page.add_init_script(_HEARS)
        await tab.page.reload()
        await expect(tab.fd("link-state", state="up")).to_be_visible()
        await visitor.say("Hello")
        await visitor.end()
        await visitor.send(HandoffRequest())
        await expect(tab.fd("badge-inbox")).to_have_text("1")
        await expect(tab.page).to_have_title(f"(1) {title} · Frontdesk")
        await tab.page.wait_for_function("tones === 2")
        await hers.take(welcome.conversation_id)
        await hers.say(welcome.conversation_id, "Here I am")
        await expect(tab.page).to_have_title(f"{title} · Frontdesk")
        await expect(tab.fd("badge-inbox")).to_have_count(0)


async def test_the_inbox_comes_after_the_page_that_was_asked_for(tab: Tab, desk: Desk) -> None:
    """Nothing of it is there before somebody signed in, nor before the page was; and it is not begun twice."""
    await tab.goto("/staff")
    assert not any("ws-ticket" in url for url in tab.window.requests)
    await tab.sign_in(await hire(desk.pool, desk.keyring))
    await expect(tab.fd("link-state", state="up")).to_be_visible()
    files = [urlsplit(url).path.rpartition("/")[2].partition(".")[0] for url in tab.window.requests]
    assert files.index("staff") < files.index("live")
    await tab.fd("nav-inbox").click()
    await expect(tab.fd("no-rows")).to_be_visible()
    assert len([url for url in tab.window.requests if "ws-ticket" in url]) == 1


async def test_a_session_that_ends_is_told_on_any_page(browser: Browser, desk: Desk) -> None:
    """Nobody clicks: the sign-in comes by itself, and afterwards the page is live again."""
    olga = await hire(desk.pool, desk.keyring)
    async with open_console(browser, desk, olga, path="/staff") as tab:
        await expect(tab.fd("link-state", state="up")).to_be_visible()
        tab.window.expect("status of 401")
        await desk.rows("update operator_sessions set revoked_at = now()")
        await expect(tab.fd("sign-in-again")).to_be_visible()
        await expect(tab.fd("link-state", state="up")).to_have_count(0)
        await tab.sign_in(olga)
        await expect(tab.fd("link-state", state="up")).to_be_visible()
        await expect(tab.page.locator('table[aria-label="Operators"]')).to_be_visible()


async def test_an_inbox_that_did_not_load_comes_when_the_network_is_back(browser: Browser, desk: Desk) -> None:
    """The page that is shown works without it."""
    async with open_console(browser, desk, path="/staff") as tab:
        tab.window.expect("ERR_|WebSocket connection|did not load")
        await tab.page.route("**/admin/assets/live.*.js", lambda route: route.abort())
        async with tab.page.expect_console_message(lambda told: "the inbox did not load" in told.text):
            await tab.page.reload()
        await expect(tab.page.locator('table[aria-label="Operators"]')).to_be_visible()
        await expect(tab.fd("link-state")).to_have_count(0)
        await tab.page.unroute_all()
        await tab.window.context.set_offline(True)
        await expect(tab.fd("offline")).to_be_visible()
        await tab.window.context.set_offline(False)
        await expect(tab.fd("link-state", state="up")).to_be_visible()


async def test_what_a_colleague_has_cannot_be_taken(browser: Browser, desk: Desk) -> None:
    """The button says whose it is, and so does the key; nothing is asked of the server until it is free."""
    shop = await desk.shop()
    ana = await staff_of(desk, shop, name="Ana")
    olga = await hire(desk.pool, desk.keyring, role="operator", client_id=shop.id, name="Olga")
    async with desk.visit(shop) as (visitor, welcome), socket_of(ana) as hers:
        await visitor.say("Hello")
        await visitor.end()
        await hers.take(welcome.conversation_id)
        async with open_console(browser, desk, olga, path=f"/inbox/{welcome.conversation_id}") as tab:
            take = tab.fd("take")
            await expect(take).to_be_disabled()
            await expect(take).to_have_attribute("title", re.compile("^Ana has this conversation"))
            await expect(tab.fd("instead-human")).to_contain_text("Ana has this conversation")
            await tab.page.keyboard.press("t")
            await expect(tab.fd("toast")).to_contain_text("Ana has this conversation")
            await take.dispatch_event("click")
            await expect(tab.fd("command-failed")).to_have_count(0)
            await hers.release(welcome.conversation_id)
            await expect(take).to_be_enabled()
            await tab.page.keyboard.press("t")
            await expect(tab.fd("release")).to_be_visible()


async def test_of_two_who_take_it_at_once_one_is_refused(browser: Browser, desk: Desk) -> None:
    """The server's answer names who has it; the notice can be put away."""
    shop = await desk.shop()
    ana = await staff_of(desk, shop, name="Ana")
    olga = await hire(desk.pool, desk.keyring, role="operator", client_id=shop.id, name="Olga")
    held: asyncio.Queue[tuple[WebSocketRoute, str]] = asyncio.Queue()

    def pass_on(link: WebSocketRoute) -> None:
        """Everything but taking, which waits until the test lets it through."""
        server = link.connect_to_server()

        def said(message: str | bytes) -> None:
            text = message if isinstance(message, str) else message.decode()
            if "conversation.take" in text:
                held.put_nowait((server, text))
            else:
                server.send(text)

        link.on_message(said)

    async with (
        desk.visit(shop) as (visitor, welcome),
        socket_of(ana) as hers,
        open_console(browser, desk, olga) as tab,
    ):
        await visitor.say("Hello")
        await visitor.end()
        await tab.page.route_web_socket(re.compile("/admin/ws$"), pass_on)
        await tab.goto(f"/inbox/{welcome.conversation_id}")
        await expect(tab.fd("link-state", state="up")).to_be_visible()
        await tab.fd("take").click()
        server, message = await asyncio.wait_for(held.get(), 20)
        await hers.take(welcome.conversation_id)
        server.send(message)
        await expect(tab.fd("command-failed")).to_contain_text("Ana has this conversation")
        await tab.fd("command-failed").get_by_role("button").click()
        await expect(tab.fd("command-failed")).to_have_count(0)
