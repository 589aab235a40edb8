"""The inbox to look at: pictures of its states in every variant; nothing in them is unreadable or sticks out."""

import pytest
from playwright.async_api import Browser, expect

from server.protocol.operator import ConversationClose, WhisperSend
from server.protocol.visitor import HandoffRequest
from tests.browser.console.support import Tab
from tests.browser.console.variants import VARIANTS, Ready, Stop, Variant, walk
from tests.flows.console import Console, staff_of
from tests.flows.console import console as socket_of
from tests.flows.support import Desk
from tests.flows.tooling import add_tool, use
from tests.staffing import hire
from tests.tools.webhook_server import WebhookServer, says
from tests.turns.toolkit import webhook
from tests.wire_servers import Answer, WireServer

__all__ = ["webhook"]

TABLE = """We have **three** left. Prices today:

| Olives | Price |
| --- | --- |
| Green | $4.50 |
| Black | $5.00 |

1. Call us, or
2. come by until *6 pm*. See [our menu](https://shop.example/menu)."""
QUESTION = "Do you have green olives? My order is 4711, and I would like to pick it up on Friday afternoon."
HEBREW = "שלום, האם אתם פתוחים בשבת? אני רוצה להזמין 3 פיצות 🍕"


async def _opened(tab: Tab) -> None:
    await expect(tab.fd("transcript").locator('[data-fd="message"]').first).to_be_visible()
    await expect(tab.fd("turn").first).to_be_visible()


async def _with_everything_open(tab: Tab) -> None:
    await _opened(tab)
    await expect(tab.fd("note")).to_be_visible()
    for fold in ("call", "turn"):
        await tab.fd(fold).first.locator("summary").first.click()
    if await tab.fd("details-pane").count() == 0:
        await tab.fd("details").click()
    await expect(tab.fd("totals")).to_be_visible()


def _instead(owner: str) -> Ready:
    """Where one writes stands why one cannot."""

    async def ready(tab: Tab) -> None:
        await _opened(tab)
        await expect(tab.fd(f"instead-{owner}")).to_be_visible()

    return ready


async def _whispering(tab: Tab) -> None:
    await _opened(tab)
    if await tab.fd("details-pane").count():
        await tab.fd("details-hide").click()
    await tab.fd("tab-whisper").click()
    await tab.fd("composer").fill("Offer them a free dessert")


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
async def test_every_state_looks_right(
    browser: Browser, desk: Desk, model: WireServer, webhook: WebhookServer, variant: Variant
) -> None:
    """The list, a conversation with all that can be in one, one that waits, one that another has, a closed one."""
    shop = await desk.shop("Kalamata Olive Bar")
    await add_tool(desk, shop, webhook.url, "look_up")
    operator = await hire(desk.pool, desk.keyring, role="operator", client_id=shop.id, name="Olga Orlova")
    ana = await staff_of(desk, shop, name="Ana")
    async with (
        desk.visit(shop) as (first, one),
        desk.visit(shop) as (second, two),
        desk.visit(shop) as (third, three),
        desk.visit(shop) as (fourth, four),
        socket_of(ana) as hers,
    ):
        webhook.script(says({"stock": 3, "supplier": "Olive & Sons"}))
        model.script(Answer("", tools=(use("look_up", item="olives-4711"),)), Answer(TABLE))
        await first.say(QUESTION)
        await first.end()
        await _aside(hers, one.conversation_id)
        await second.say(HEBREW)
        await second.end()
        await second.send(HandoffRequest())
        for visitor in (third, fourth):
            await visitor.say("Hello there")
            await visitor.end()
        await hers.take(three.conversation_id)
        await hers.say(three.conversation_id, "Hi, this is Ana. How can I help?")
        await hers.do(ConversationClose(conversation_id=four.conversation_id))
        await _note(desk, one.conversation_id, operator.id)
        at = "/inbox/{}".format
        await walk(
            browser,
            desk,
            operator,
            variant,
            {
                "inbox": Stop("/inbox", lambda tab: expect(tab.fd("row")).to_have_count(4)),
                "inbox-empty": Stop("/inbox?q=nothing", lambda tab: expect(tab.fd("no-rows")).to_be_visible()),
                "inbox-conversation": Stop(at(one.conversation_id), _opened),
                "inbox-open": Stop(at(one.conversation_id), _with_everything_open),
                "inbox-whisper": Stop(at(one.conversation_id), _whispering),
                "inbox-waits": Stop(at(two.conversation_id), _instead("queued")),
                "inbox-taken": Stop(at(three.conversation_id), _instead("human")),
                "inbox-closed": Stop(at(four.conversation_id), _instead("closed")),
            },
        )


async def _aside(console: Console, conversation_id: str) -> None:
    """A whisper, by an operator who leaves again."""
    await console.do(WhisperSend(conversation_id=conversation_id, text="They are a regular: be generous."))


async def _note(desk: Desk, conversation_id: str, operator_id: int) -> None:
    await desk.rows(
        """
        insert into notes (client_id, conversation_id, operator_id, content)
        select client_id, id, %s, 'Wants to pick up on Fridays' from conversations where public_id = %s
        """,
        operator_id,
        conversation_id,
    )
