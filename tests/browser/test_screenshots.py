"""A picture of every state of the widget, in five ways to see it, into tests/output/screenshots/.

One page a variant walks through all states, the server's side played from the golden samples. In each state its hook
must be there, nothing may stick out of the window, every text must be readable and every control have a name.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from playwright.async_api import Browser, Locator, expect

from tests.browser.measure import cut_titles, nameless, overflows, poor_contrast
from tests.browser.player import Player
from tests.browser.site import Site
from tests.browser.window import Chat, ColorScheme, Window, open_window

FOLDER = Path(__file__).parents[1] / "output" / "screenshots"


class Variant(msgspec.Struct, frozen=True):
    """One way to see the widget. Sizes in CSS pixels."""

    name: str
    width: int = 1000
    height: int = 760
    scheme: ColorScheme = "light"
    phone: bool = False
    hebrew: bool = False


VARIANTS = (
    Variant("light"),
    Variant("dark", scheme="dark"),
    Variant("mobile", width=390, height=844, phone=True),
    Variant("small", width=320, height=568, phone=True),
    Variant("rtl", hebrew=True),
)

ENGLISH = {
    "suggestions": ["What's on the menu?", "Do you deliver to my street?", "Which pizzas are vegan?"],
    "welcome": "Ciao! 🍕 I'm the front desk at Bob's. Hungry, curious, or waiting for a pizza?",
    "ask": "Do you deliver to Nob Hill?",
    "half": "Yes, with our own drivers. Delivery to **Nob Hill** takes 35 to 45",
    "answer": "Yes, with our own drivers. Delivery to **Nob Hill** takes 35 to 45 minutes [1].\n\n"
    "- up to 3 miles: **$4**\n- from 3 to 5 miles: **$6**",
    "source": "Delivery",
    "order": "Where is my order 1042?",
    "look": "Looking up your order",
    "looking": "Asking the kitchen",
    "found": "In the oven since 18:42",
    "track": "Finding the driver",
    "lost": "The driver cannot be reached",
    "book": "Making your booking",
    "details": "Date: Friday, Time: 19:00, Party size: 2",
    "cancel": "Cancelling your old booking and writing to everybody who was invited",
    "many": "Reference: BK-5E1D0A, Reason: " + "the party grew and a larger table is wanted, " * 3 + "Guests: "
    '["ana@example.com","bartholomew.featherstonehaugh@a-very-long-domain.example"], Refund: true',
    "late": "Ordering flowers for the table",
    "no": "You declined, so it was not done.",
    "booked": "Your table for two is booked for 19:00.",
    "part": "Our sourdough rests for 48 hours, and then it",
    "sorry": "Sorry, I cannot answer right now. Please try again in a moment.",
    "slow": "That was a lot of messages. Please wait a moment and try again.",
    "broken": "We are having a short technical problem. Your message will be sent as soon as it is over.",
    "more": "Show me all of it, please",
    "name": "Gina",
    "hello": "Hello, Gina here. I have your order in front of me.",
    "later": "It leaves the oven in two minutes.",
    "item": "Pizza",
    "price": "Price",
    "topping": "On top",
    "long": "And the code for your own page:",
}
HEBREW = {
    "suggestions": ["מה יש בתפריט?", "יש משלוחים לרחוב שלי?", "אילו פיצות טבעוניות?"],
    "welcome": "צ'או! 🍕 כאן דלפק הקבלה של בוב. רעבים, סקרנים, או מחכים לפיצה?",
    "ask": "יש משלוחים ל־Nob Hill?",
    "half": "כן, עם השליחים שלנו. משלוח ל־**Nob Hill** לוקח 35 עד",
    "answer": "כן, עם השליחים שלנו. משלוח ל־**Nob Hill** לוקח 35 עד 45 דקות [1].\n\n"
    "- עד 3 מייל: **$4**\n- בין 3 ל־5 מייל: **$6**",
    "source": "משלוחים",
    "order": "איפה הזמנה 1042?",
    "look": "בודקים את ההזמנה",
    "looking": "שואלים את המטבח",
    "found": "בתנור מאז 18:42",
    "track": "מחפשים את השליח",
    "lost": "אי אפשר להשיג את השליח",
    "book": "מבצעים את ההזמנה",
    "details": "תאריך: יום שישי, שעה: 19:00, סועדים: 2",
    "cancel": "מבטלים את ההזמנה הקודמת וכותבים לכל מי שהוזמן",
    "many": "Reference: BK-5E1D0A, סיבה: " + "הקבוצה גדלה וצריך שולחן גדול יותר, " * 3 + "Guests: "
    '["ana@example.com","bartholomew.featherstonehaugh@a-very-long-domain.example"], Refund: true',
    "late": "מזמינים פרחים לשולחן",
    "no": "סירבתם, ולכן זה לא בוצע.",
    "booked": "השולחן לשניים הוזמן לשעה 19:00.",
    "part": "בצק המחמצת נח 48 שעות, ואז הוא",
    "sorry": "מצטערים, אי אפשר לענות כרגע. נסו שוב בעוד רגע.",
    "slow": "נשלחו הרבה הודעות. חכו רגע ונסו שוב.",
    "broken": "יש תקלה טכנית קצרה. ההודעה תישלח מיד כשתסתיים.",
    "more": "אפשר לראות את הכול?",
    "name": "ג'ינה",
    "hello": "שלום, כאן ג'ינה. ההזמנה שלכם לפניי.",
    "later": "היא יוצאת מהתנור בעוד שתי דקות.",
    "item": "פיצה",
    "price": "מחיר",
    "topping": "מה עליה",
    "long": "והקוד לאתר שלכם:",
}


class Stage:
    """One page on its walk: the widget, the played server, the words, and what was found wrong on the way."""

    def __init__(self, variant: Variant, window: Window, chat: Chat, player: Player) -> None:
        self.variant = variant
        self.window = window
        self.chat = chat
        self.player = player
        self.words: dict[str, Any] = HEBREW if variant.hebrew else ENGLISH
        self.faults: dict[str, str] = {}
        self._asked = 0

    @property
    def turn(self) -> dict[str, str]:
        """Ids of the turn that answers the last message."""
        return {"turn_id": f"trn_{self._asked}"}

    @property
    def answer_id(self) -> str:
        return f"msg_answer_{self._asked}"

    async def ask(self, word: str) -> None:
        """The visitor says something, and it is stored."""
        self._asked += 1
        await self.chat.say(self.words[word])
        await self.player.take(self._asked)

    async def begin(self, *parts: str) -> None:
        """The answer begins with some text."""
        await self.player.say("turn.started", **self.turn, message_id=self.answer_id)
        for part in parts:
            await self.player.say("message.delta", **self.turn, message_id=self.answer_id, text=part)

    async def complete(self, text: str, **message: Any) -> None:
        """The answer is whole."""
        whole = {"id": self.answer_id, "text": text, "citations": [], **message}
        await self.player.say("message.completed", **self.turn, message=whole)
        await expect(self.chat.fd("message", id=self.answer_id, state="sent")).to_be_visible()

    async def tool(self, kind: str, call: str, **changes: Any) -> None:
        await self.player.say(f"tool.{kind}", **self.turn, call_id=call, **changes)

    async def picture(self, state: str, sign: Locator) -> None:
        """Takes the picture once `sign` shows, and keeps what is wrong with it."""
        await expect(sign).to_be_visible()
        await self.chat.still()
        await self.chat.page.screenshot(path=FOLDER / f"{state}-{self.variant.name}.png", animations="disabled")
        for what, found in (
            ("too wide", await overflows(self.chat.page)),
            ("unreadable", await poor_contrast(self.chat.page)),
            ("without a name", await nameless(self.chat.page)),
            # On the narrowest phones a client's own words may end in an ellipsis.
            ("cut", await cut_titles(self.chat.page) if self.variant.width >= 360 else []),
        ):
            for each in found:
                # Most stay in sight from one state to the next: the first one is enough.
                self.faults.setdefault(f"{what}: {each}", state)


async def launcher(stage: Stage) -> Locator:
    return stage.chat.fd("launcher")


async def empty(stage: Stage) -> Locator:
    await stage.chat.open()
    await expect(stage.chat.fd("suggestion")).to_have_count(3)
    return stage.chat.fd("suggestion").last


async def focus(stage: Stage) -> Locator:
    """The keyboard's ring on the button that closes the panel."""
    await stage.chat.fd("input").focus()
    for _ in range(10):
        await stage.chat.page.keyboard.press("Shift+Tab")
        if await stage.chat.fd("close").evaluate("(e) => e.matches(':focus')"):
            break
    await expect(stage.chat.fd("close")).to_have_css("outline-style", "solid")
    return stage.chat.fd("close")


