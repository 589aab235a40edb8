"""Networks and servers that come and go, as a visitor's browser lives through them."""

import re
from datetime import UTC, datetime, timedelta

import msgspec
from playwright.async_api import WebSocketRoute, expect

from tests.browser.site import Site
from tests.browser.window import Chat, Window
from tests.support import eventually
from tests.wire_servers import Answer, WireServer

LONG = " ".join(f"Sentence {number} of the long answer about our oven." for number in range(1, 13))
# What Chromium says of a server that is away.
AWAY = r"WebSocket connection to .* failed|net::ERR_|WebSocket is already in CLOSING"

# A network that lets no WebSocket through: the handshake reaches a path where the server refuses it.
BLOCKED = """
const Real = WebSocket;
window.WebSocket = class extends Real {
  constructor(url) { super(url.replace("/ws", "/blocked")); }
};
"""


async def test_a_message_typed_offline_is_sent_once_the_network_is_back(site: Site, window: Window) -> None:
    """Without a network the widget says so after two seconds; what is typed waits, and is sent exactly once."""
    window.expect(AWAY)
    chat = await window.open(site.pizza)
    await chat.open()
    await chat.say("Before")
    await chat.answered()
    await window.context.set_offline(True)
    await site.stop()
    banner = chat.fd("offline")
    await expect(banner).to_have_css("opacity", "1")
    await chat.say("While offline")
    await expect(chat.fd("message", role="user", state="sending")).to_be_visible()

    await site.start()
    await window.context.set_offline(False)
    await expect(chat.text(await chat.answered(2))).to_have_text("You said: While offline")
    await expect(banner).to_have_count(0)
    await expect(chat.fd("message", role="user", state="sent")).to_have_count(2)
    assert await site.rows("select content from messages where role = 'user' order by id") == [
        ("Before",),
        ("While offline",),
    ]


async def test_a_message_typed_offline_survives_a_closed_tab(site: Site, window: Window) -> None:
    """The tab is closed before the network is back: the next page sends the message by itself, with the same cid."""
    window.expect(AWAY)
    chat = await window.open(site.pizza)
    await chat.open()
    await chat.say("Before")
    await chat.answered()
    await window.context.set_offline(True)
    await site.stop()
    await chat.say("While offline")
    waiting = chat.fd("message", role="user", state="sending")
    cid = await waiting.get_attribute("data-id")
    await chat.page.close()
    await site.start()
    await window.context.set_offline(False)
    chat = await window.open(site.pizza)

    async def stored() -> bool:
        return await site.rows("select cid from messages where content = 'While offline'") == [(cid,)]

    await eventually(stored, "the message that waited is stored")


async def test_an_ack_that_was_lost_makes_no_second_message(site: Site, window: Window) -> None:
    """The link breaks after the server stored the message and before it could say so: sent again, it is stored once."""
    cuts: list[str] = []

    async def network(route: WebSocketRoute) -> None:
        server = route.connect_to_server()

        async def down(message: str | bytes) -> None:
            kind = msgspec.json.decode(message)["type"]
            if not cuts and kind in {"ack", "message.created"}:
                cuts.append(kind)
                await server.close()
                await route.close(code=1012)
            else:
                route.send(message)

        server.on_message(down)

    page = await window.context.new_page()
    await page.route_web_socket(re.compile("/api/v1/ws$"), network)
    chat = Chat(page)
    await chat.goto(site.pizza)
    await chat.open()
    await chat.say("Only once, please")
    await expect(chat.text(await chat.answered())).to_have_text("You said: Only once, please")
    await expect(chat.fd("message", role="user", state="sent")).to_have_count(1)
    await expect(chat.user()).to_have_count(1)
    assert len(cuts) == 1
    assert await site.rows("select count(*) from messages where role = 'user'") == [(1,)]


async def test_a_server_that_restarts_is_found_again(site: Site, window: Window) -> None:
    """The instance ends in the middle of a conversation and another comes up on its port: it goes on by itself."""
    window.expect(AWAY)
    chat = await window.open(site.pizza)
    await chat.open()
    await chat.say("Before")
    await chat.answered()
    await site.stop()
    await expect(chat.fd("reconnecting")).to_have_css("opacity", "1")
    await site.start()
    await expect(chat.fd("reconnecting")).to_have_count(0)
    await chat.say("After")
    await expect(chat.text(await chat.answered(2))).to_have_text("You said: After")
    assert await site.rows("select count(*) from conversations") == [(1,)]


