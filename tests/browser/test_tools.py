"""The demo shops act and look things up, in sight of the visitor: steps that run and end, questions before a deed."""

import re

import msgspec
import pytest
from playwright.async_api import Locator, expect

from server.embedded import demo_shop
from tests.browser.site import Site
from tests.browser.window import Chat, Window
from tests.support import eventually

# Keeps every state and text that a step has had: a step of the demo shops lasts half a second.
_WATCH_STEPS = """() => {
  const { shadowRoot } = document.querySelector("frontdesk-widget");
  const seen = (document.documentElement.steps = []);
  const look = () => {
    for (const step of shadowRoot.querySelectorAll('[data-fd="tool"]')) {
      const [label, small] = [step.querySelector("span").firstChild, step.querySelector("span > small")];
      const now = [step.dataset.state, label.textContent, small?.textContent ?? ""].join(" | ");
      if (seen[seen.length - 1] !== now) seen.push(now);
    }
  };
  const all = { subtree: true, childList: true, characterData: true, attributes: true };
  new MutationObserver(look).observe(shadowRoot, all);
}"""

ORDER = "Checking your order"
BOOKING = "Making your booking"
# What the demo model asks for when nothing was said.
TABLE = "Book a table for four on Friday at 7 pm"
TABLE_DETAILS = "Date: Friday, Time: 7 pm, Party size: 4"


_HAS_SESSION = "() => Object.values(localStorage).some((kept) => JSON.parse(kept).session)"


async def open_chat(window: Window, url: str) -> Chat:
    """The open widget on a page, which keeps what its steps go through."""
    chat = await window.open(url)
    await chat.open()
    await chat.page.evaluate(_WATCH_STEPS)
    return chat


async def steps(chat: Chat) -> list[str]:
    """What the steps went through since the page was opened: "state | label | text"."""
    seen: list[str] = await chat.page.evaluate("() => document.documentElement.steps")
    return seen


async def bookings(site: Site) -> list[tuple[str | None, bool | None, int]]:
    """Approval, success and attempts of every booking that was asked for."""
    return [
        (row[0], row[1], row[2])
        for row in await site.rows(
            "select approval, success, attempt from tool_executions where tool_name = 'book_appointment' order by id"
        )
    ]


async def asks(chat: Chat, text: str = TABLE) -> Locator:
    """Says something that must be confirmed; the question, once it can be answered."""
    await chat.say(text)
    await expect(chat.fd("approve")).to_be_enabled()
    return chat.fd("tool", state="confirm")


# --- looking up


async def test_where_is_my_order(demo_site: Site, window: Window) -> None:
    """The suggestion shows the step at work, then done, and the answer is what the shop's system said."""
    chat = await open_chat(window, demo_site.pizza)
    await chat.fd("suggestion").filter(has_text="order 12345").click()
    answer = await chat.answered()
    await expect(chat.text(answer)).to_contain_text("Order 12345 is out for delivery")
    await expect(chat.text(answer)).to_contain_text("12 minutes")
    await expect(answer.locator('[data-fd="tool"][data-state="done"]')).to_have_text(ORDER)
    assert await steps(chat) == [f"running | {ORDER} | ", f"done | {ORDER} | "]
    [(arguments, told)] = await demo_site.rows("select parameters, n8n_response from tool_executions where success")
    assert (arguments, told["status"]) == ({"order_id": "12345"}, "out_for_delivery")


async def test_an_order_that_is_not_there(demo_site: Site, window: Window) -> None:
    """The answer says so, and makes nothing up."""
    chat = await open_chat(window, demo_site.pizza)
    await chat.say("Where is order 99999?")
    await expect(chat.text(await chat.answered())).to_contain_text("there is no order 99999")