async def typing(stage: Stage) -> Locator:
    await stage.ask("ask")
    return stage.chat.fd("typing")


async def streaming(stage: Stage) -> Locator:
    half: str = stage.words["half"]
    await stage.begin(half[:20], half[20:])
    return stage.chat.fd("message", state="streaming")


async def conversation(stage: Stage) -> Locator:
    source = {"n": 1, "title": stage.words["source"], "url": "https://bobspizza.com/delivery"}
    await stage.complete(stage.words["answer"], citations=[source])
    return stage.chat.fd("up")


async def error(stage: Stage) -> Locator:
    await stage.player.say("error", code="unavailable", message=stage.words["broken"], temporary=True, field=None)
    return stage.chat.fd("error")


async def ask_to_reset(stage: Stage) -> Locator:
    await stage.chat.fd("reset").click()
    return stage.chat.fd("ask")


async def tool_running(stage: Stage) -> Locator:
    await stage.chat.page.keyboard.press("Escape")
    await stage.ask("order")
    await stage.begin()
    await stage.tool("started", "call_1", label=stage.words["look"])
    await stage.tool("progress", "call_1", text=stage.words["looking"])
    return stage.chat.fd("tool", state="running")


async def tool_done(stage: Stage) -> Locator:
    await stage.tool("finished", "call_1", summary=stage.words["found"])
    return stage.chat.fd("tool", state="done")


