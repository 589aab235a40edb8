"""The owner's day: a client from its first form to a test case that holds after a change, in two browsers."""

import re
from collections.abc import AsyncIterator

import msgspec
import pytest
from playwright.async_api import expect

from server.settings import Settings
from tests.browser.console.support import Tab
from tests.browser.site import Website, open_website
from tests.browser.window import Window
from tests.flows.support import Desk, open_desk
from tests.flows.tooling import use
from tests.tools.webhook_server import WebhookServer, says
from tests.turns.toolkit import webhook
from tests.wire_servers import Answer, WireServer

__all__ = ["webhook"]


@pytest.fixture
async def desk(settings: Settings) -> AsyncIterator[Desk]:
    """An installation that may call this machine's webhooks."""
    async with open_desk(msgspec.structs.replace(settings, allow_private_egress=("127.0.0.1/32",))) as desk:
        yield desk


@pytest.fixture
async def website() -> AsyncIterator[Website]:
    """The new client's own."""
    async with open_website() as website:
        yield website


async def add_client(console: Tab, website: Website) -> str:
    """Adds a client whose widget may run on the website, and embeds it there; the client's number."""
    await console.fd("new-client").click()
    form = console.fd("new-client-form")
    await form.get_by_label("Name").fill("Ann's Flowers")
    await form.get_by_label("Domain").fill("flowers.example")
    await form.get_by_label("First origin").fill(website.url)
    await console.fd("create").click()
    await expect(console.fd("api-key")).to_contain_text("sk_")
    script = await console.fd("embed").locator("code").first.inner_text()
    # The tag names the server's public address, which is this one's own here.
    tag = re.sub(r'src="[^"]*"', f'src="{console.desk.url}/widget.js"', script)
    website.put("/", f"<!doctype html><title>Flowers</title><body><h1>Flowers</h1>{tag}</body>")
    match = re.search(r"/clients/(\d+)", console.path)
    assert match is not None, console.path
    return match[1]


async def add_tool(console: Tab, client: str, webhook: WebhookServer) -> None:
    """A tool in the catalogue, enabled for the client and done by the webhook."""
    await console.goto("/tools/+new")
    await console.fd("tool-name").fill("look_up")
    await console.fd("description").fill("Looks a bunch of flowers up.")
    await console.fd("schema").fill('{"type": "object", "properties": {"item": {"type": "string"}}}')
    await console.fd("save").click()
    await expect(console.page).to_have_url(re.compile("/tools/look_up$"))
    await console.goto(f"/clients/{client}/tools/look_up")
    await console.fd("webhook").fill(webhook.url)
    await console.fd("save").click()
    await console.fd("once-kept").click()
    await console.fd("once-done").click()
    await expect(console.fd("trial")).to_be_visible()


async def test_the_owners_day(
    console: Tab, window: Window, website: Website, model: WireServer, webhook: WebhookServer
) -> None:
    """Add a client, embed it, chat there, watch it, take over mid-answer, answer, release, see the cost, keep a test
    case, change the prompt, run the case."""
    await console.goto("/clients")
    client = await add_client(console, website)
    await add_tool(console, client, webhook)

    # A visitor asks; the answer streams in both browsers.
    await console.goto("/inbox")
    webhook.script(says({"roses": "twelve"}))
    model.script(Answer(tools=(use("look_up", item="roses"),)), Answer("There are twelve red roses today."))
    visitor = await window.open(website.url + "/")
    await visitor.open()
    await visitor.say("Do you have roses?")
    await console.fd("row").first.click()
    await expect(console.fd("transcript")).to_contain_text("There are twelve red roses today.")
    await expect(visitor.text(await visitor.answered())).to_have_text("There are twelve red roses today.")
    await expect(console.fd("call")).to_contain_text("look_up")

    # Taken over in the middle of the next answer: what was said stays, a person goes on.
    model.script(Answer("one two three four five six seven eight", stall_after=4))
    await visitor.say("And how much are they?")
    await expect(console.fd("transcript")).to_contain_text("one two three")
    await console.fd("take").click()
    await expect(console.fd("release")).to_be_visible()
    await console.fd("composer").fill("Olga here: three for ten.")
    await console.fd("send").click()
    await expect(visitor.page.locator("frontdesk-widget")).to_contain_text("Olga here: three for ten.")
    await expect(visitor.page.locator("frontdesk-widget")).to_contain_text("one two three")

    # Given back: the AI answers again.
    await console.fd("release").click()
    await expect(console.fd("take")).to_be_visible()
    model.script(Answer("Yes, we deliver."))
    await visitor.say("Do you deliver?")
    await expect(console.fd("transcript")).to_contain_text("Yes, we deliver.")

    # What it cost, by the conversation and by the client.
    [(cost,)] = await console.desk.rows("select sum(cost_estimate) from api_usage")
    assert cost > 0
    await console.goto("/usage")
    await expect(console.fd("total-messages").locator("b")).not_to_have_text("0")

    await keep_and_run(console, client, model, webhook)


async def keep_and_run(console: Tab, client: str, model: WireServer, webhook: WebhookServer) -> None:
    """The conversation as a test case: it passes, and fails once the prompt has changed for the worse."""
    await console.goto("/inbox")
    await console.fd("row").first.click()
    if not await console.fd("details-pane").is_visible():
        await console.fd("details").click()
    await console.fd("keep-case").click()
    await console.page.get_by_role("button", name="Show it").click()
    await expect(console.fd("must-call")).to_have_value("look_up")
    await console.fd("must-contain").fill("roses")
    await console.fd("save").click()
    await expect(console.fd("save-bar")).to_have_count(0)

    await console.goto(f"/clients/{client}/assistant")
    await console.fd("prompt").fill("Talk of tulips alone.")
    async with console.page.expect_response(lambda answer: answer.request.method == "PUT" and answer.ok):
        await console.fd("save").click()
    await expect(console.fd("save-bar").get_by_role("status")).to_have_text("")

    called = len(webhook.requests)
    model.script(*(Answer("Tulips!") for _ in range(3)))
    await console.goto(f"/clients/{client}/cases")
    await console.fd("run-all").click()
    await expect(console.fd("run-mark")).to_have_text("0 / 1 passed")
    await expect(console.fd("result")).to_contain_text("must call")
    await expect(console.fd("now").first).to_contain_text("Tulips!")
    assert "Talk of tulips alone." in str(model.requests[-1].body)
    assert len(webhook.requests) == called
