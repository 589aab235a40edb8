"""The inbox in a real browser: visitors over real sockets, a model that streams, operators who watch and step in."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from playwright.async_api import Browser, Locator, WebSocketRoute, expect

from server.protocol.visitor import HandoffRequest, MessageCreated, OwnerChanged, TurnStopped, Typing
from tests.browser.console.support import Tab, open_console
from tests.flows.console import console as socket_of
from tests.flows.console import staff_of
from tests.flows.support import Desk, Shop
from tests.flows.support import Tab as Visitor
from tests.flows.tooling import Gate, add_tool, use
from tests.staffing import hire
from tests.tools.webhook_server import WebhookServer, says
from tests.turns.toolkit import webhook
from tests.wire_servers import Answer, Failure, WireServer

__all__ = ["webhook"]

# Some 80 tokens: at 40 a second there is time to step in.
LONG = " ".join(f"Sentence {number} of the long answer about our oven." for number in range(1, 13))


class Inbox:
    """The inbox in one tab."""

    def __init__(self, tab: Tab) -> None:
        self.tab = tab
        self.page = tab.page
        self.fd = tab.fd

    def row(self, text: str) -> Locator:
        """A line of the list, by something in it."""
        return self.fd("row").filter(has_text=text)

    def said(self, role: str, *, state: str = "sent") -> Locator:
        """Texts of messages in the open conversation."""
        return self.fd("message", role=role, state=state).locator('[data-fd="text"]')

    async def open(self, text: str) -> None:
        """Clicks on a line; ends when the conversation is there."""
        await self.row(text).click()
        await expect(self.fd("conversation")).to_be_visible()
        await expect(self.fd("transcript").locator('[data-fd="loading"]')).to_have_count(0)

    async def write(self, mode: str, text: str) -> None:
        """Writes in one of the composer's modes, and sends it with Enter."""
        await self.fd(f"tab-{mode}").click()
        await self.fd("composer").fill(text)
        await self.fd("composer").press("Enter")

    async def take_over(self) -> None:
        await self.fd("take").click()
        await expect(self.fd("release")).to_be_visible()


@asynccontextmanager
async def inbox_of(
    browser: Browser, desk: Desk, shop: Shop | None = None, *, name: str = "Olga"
) -> AsyncIterator[Inbox]:
    """An operator's inbox: of one shop, or of all."""
    role = "owner" if shop is None else "operator"
    operator = await hire(desk.pool, desk.keyring, role=role, client_id=None if shop is None else shop.id, name=name)
    async with open_console(browser, desk, operator, path="/inbox") as tab:
        yield Inbox(tab)


async def _ask(visitor: Visitor, text: str) -> None:
    """Says something and reads to the end of the answer."""
    await visitor.say(text)
    await visitor.end()


async def test_an_answer_streams_in_the_list_and_in_the_conversation(
    browser: Browser, desk: Desk, model: WireServer
) -> None:
    """A new conversation comes in by itself; its answer grows in its line, then in its bubble, and ends whole."""
    shop = await desk.shop()
    async with inbox_of(browser, desk, shop) as inbox, desk.visit(shop) as (visitor, _):
        await expect(inbox.fd("no-rows")).to_be_visible()
        model.script(Answer(LONG, tokens_per_s=30))
        await visitor.say("Is the oven hot?")
        row = inbox.fd("row")
        await expect(row.locator('[data-fd="answering"]')).to_contain_text("Sentence 2")
        await row.click()
        await expect(inbox.said("visitor")).to_have_text("Is the oven hot?")
        streaming = inbox.said("ai", state="streaming")
        await expect(streaming).to_contain_text("Sentence 3")
        before = len(await streaming.inner_text())
        await expect(streaming).to_contain_text("Sentence 6")
        assert len(await streaming.inner_text()) > before
        await visitor.end()
        await expect(inbox.said("ai")).to_have_text(LONG)
        await expect(inbox.fd("message", state="streaming")).to_have_count(0)
        await expect(row).to_contain_text("Sentence 1 of the long")
        await expect(inbox.fd("turn").locator("summary")).to_contain_text("27 → 9 tokens")