async def test_an_answer_survives_the_server_that_began_it(site: Site, window: Window, model: WireServer) -> None:
    """The instance ends while the answer streams: another one answers anew, and the visitor sees one whole answer."""
    window.expect(AWAY)
    model.script(Answer(LONG, tokens_per_s=200, stall_after=20), Answer(LONG))
    chat = await window.open(site.pizza)
    await chat.open()
    await chat.say("Tell me about the oven")
    await expect(chat.text(chat.answers(state="streaming"))).to_contain_text("Sentence 1")
    await site.stop()
    await site.start()
    await expect(chat.text(await chat.answered())).to_have_text(LONG)
    await expect(chat.user()).to_have_count(1)


async def test_without_websockets_it_streams_over_http(site: Site, window: Window, model: WireServer) -> None:
    """Where no WebSocket gets through, two refused handshakes later the same chat works over HTTP, still streaming."""
    window.expect(AWAY)
    await window.context.add_init_script(BLOCKED)
    model.script(Answer("First, " + LONG, tokens_per_s=30))
    chat = await window.open(site.pizza)
    await chat.open()
    await chat.watch_growth()
    await chat.say("Tell me about the oven")
    await expect(chat.text(await chat.answered())).to_have_text("First, " + LONG)
    assert len(await chat.growth()) >= 5
    assert any(url.endswith("/api/v1/chat") for url in window.requests)
    await chat.say("And the dough?")
    await expect(chat.text(await chat.answered(2))).to_have_text("You said: And the dough?")

    await chat.page.reload()
    await expect(chat.text(await chat.answered(2))).to_have_text("You said: And the dough?")
    assert await site.rows("select count(*) from conversations") == [(1,)]
    assert await site.rows("select count(*) from messages") == [(4,)]


async def test_a_failed_answer_over_http_can_be_asked_for_again(site: Site, window: Window, model: WireServer) -> None:
    """Also over HTTP a model that cannot be reached leaves a sentence and a button that works."""
    window.expect(AWAY)
    await window.context.add_init_script(BLOCKED)
    model.script(Answer("Cut", error_after=0), Answer("Better now."))
    chat = await window.open(site.pizza)
    await chat.open()
    await chat.say("Are you there?")
    await expect(chat.fd("failed")).to_be_visible()
    await chat.fd("again").click()
    await expect(chat.text(await chat.answered())).to_have_text("Better now.")


async def test_a_limit_is_told_and_passes(site: Site, window: Window) -> None:
    """Too many messages: the refused one says so and can be tried again when the clock beside the input has run out."""
    await site.rows("update plans set requests_per_minute = 3")
    chat = await window.open(site.pizza)
    # The server's minute may end at any moment; the visitor's clock stands still until it is put on.
    now = datetime.now(UTC)
    await chat.page.clock.set_fixed_time(now)
    await chat.open()
    refused = chat.fd("message", role="user", state="failed")
    for number in range(1, 9):  # the minute may turn in between, once
        await chat.say(f"Message {number}")
        await expect(chat.user()).to_have_count(number)
        await expect(chat.answers().or_(chat.fd("retry"))).to_have_count(number)
        if await refused.count():
            break
    await expect(refused).to_have_count(1)
    await expect(refused.get_by_role("alert")).to_have_text(
        "That was a lot of messages. Please wait a moment and try again."
    )
    await expect(chat.fd("limited")).to_have_text(re.compile(r"^You can write again in \d+ (second|minute)s?\.$"))
    await expect(chat.fd("retry")).to_be_disabled()
    await chat.fd("input").fill("Another")
    await expect(chat.fd("send")).to_be_disabled()
    await chat.page.clock.set_fixed_time(now + timedelta(seconds=90))
    await expect(chat.fd("limited")).to_have_count(0)
    await expect(chat.fd("send")).to_be_enabled()
    await expect(chat.fd("retry")).to_be_enabled()
    await chat.fd("remove").click()
    await expect(refused).to_have_count(0)


async def test_a_suspended_shop_ends_the_chat(site: Site, window: Window) -> None:
    """A shop whose account is suspended: an open page says that it is over; let back in, the next page goes on."""
    window.expect(AWAY)
    chat = await window.open(site.pizza)
    await chat.open()
    await chat.say("Hello?")
    await chat.answered()
    await site.stop()
    await site.rows("update clients set status = 'suspended' where public_key = %s", site.keys["pizza"])
    await site.start()
    await expect(chat.fd("over")).to_be_visible()
    await expect(chat.fd("input")).to_have_count(0)

    await site.stop()
    await site.rows("update clients set status = 'active'")
    await site.start()
    await chat.page.reload()
    await chat.open()
    await chat.say("Still there?")
    await expect(chat.text(await chat.answered(2))).to_have_text("You said: Still there?")