async def tool_failed(stage: Stage) -> Locator:
    await stage.tool("started", "call_2", label=stage.words["track"])
    await stage.tool("finished", "call_2", ok=False, summary=stage.words["lost"])
    return stage.chat.fd("tool", state="failed")


async def _question(stage: Stage, call: str, label: str, text: str | None, minutes: float = 5) -> Locator:
    until = (datetime.now(UTC) + timedelta(minutes=minutes)).isoformat()
    label, words = stage.words[label], stage.words[text] if text else None
    await stage.tool("confirm_request", call, label=label, expires_at=until, text=words)
    return stage.chat.fd("tool", state="confirm").last


async def tool_confirm(stage: Stage) -> Locator:
    """A question with what would be done."""
    question = await _question(stage, "call_3", "book", "details")
    await expect(question).to_contain_text(stage.words["details"])
    await expect(stage.chat.fd("deny")).to_be_visible()
    return stage.chat.fd("approve")


async def tool_many(stage: Stage) -> Locator:
    """A second one with as much as may stand there."""
    await _question(stage, "call_4", "cancel", "many")
    await expect(stage.chat.fd("approve")).to_have_count(2)
    return stage.chat.fd("deny").last


async def tool_expired(stage: Stage) -> Locator:
    """The second is answered, and a third, without details, came too late to be."""
    await stage.chat.fd("deny").last.click()
    heard = await stage.player.hear("tool.confirm")
    assert (heard["call_id"], heard["approved"]) == ("call_4", False)
    await _question(stage, "call_5", "late", None, minutes=-1)
    await expect(stage.chat.fd("approve").last).to_be_disabled()
    return stage.chat.fd("expired")


async def tool_declined(stage: Stage) -> Locator:
    """Both are over; the first still waits."""
    for call in ("call_4", "call_5"):
        await stage.tool("finished", call, ok=False, summary=stage.words["no"])
    await expect(stage.chat.fd("tool", state="failed")).to_have_count(3)
    return stage.chat.fd("approve")


async def tool_approved(stage: Stage) -> Locator:
    """The visitor allows it: the server hears so, and the steps stay with the answer."""
    await stage.chat.fd("approve").click()
    heard = await stage.player.hear("tool.confirm", 2)
    assert (heard["call_id"], heard["approved"]) == ("call_3", True)
    await stage.tool("finished", "call_3", summary=None)
    await stage.complete(stage.words["booked"])
    await expect(stage.chat.fd("tool", state="done")).to_have_count(2)
    return stage.chat.fd("message", id=stage.answer_id)