async def test_taking_over_in_the_middle_of_an_answer(browser: Browser, desk: Desk, model: WireServer) -> None:
    """The answer ends where it is; the operator answers, types, gives it back, and the AI goes on."""
    shop = await desk.shop()
    async with inbox_of(browser, desk, shop) as inbox, desk.visit(shop) as (visitor, _):
        model.script(Answer(LONG, tokens_per_s=30), Answer("The AI again."))
        await visitor.say("Is the oven hot?")
        await inbox.open("Visitor")
        await expect(inbox.said("ai", state="streaming")).to_contain_text("Sentence 2")
        await expect(inbox.fd("instead-ai")).to_be_visible()
        await inbox.page.keyboard.press("t")
        await expect(inbox.fd("release")).to_be_visible()
        stopped = await visitor.next(TurnStopped)
        assert stopped.message is not None and LONG.startswith(stopped.message.text.strip())
        await expect(inbox.said("ai", state="stopped")).to_have_text(stopped.message.text.strip())
        await expect(inbox.row("You").locator('[data-fd="owner-human"]')).to_have_text("You")
        assert (await visitor.next(OwnerChanged)).owner == "human"

        await expect(inbox.fd("composer")).to_be_focused()
        await inbox.page.keyboard.type("Yes, it is **hot**.")
        assert (await visitor.next(Typing)).on
        await inbox.page.keyboard.press("Enter")
        reply = await visitor.next(MessageCreated, lambda frame: frame.message.role == "operator")
        assert reply.message.text == "Yes, it is **hot**." and reply.message.author is not None
        assert reply.message.author.name == "Olga"
        await expect(inbox.said("operator").locator("strong")).to_have_text("hot")
        await expect(inbox.fd("composer")).to_have_value("")

        await visitor.say("Thanks! And the menu?")
        await expect(inbox.said("visitor").last).to_have_text("Thanks! And the menu?")
        await expect(inbox.fd("row").locator('[data-fd="waits"]')).to_be_visible()
        await inbox.fd("release").click()
        await expect(inbox.said("ai").last).to_have_text("The AI again.")
        await expect(inbox.fd("owner-ai").first).to_be_visible()


async def test_a_whisper_steers_the_next_answer_and_a_note_stays_inside(
    browser: Browser, desk: Desk, model: WireServer
) -> None:
    """Both stand in the conversation for operators; the model reads the whisper, and the visitor neither."""
    shop = await desk.shop()
    async with inbox_of(browser, desk, shop) as inbox, desk.visit(shop) as (visitor, _):
        await _ask(visitor, "Hello")
        await inbox.open("Visitor")
        await inbox.write("whisper", "Offer the blue plate")
        await expect(inbox.fd("whisper")).to_contain_text("Offer the blue plate")
        await inbox.write("note", "A regular <b>guest</b>")
        await expect(inbox.fd("note")).to_contain_text("A regular <b>guest</b>")
        await expect(inbox.fd("note").locator("b")).to_have_count(0)
        await _ask(visitor, "What is good today?")
        assert "Offer the blue plate" in str(model.requests[-1].body)
        assert "regular" not in str([request.body for request in model.requests])
        everything = b"".join(visitor.payloads)
        assert b"blue plate" not in everything and b"regular" not in everything

        await inbox.page.reload()
        await expect(inbox.fd("note")).to_contain_text("A regular <b>guest</b>")
        await expect(inbox.fd("whisper")).to_contain_text("Offer the blue plate")
        await inbox.fd("delete-note").click()
        await inbox.fd("confirm-yes").click()
        await expect(inbox.fd("note")).to_have_count(0)
    assert await desk.rows("select count(*) from notes") == [(0,)]