async def test_live_prices_and_stock(demo_site: Site, window: Window, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer has what the shop's own system says now, which stands nowhere in what the shop wrote of itself."""
    shop = demo_shop.SHOPS["pizza"]
    today = tuple(
        msgspec.structs.replace(each, price=18.35, stock=3) if each.name == "Pepperoni" else each
        for each in shop.products
    )
    monkeypatch.setitem(demo_shop.SHOPS, "pizza", msgspec.structs.replace(shop, products=today))
    chat = await open_chat(window, demo_site.pizza)
    await chat.fd("suggestion").filter(has_text="pepperoni").click()
    answer = chat.text(await chat.answered())
    await expect(answer).to_contain_text("Pepperoni costs $18.35 and is available right now (3 left)")
    assert "done | Looking at today's menu | " in await steps(chat)


async def test_a_shop_that_is_down(demo_site: Site, window: Window) -> None:
    """The step says that it failed, and the answer that nothing could be checked; it does not guess."""
    await demo_site.rows("update client_tools set n8n_webhook_url = 'http://127.0.0.1:9/demo/n8n/get_order_status'")
    chat = await open_chat(window, demo_site.pizza)
    await chat.say("Where is order 12345?")
    answer = await chat.answered()
    await expect(answer.locator('[data-fd="tool"][data-state="failed"]')).to_contain_text(ORDER)
    await expect(chat.text(answer)).to_contain_text("I could not check")
    await expect(chat.text(answer)).not_to_contain_text("delivery")


# --- acting


async def test_a_table_is_booked_when_allowed(demo_site: Site, window: Window) -> None:
    """Nothing is booked before the visitor has seen what would be and allowed it; then its progress shows."""
    chat = await open_chat(window, demo_site.pizza)
    question = await asks(chat)
    await expect(question).to_contain_text(BOOKING)
    await expect(question).to_contain_text(TABLE_DETAILS)
    assert await bookings(demo_site) == [("asked", None, 0)]
    await chat.fd("approve").click()
    await expect(chat.fd("approve")).to_have_count(0)
    answer = await chat.answered()
    await expect(chat.text(answer)).to_contain_text("Your table for 4 is booked for Friday")
    await expect(chat.text(answer)).to_contain_text("BK-")
    await expect(answer.locator('[data-fd="tool"][data-state="done"]')).to_contain_text(BOOKING)
    told = await steps(chat)
    assert told[0] == f"confirm | {BOOKING} | {TABLE_DETAILS}"
    assert f"running | {BOOKING} | Looking for a free place" in told
    assert f"running | {BOOKING} | Writing it into the book" in told
    assert await bookings(demo_site) == [("approved", True, 1)]


async def test_nothing_is_booked_when_denied(demo_site: Site, window: Window) -> None:
    """The step says so, the answer too, and the shop's system heard of nothing."""
    chat = await open_chat(window, demo_site.pizza)
    await chat.fd("suggestion").filter(has_text="Book").click()
    await expect(chat.fd("approve")).to_be_enabled()
    await chat.fd("deny").click()
    answer = await chat.answered()
    await expect(answer.locator('[data-fd="tool"][data-state="failed"]')).to_contain_text("You declined")
    await expect(chat.text(answer)).to_contain_text("I have not booked or changed anything")
    assert await bookings(demo_site) == [("declined", False, 0)]
    assert not [step for step in await steps(chat) if "free place" in step]


@pytest.mark.parametrize(("answer", "name"), [("approve", "Allow"), ("deny", "Deny")])
async def test_a_keyboard_is_enough(demo_site: Site, window: Window, answer: str, name: str) -> None:
    """Shift and Tab lead from the message to the buttons, whose names say what they do, and Enter answers."""
    chat = await open_chat(window, demo_site.pizza)
    await asks(chat)
    await expect(chat.fd(answer)).to_have_text(name)
    for _ in range(12):
        if await chat.fd(answer).evaluate("(e) => e.matches(':focus-visible')"):
            break
        await chat.page.keyboard.press("Shift+Tab")
    await expect(chat.fd(answer)).to_be_focused()
    await chat.page.keyboard.press("Enter")
    await chat.answered()
    approved = answer == "approve"
    assert await bookings(demo_site) == [("approved" if approved else "declined", approved, int(approved))]


async def test_a_question_survives_a_reload(demo_site: Site, window: Window) -> None:
    """It stands there again with what it is about, and can be answered; it is booked once."""
    chat = await open_chat(window, demo_site.pizza)
    await asks(chat)
    await chat.page.reload()
    await expect(chat.fd("tool", state="confirm")).to_contain_text(TABLE_DETAILS)
    await chat.fd("approve").click()
    await expect(chat.text(await chat.answered())).to_contain_text("is booked for Friday")
    assert await bookings(demo_site) == [("approved", True, 1)]


async def test_two_tabs_have_one_question(demo_site: Site, window: Window) -> None:
    """Both ask; answered in one, the other shows it at work and done, and can answer no more."""
    first = await open_chat(window, demo_site.pizza)
    # A tab that opens before the first has its session begins a conversation of its own.
    await first.page.wait_for_function(_HAS_SESSION)
    second = await open_chat(window, demo_site.pizza)
    await asks(first)
    await expect(second.fd("approve")).to_be_enabled()
    await second.fd("approve").click()
    for chat in (first, second):
        await expect(chat.text(await chat.answered())).to_contain_text("is booked for Friday")
        await expect(chat.fd("tool", state="done")).to_contain_text(BOOKING)
        await expect(chat.fd("approve")).to_have_count(0)
        assert f"running | {BOOKING} | Writing it into the book" in await steps(chat)
    assert await bookings(demo_site) == [("approved", True, 1)]


async def test_a_stop_takes_the_question_away(demo_site: Site, window: Window) -> None:
    """Nothing is booked, and nothing is left to be allowed."""
    chat = await open_chat(window, demo_site.pizza)
    await asks(chat)
    await chat.fd("stop").click()
    await expect(chat.fd("approve")).to_have_count(0)

    async def ended() -> bool:
        return await demo_site.rows("select status from turns") == [("stopped",)]

    await eventually(ended, "the turn is stopped")
    [(_, success, attempts)] = await bookings(demo_site)
    assert (success, attempts) == (False, 0)


# --- elsewhere


async def test_the_bakery_has_its_own_tools(demo_site: Site, window: Window) -> None:
    """The same order number is another order there, its counter is another, and a tasting is booked like a table."""
    chat = await open_chat(window, demo_site.bakery)
    await chat.fd("suggestion").filter(has_text="order 12345").click()
    await expect(chat.text(await chat.answered())).to_contain_text("Order 12345 is ready for pickup")
    await chat.say("Do you have croissants today?")
    await expect(chat.text(await chat.answered(2))).to_contain_text(re.compile("[Cc]roissant.*\\$"))
    assert "done | Looking at today's counter | " in await steps(chat)
    await asks(chat, "Book a cake tasting")
    await chat.fd("approve").click()
    await expect(chat.text(await chat.answered(3))).to_contain_text("Your tasting for 2 is booked")


async def test_a_hebrew_page_has_hebrew_steps(demo_site: Site, window: Window) -> None:
    """From right to left, with labels, progress and buttons in the visitor's language."""
    page = demo_site.page(attributes='data-locale="he"', lang="he").replace("<html", '<html dir="rtl"')
    chat = await open_chat(window, demo_site.website.put("/", page))
    await chat.say("איפה הזמנה 12345?")
    answer = await chat.answered()
    step = answer.locator('[data-fd="tool"]')
    await expect(step).to_have_text("בודקים את ההזמנה שלך")
    await expect(step).to_have_css("direction", "rtl")
    await expect(chat.text(answer)).to_contain_text("12345")
    await asks(chat, "אני רוצה להזמין שולחן")
    await expect(chat.fd("tool", state="confirm")).to_contain_text("מבצעים את ההזמנה")
    assert re.search("[א-ת]", await chat.fd("approve").inner_text())
    await chat.fd("approve").click()
    await expect(chat.text(await chat.answered(2))).to_contain_text("BK-")
    assert "running | מבצעים את ההזמנה | מחפשים מקום פנוי" in await steps(chat)