async def stopped(stage: Stage) -> Locator:
    await stage.ask("more")
    await stage.begin(stage.words["part"])
    await stage.chat.fd("stop").click()
    assert (await stage.player.hear("turn.stop"))["turn_id"] == stage.turn["turn_id"]
    await stage.player.say("turn.stopped", **stage.turn, message={"id": stage.answer_id, "text": stage.words["part"]})
    return stage.chat.fd("message", state="stopped")


async def failed(stage: Stage) -> Locator:
    await stage.ask("more")
    await stage.begin()
    await stage.player.say("turn.failed", **stage.turn, message=stage.words["sorry"])
    await expect(stage.chat.fd("again")).to_be_visible()
    return stage.chat.fd("failed")


def _long(words: dict[str, Any]) -> str:
    rows = (
        ("Margherita", "San Marzano tomato, fresh mozzarella, basil", "$16"),
        ("Hot Honey Soppressata", "spicy salami, wildflower honey, chili", "$20"),
        ("Marinara", "tomato, garlic, oregano", "$15"),
    )
    table = "\n".join(f"| {name} | {what} | **{price}** |" for name, what, price in rows)
    code = '<script async src="https://desk.example.com/widget.js" data-client-key="pk_..."></script>'
    return (
        f"### {words['item']}\n\n"
        f"| {words['item']} | {words['topping']} | {words['price']} |\n| --- | --- | ---: |\n{table}\n\n"
        f"{words['long']}\n\n```html\n{code}\n```\n\n> {words['answer'].splitlines()[0]}\n\n"
        f"1. {words['ask']}\n2. `order 1042`\n   - {words['later']}"
    )


async def long(stage: Stage) -> Locator:
    await stage.ask("more")
    await stage.begin()
    await stage.complete(_long(stage.words))
    message = stage.chat.fd("message", id=stage.answer_id)
    # Its beginning, with the table; the end is in the next picture.
    await message.locator("table").evaluate("(e) => e.scrollIntoView({ block: 'center' })")
    return message.locator("table")


async def limited(stage: Stage) -> Locator:
    await stage.chat.say(stage.words["ask"])
    sent = await stage.player.hear("message.send", stage._asked + 1)
    await stage.player.say("nack", cid=sent["cid"], message=stage.words["slow"], retry_after_ms=42_000)
    await expect(stage.chat.fd("retry")).to_be_disabled()
    return stage.chat.fd("limited")


async def queued(stage: Stage) -> Locator:
    await stage.player.say("owner.changed", owner="queued", operator=None)
    return stage.chat.fd("note").last


async def human(stage: Stage) -> Locator:
    await stage.player.say("owner.changed", operator={"name": stage.words["name"], "avatar_url": None})
    await _operator(stage, "hello")
    await stage.player.say("typing", who="operator")
    await expect(stage.chat.fd("typing")).to_be_visible()
    return stage.chat.fd("message", role="operator")


async def _operator(stage: Stage, word: str) -> None:
    author = {"name": stage.words["name"], "avatar_url": None}
    message = {"id": f"msg_{word}", "role": "operator", "text": stage.words[word], "cid": None, "author": author}
    await stage.player.say("message.created", message=message)


async def unread(stage: Stage) -> Locator:
    await stage.chat.fd("close").click()
    await _operator(stage, "later")
    await expect(stage.chat.fd("badge")).to_have_text("1")
    return stage.chat.fd("badge")


async def offline(stage: Stage) -> Locator:
    await stage.chat.open()
    await stage.window.context.set_offline(True)
    return stage.chat.fd("offline")


async def reconnecting(stage: Stage) -> Locator:
    await stage.window.context.set_offline(False)
    await stage.player.close(4001)
    return stage.chat.fd("reconnecting")


async def closed(stage: Stage) -> Locator:
    """The link comes back, and the operator ends the conversation."""
    stage.player.refuses = False
    await expect(stage.chat.fd("reconnecting")).to_have_count(0)
    await stage.player.say("owner.changed", owner="closed", operator=None)
    await expect(stage.chat.fd("input")).to_have_count(0)
    return stage.chat.fd("over")


async def elsewhere(stage: Stage) -> Locator:
    """A new conversation, which another window takes over."""
    stage.player.greet()
    await stage.chat.fd("over-action").click()
    await expect(stage.chat.fd("suggestion").first).to_be_visible()
    stage._asked = stage.player.count("message.send")
    await stage.ask("ask")
    await stage.player.close(4409)
    return stage.chat.fd("over-action")