async def test_tool_calls_show_their_arguments_and_results(
    browser: Browser, desk: Desk, model: WireServer, webhook: WebhookServer
) -> None:
    """While the call runs and, from the record, after a reload."""
    shop = await desk.shop()
    await add_tool(desk, shop, webhook.url, "look_up")
    gate = Gate({"stock": 3, "supplier": "Olive & Sons"})
    webhook.script(gate)
    model.script(Answer("", tools=(use("look_up", item="olives-4711"),)), Answer("We have three of them."))
    async with inbox_of(browser, desk, shop) as inbox, desk.visit(shop) as (visitor, _):
        await visitor.say("Any olives?")
        await inbox.open("Visitor")
        call = inbox.fd("call")
        await expect(call).to_have_attribute("data-state", "running")
        await call.locator("summary").first.click()
        await expect(call).to_contain_text("olives-4711")
        gate.open.set()
        await visitor.end()
        await expect(call).to_have_attribute("data-state", "done")
        await expect(call).to_contain_text("Olive & Sons")
        await expect(inbox.said("ai")).to_have_text("We have three of them.")

        await inbox.page.reload()
        await expect(call).to_have_attribute("data-state", "done")
        await call.locator("summary").first.click()
        await expect(call).to_contain_text("olives-4711")
        await expect(call).to_contain_text("Olive & Sons")
        turn = inbox.fd("turn")
        await turn.locator("summary").click()
        await expect(turn.locator("ol li")).to_have_count(2)


async def test_an_operator_approves_a_tool_for_the_visitor(
    browser: Browser, desk: Desk, model: WireServer, webhook: WebhookServer
) -> None:
    """The question shows what would be done; a yes does it."""
    shop = await desk.shop()
    await add_tool(desk, shop, webhook.url, "book", "idempotent", confirm=True)
    webhook.script(says({"table": 4}))
    model.script(Answer("", tools=(use("book", item="table"),)), Answer("It is booked."))
    async with inbox_of(browser, desk, shop) as inbox, desk.visit(shop) as (visitor, _):
        await visitor.say("A table please")
        await inbox.open("Visitor")
        await expect(inbox.fd("call")).to_have_attribute("data-state", "confirm")
        await inbox.fd("approve").click()
        await visitor.end()
        await expect(inbox.said("ai")).to_have_text("It is booked.")
        await expect(inbox.fd("call")).to_contain_text("approved")
    assert len(webhook.requests) == 1


async def test_an_answer_that_failed_says_why(browser: Browser, desk: Desk, model: WireServer) -> None:
    """The visitor reads a kind sentence, operators the reason."""
    shop = await desk.shop()
    model.script(Failure(400, "the model is out of order"))
    async with inbox_of(browser, desk, shop) as inbox, desk.visit(shop) as (visitor, _):
        await _ask(visitor, "Hello?")
        await inbox.open("Visitor")
        await expect(inbox.fd("failure")).to_be_visible()


async def test_closing_asks_first_and_the_visitor_opens_it_again(browser: Browser, desk: Desk) -> None:
    """E asks, the confirmation closes; what the visitor says next is answered by the AI."""
    shop = await desk.shop()
    async with inbox_of(browser, desk, shop) as inbox, desk.visit(shop) as (visitor, _):
        await _ask(visitor, "Hello")
        await inbox.open("Visitor")
        await inbox.page.keyboard.press("e")
        await inbox.fd("confirm-no").click()
        await expect(inbox.fd("owner-ai").first).to_be_visible()
        await inbox.page.keyboard.press("e")
        await inbox.fd("confirm-yes").click()
        assert (await visitor.next(OwnerChanged)).owner == "closed"
        await expect(inbox.fd("instead-closed")).to_be_visible()
        await expect(inbox.fd("close")).to_have_count(0)
        await _ask(visitor, "One more thing")
        await expect(inbox.said("ai").last).to_have_text("You said: One more thing")


async def test_two_operators_see_each_other_and_one_has_the_conversation(browser: Browser, desk: Desk) -> None:
    """Who is there is shown; to take what another has is refused with their name."""
    shop = await desk.shop()
    ana = await staff_of(desk, shop, name="Ana")
    async with (
        inbox_of(browser, desk, shop) as inbox,
        desk.visit(shop) as (visitor, welcome),
        socket_of(ana) as hers,
    ):
        await _ask(visitor, "Hello")
        await inbox.open("Visitor")
        await expect(inbox.fd("visitor-online")).to_be_visible()
        await expect(inbox.fd("others")).to_have_count(0)
        await hers.watch(welcome.conversation_id)
        await expect(inbox.fd("others")).to_contain_text("Ana is here")
        await hers.take(welcome.conversation_id)
        await expect(inbox.fd("instead-human")).to_contain_text("Ana has this conversation")
        await expect(inbox.fd("notice").last).to_contain_text("Ana took over")
        await expect(inbox.fd("take")).to_be_disabled()
        await hers.release(welcome.conversation_id)
        await inbox.take_over()
        await expect(inbox.fd("composer")).to_be_focused()


async def test_filters_and_search_are_in_the_address(browser: Browser, desk: Desk) -> None:
    """By whose it is and by words; a reload shows the same, and clearing shows everything."""
    shop = await desk.shop()
    async with inbox_of(browser, desk, shop) as inbox, desk.visit(shop) as (first, _), desk.visit(shop) as (second, _):
        await _ask(first, "Do you bake rye bread?")
        await _ask(second, "Do you sell cakes?")
        await expect(inbox.fd("row")).to_have_count(2)
        await inbox.page.keyboard.press("/")
        await inbox.page.keyboard.type("rye")
        await expect(inbox.fd("row")).to_have_count(1)
        await expect(inbox.fd("row")).to_contain_text("rye bread")
        await inbox.page.reload()
        await expect(inbox.fd("row")).to_have_count(1)
        assert "q=rye" in inbox.tab.path
        await inbox.fd("search").fill("nobody said that")
        await inbox.fd("clear-filters").click()
        await expect(inbox.fd("row")).to_have_count(2)
        await inbox.fd("filter-state").select_option(label="With a person")
        await expect(inbox.fd("no-rows")).to_be_visible()
        await inbox.fd("filter-state").select_option(label="With the AI")
        await inbox.open("cakes")
        await inbox.take_over()
        await expect(inbox.fd("row")).to_have_count(1)
        await inbox.fd("filter-state").select_option(label="With a person")
        await expect(inbox.row("cakes")).to_be_visible()


async def test_the_keyboard_alone(browser: Browser, desk: Desk) -> None:
    """J and K point, Enter opens, R, W and N write, Escape leaves, and ? tells all of it."""
    shop = await desk.shop()
    async with inbox_of(browser, desk, shop) as inbox, desk.visit(shop) as (first, _), desk.visit(shop) as (second, _):
        await _ask(first, "The older one")
        await _ask(second, "The newer one")
        await expect(inbox.fd("row")).to_have_count(2)
        keyboard = inbox.page.keyboard
        await keyboard.press("j")
        await expect(inbox.fd("row").nth(0)).to_be_focused()
        await keyboard.press("j")
        await expect(inbox.fd("row").nth(1)).to_be_focused()
        await keyboard.press("k")
        await keyboard.press("j")
        await keyboard.press("Enter")
        await expect(inbox.said("visitor")).to_have_text("The older one")
        await keyboard.press("n")
        await expect(inbox.fd("composer")).to_be_focused()
        await keyboard.type("jkt is typed, not done")
        await expect(inbox.fd("composer")).to_have_value("jkt is typed, not done")
        await keyboard.press("Escape")
        await expect(inbox.fd("composer")).not_to_be_focused()
        await keyboard.press("w")
        await expect(inbox.fd("composer")).to_have_value("")
        await expect(inbox.fd("composer")).to_be_focused()
        await keyboard.press("Escape")
        await keyboard.press("n")
        await expect(inbox.fd("composer")).to_have_value("jkt is typed, not done")
        await keyboard.press("Escape")
        await keyboard.press("?")
        await expect(inbox.page.get_by_role("dialog")).to_contain_text("Whisper to the AI")
        await keyboard.press("Escape")
        await keyboard.press("u")
        await expect(inbox.fd("nothing-open")).to_be_visible()


async def test_the_keyboard_while_lines_move(browser: Browser, desk: Desk) -> None:
    """What is pointed at stays pointed at when it moves to the top, and Enter opens it."""
    shop = await desk.shop()
    async with inbox_of(browser, desk, shop) as inbox, desk.visit(shop) as (first, _), desk.visit(shop) as (second, _):
        await _ask(first, "The older one")
        await _ask(second, "The newer one")
        await expect(inbox.fd("row")).to_have_count(2)
        await inbox.page.keyboard.press("j")
        await inbox.page.keyboard.press("j")
        await expect(inbox.fd("row").nth(1)).to_be_focused()
        await _ask(first, "The older one again")
        await expect(inbox.fd("row").nth(0)).to_contain_text("The older one again")
        await inbox.page.keyboard.press("Enter")
        await expect(inbox.said("visitor").first).to_have_text("The older one")