async def over(stage: Stage) -> Locator:
    """It is taken back here, and then the website loses its right to it."""
    stage.player.refuses = False
    hellos = stage.player.count("hello")
    await stage.chat.fd("over-action").click()
    await stage.player.hear("hello", hellos + 1)
    await expect(stage.chat.fd("input")).to_be_visible()
    await stage.player.close(4403)
    await expect(stage.chat.fd("over-action")).to_have_count(0)
    return stage.chat.fd("over")


async def loading(stage: Stage) -> Locator:
    """The next page in the same tab, whose conversation does not come."""
    stage.player.refuses = False
    stage.player.hold_back()
    await stage.chat.page.reload()
    await stage.chat.open()
    return stage.chat.fd("loading")


STATES: tuple[tuple[str, Callable[[Stage], Awaitable[Locator]]], ...] = (
    ("launcher", launcher),
    ("empty", empty),
    ("focus", focus),
    ("typing", typing),
    ("streaming", streaming),
    ("conversation", conversation),
    ("error", error),
    ("ask", ask_to_reset),
    ("tool-running", tool_running),
    ("tool-done", tool_done),
    ("tool-failed", tool_failed),
    ("tool-confirm", tool_confirm),
    ("tool-many", tool_many),
    ("tool-expired", tool_expired),
    ("tool-declined", tool_declined),
    ("tool-approved", tool_approved),
    ("stopped", stopped),
    ("failed", failed),
    ("long", long),
    ("limited", limited),
    ("queued", queued),
    ("human", human),
    ("unread", unread),
    ("offline", offline),
    ("reconnecting", reconnecting),
    ("closed", closed),
    ("elsewhere", elsewhere),
    ("over", over),
    ("loading", loading),
)

_STYLE = """<style>
  :root { color-scheme: light dark; background: light-dark(#fff8ec, #101114); font: 17px/1.6 system-ui, sans-serif }
  body { max-width: 560px; margin: 48px 40px; color: light-dark(#3b2a20, #cfc8c2) }
</style>"""


def _page(site: Site, variant: Variant) -> str:
    words = HEBREW if variant.hebrew else ENGLISH
    # Also the customer's own calls, as they stand in the page before the script has loaded.
    update = {"suggestions": words["suggestions"], "welcome_message": words["welcome"], "subtitle": ""}
    if variant.hebrew:
        update |= {"title": "הפיצה של בוב", "launcher_text": "שאלו אותנו"}
    stub = (
        "<script>window.frontdesk = function () { (frontdesk.q = frontdesk.q || []).push(arguments) };"
        f"frontdesk('update', {msgspec.json.encode(update).decode()})</script>"
    )
    body = f"<h1>{words['item']}</h1><p>{words['welcome']}</p><p>{words['long']} {words['part']}</p>"
    locale = "he" if variant.hebrew else "en"
    return site.page(_STYLE + stub, body, attributes=f'data-locale="{locale}"', lang=locale).replace(
        "<html", f'<html dir="{"rtl" if variant.hebrew else "ltr"}"'
    )


@pytest.fixture(params=VARIANTS, ids=lambda variant: variant.name)
async def stage(request: pytest.FixtureRequest, browser: Browser, site: Site) -> AsyncIterator[Stage]:
    """The page of a variant, before its first state."""
    variant: Variant = request.param
    FOLDER.mkdir(parents=True, exist_ok=True)
    async with open_window(
        browser,
        width=variant.width,
        height=variant.height,
        color_scheme=variant.scheme,
        phone=variant.phone,
        locale="he-IL" if variant.hebrew else "en-US",
    ) as window:
        chat, player = await window.tab(), Player()
        await player.play(chat.page)
        player.greet()
        await chat.goto(site.website.put("/", _page(site, variant)))
        yield Stage(variant, window, chat, player)


@pytest.mark.screenshots
async def test_every_state_looks_right(stage: Stage) -> None:
    """Every state shows what it should, fits the window, can be read and has a name for each control."""
    for name, state in STATES:
        await stage.picture(name, await state(stage))
    assert not stage.faults, "\n".join(f"{state}: {fault}" for fault, state in stage.faults.items())