async def test_a_visitor_who_waits_is_heard(browser: Browser, desk: Desk) -> None:
    """The title and the navigation count; who asked for it hears a sound, and another operator's visitor is silent."""
    shop = await desk.shop()
    async with inbox_of(browser, desk, shop) as inbox, desk.visit(shop) as (visitor, _):
        await inbox.page.add_init_script(_HEARS)
        await inbox.page.reload()
        await _ask(visitor, "Hello")
        await expect(inbox.fd("row")).to_have_count(1)
        await inbox.fd("alerts").click()
        await inbox.page.get_by_role("menuitemradio", name="Play a sound").click()
        assert await inbox.page.evaluate("tones") == 2
        await visitor.send(HandoffRequest())
        await expect(inbox.fd("waits").first).to_be_visible()
        await expect(inbox.page).to_have_title(re.compile(r"^\(1\) Inbox"))
        await expect(inbox.fd("nav-inbox")).to_contain_text("1")
        await inbox.page.wait_for_function("tones === 4")
        await inbox.open("Visitor")
        await expect(inbox.fd("instead-queued")).to_be_visible()
        await inbox.take_over()
        await inbox.write("reply", "Here I am")
        await expect(inbox.page).to_have_title(re.compile("^Inbox"))


_HEARS = """
globalThis.tones = 0;
const start = OscillatorNode.prototype.start;
OscillatorNode.prototype.start = function (...given) { tones += 1; return start.apply(this, given); };
"""


async def test_a_lost_connection_is_told_and_made_up_for(browser: Browser, desk: Desk) -> None:
    """While the network is away it says so; what is written meanwhile goes out, and what was said is shown, once."""
    shop = await desk.shop()
    async with inbox_of(browser, desk, shop) as inbox, desk.visit(shop) as (visitor, _):
        links: list[WebSocketRoute] = []

        def pass_on(link: WebSocketRoute) -> None:
            link.connect_to_server()
            links.append(link)

        await inbox.page.route_web_socket(re.compile("/admin/ws$"), pass_on)
        await inbox.page.reload()
        await _ask(visitor, "Hello")
        await inbox.open("Visitor")
        await inbox.take_over()
        inbox.tab.window.expect("ERR_INTERNET_DISCONNECTED|WebSocket connection")
        await inbox.page.context.set_offline(True)
        await links[-1].close(code=1012)
        await expect(inbox.fd("link-offline")).to_be_visible()
        await inbox.fd("composer").fill("Written offline")
        await inbox.fd("composer").press("Enter")
        await expect(inbox.fd("message", state="sending")).to_be_visible()
        await visitor.say("Are you there?")
        await inbox.page.context.set_offline(False)
        await expect(inbox.fd("link-offline")).to_have_count(0)
        await expect(inbox.said("visitor").last).to_have_text("Are you there?")
        await visitor.shows("Written offline")
        await expect(inbox.said("operator")).to_have_text(["Written offline"])


async def test_a_conversation_of_somebody_else_is_not_there(browser: Browser, desk: Desk) -> None:
    """Another shop's address and one that never was read the same, and the list is a click away."""
    mine, other = await desk.shop(), await desk.shop()
    async with inbox_of(browser, desk, mine) as inbox, desk.visit(other) as (visitor, welcome):
        await _ask(visitor, "A secret")
        inbox.tab.window.expect("status of 404")
        for address in (welcome.conversation_id, "cnv_0000000000000000"):
            await inbox.tab.goto(f"/inbox/{address}")
            await expect(inbox.fd("refused")).to_contain_text("there is no such conversation")
        await inbox.fd("refused").get_by_role("link").click()
        await expect(inbox.fd("no-rows")).to_be_visible()


async def test_older_messages_come_as_one_scrolls_up(browser: Browser, desk: Desk) -> None:
    """A long conversation opens at its end and loads its beginning on the way up, keeping the place."""
    shop = await desk.shop()
    ana = await staff_of(desk, shop, name="Ana")
    async with inbox_of(browser, desk, shop) as inbox, desk.visit(shop) as (visitor, welcome), socket_of(ana) as hers:
        await _ask(visitor, "Tell me everything")
        await hers.take(welcome.conversation_id)
        for number in range(1, 71):
            await hers.say(welcome.conversation_id, f"Chapter {number} of many")
        await inbox.page.reload()  # else it was all heard while it was said
        await inbox.open("Visitor")
        await expect(inbox.said("operator").last).to_be_in_viewport()
        await expect(inbox.said("operator").first).to_have_text("Chapter 21 of many")
        await inbox.fd("transcript").evaluate("element => { element.scrollTop = 0; }")
        await expect(inbox.said("visitor")).to_have_text("Tell me everything")
        await expect(inbox.said("operator")).to_have_count(70)
        await expect(inbox.said("operator").nth(20)).to_be_in_viewport()
        await expect(inbox.fd("older")).to_have_count(0)


async def test_the_session_ends_and_it_goes_on_after_signing_in(browser: Browser, desk: Desk) -> None:
    """The socket is closed, the sign-in stands before the page, and afterwards the same conversation is live again."""
    shop = await desk.shop()
    operator = await hire(desk.pool, desk.keyring, role="operator", client_id=shop.id)
    async with open_console(browser, desk, operator, path="/inbox") as tab, desk.visit(shop) as (visitor, _):
        inbox = Inbox(tab)
        await _ask(visitor, "Hello")
        await inbox.open("Visitor")
        tab.window.expect("status of 401")
        await desk.rows("delete from operator_sessions")
        await tab.fd("sign-in-page").wait_for()
        await tab.sign_in(operator)
        await _ask(visitor, "Still there?")
        await expect(inbox.said("ai").last).to_have_text("You said: Still there?")


async def test_fifty_answers_at_once_are_one_drawing_a_frame(browser: Browser, desk: Desk, model: WireServer) -> None:
    """Fifty conversations stream while one is read: texts grow, once a frame, and nothing else of the page is touched.

    How long that takes is measured by `python -m bench.console_browser`.
    """
    shop = await desk.shop()
    model.default = lambda _request: Answer(LONG, tokens_per_s=6)
    async with inbox_of(browser, desk, shop) as inbox, AsyncExitStack() as stack:
        visitors = [(await stack.enter_async_context(desk.visit(shop)))[0] for _ in range(50)]
        for visitor in visitors:
            await visitor.say("Tell me about the oven")
        await expect(inbox.fd("answering").first).to_be_visible()
        await inbox.fd("row").first.click()
        await expect(inbox.said("ai", state="streaming")).to_contain_text("Sentence 2")
        await inbox.page.evaluate(_WATCH_DRAWINGS)
        await expect(inbox.said("ai", state="streaming")).to_contain_text("Sentence 7")
        seen = await inbox.page.evaluate("() => document.documentElement.seen()")
        assert seen["texts"] > 5, "rows in sight and the open conversation grow"
        assert 20 < seen["drawings"] <= seen["frames"], seen
        assert seen["drawings"] < seen["changes"], "what comes in one frame is drawn together"
        assert seen["others"] == [], "no element is built, taken away or changed"
        await asyncio.gather(*(visitor.socket.close() for visitor in visitors))  # one by one they take a minute


# Kept on an element, because a test looks at the page's globals. An observer is called once for what changed together.
_WATCH_DRAWINGS = """() => {
  const texts = new Set();
  const others = [];
  let drawings = 0;
  let changes = 0;
  let frames = 1; // what is drawn before the next one belongs to this
  new MutationObserver((records) => {
    drawings += 1;
    for (const { type, target } of records) {
      changes += 1;
      if (type === "characterData") texts.add(target);
      else others.push(type + " " + target.outerHTML.slice(0, 200));
    }
  }).observe(document.body, { subtree: true, childList: true, characterData: true, attributes: true });
  const frame = () => {
    frames += 1;
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
  document.documentElement.seen = () => ({ texts: texts.size, others, drawings, changes, frames });
}"""
