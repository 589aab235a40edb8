"""The playground: a draft, a chat with it, the truth of each answer; test cases that are run again after a change."""

import pytest
from playwright.async_api import Browser, FrameLocator, expect

from tests.browser.console.support import Tab
from tests.browser.console.variants import VARIANTS, Stop, Variant, walk
from tests.flows.support import Desk, Shop
from tests.flows.tooling import add_tool, use
from tests.staffing import hire
from tests.tools.webhook_server import WebhookServer, says
from tests.turns.toolkit import webhook
from tests.wire_servers import Answer, WireServer

__all__ = ["webhook"]


@pytest.fixture
async def shop(desk: Desk, webhook: WebhookServer) -> Shop:
    """One with a tool that looks things up."""
    shop = await desk.shop("bobspizza", system_prompt="You are Bob's.")
    await add_tool(desk, shop, webhook.url, "look_up")
    return shop


def chat(tab: Tab) -> FrameLocator:
    return tab.page.frame_locator('[data-fd="chat-frame"]')


async def ask(tab: Tab, text: str) -> None:
    """Writes as a customer."""
    await chat(tab).locator("textarea").fill(text)
    await chat(tab).locator("textarea").press("Enter")


async def test_a_draft_is_tried_without_touching_visitors(console: Tab, shop: Shop, model: WireServer) -> None:
    """The model reads the draft in this chat; the client has it once it is saved for visitors."""
    model.script(Answer("Hello from the draft"))
    await console.goto(f"/clients/{shop.id}/playground")
    await console.fd("draft-prompt").fill("You are a pirate.")
    await console.fd("save").click()
    await expect(console.fd("save-bar")).to_have_count(0)
    await ask(console, "Hi")
    await expect(chat(console).get_by_role("article").get_by_text("Hello from the draft")).to_be_visible()
    assert "You are a pirate." in str(model.requests[-1].body)
    saved = "select system_prompt from clients where id = %s"
    assert await console.desk.rows(saved, shop.id) == [("You are Bob's.",)]
    await console.fd("publish").click()
    await console.fd("confirm-yes").click()
    await expect(console.page.get_by_text("Saved: visitors are answered with it now.")).to_be_visible()
    assert await console.desk.rows(saved, shop.id) == [("You are a pirate.",)]
    assert await console.desk.rows("select message_count from api_usage where message_count > 0") == []


async def test_the_truth_of_an_answer(console: Tab, shop: Shop, model: WireServer, webhook: WebhookServer) -> None:
    """Raw request and response of each call of the model, the tool's call, tokens, and where the time went."""
    webhook.script(says({"status": "in the <b>oven</b>"}))
    model.script(Answer(tools=(use("look_up", item="pizza"),)), Answer("It is in the oven."))
    await console.goto(f"/clients/{shop.id}/playground")
    await ask(console, "Where is my pizza?")
    await expect(chat(console).get_by_role("article").get_by_text("It is in the oven.")).to_be_visible()
    await expect(console.fd("model-call")).to_have_count(2)
    await expect(console.fd("truth-facts")).to_contain_text("54 in, 18 out")
    await console.fd("model-call").first.click()
    await expect(console.fd("model-call").first).to_contain_text("Where is my pizza?")
    await console.fd("tool-call").click()
    await expect(console.fd("tool-call")).to_contain_text("<b>oven</b>")
    await expect(console.fd("waterfall").locator("tr")).to_have_count(7)


async def test_a_case_is_kept_changed_and_run(
    console: Tab, shop: Shop, model: WireServer, webhook: WebhookServer
) -> None:
    """Its tools answer from the record; a rule that does not hold fails it and says why, the answers side by side."""
    webhook.script(says({"status": "oven"}))
    model.script(Answer(tools=(use("look_up", item="pizza"),)), Answer("It is in the oven."))
    await console.goto(f"/clients/{shop.id}/playground")
    await ask(console, "Where is my pizza?")
    await expect(chat(console).get_by_role("article").get_by_text("It is in the oven.")).to_be_visible()
    await console.fd("keep-case").click()
    await console.page.get_by_role("button", name="Show it").click()
    await expect(console.fd("must-call")).to_have_value("look_up")
    await console.fd("must-contain").fill("oven")
    await console.fd("save").click()
    await expect(console.fd("save-bar")).to_have_count(0)

    model.script(Answer(tools=(use("look_up", item="pizza"),)), Answer("Still in the Oven."))
    await console.fd("run-case").click()
    await expect(console.fd("run-mark")).to_have_text("1 / 1 passed")
    await expect(console.fd("former")).to_contain_text("It is in the oven.")
    await expect(console.fd("now")).to_contain_text("Still in the Oven.")
    assert len(webhook.requests) == 1

    model.script(Answer("I do not know."))
    await console.fd("run-again").click()
    await expect(console.fd("run-mark")).to_have_text("0 / 1 passed")
    await expect(console.fd("result")).to_contain_text("look_up")
    await expect(console.fd("failed")).to_contain_text("1")
    assert len(webhook.requests) == 1


async def test_the_server_is_asked_again_where_it_failed(console: Tab, shop: Shop) -> None:
    """A chat that could not be begun says so, and a second try begins it."""
    console.window.expect("503")
    pattern = "**/api/v1/admin/clients/*/playground"
    error = '{"error": {"code": "unavailable", "message": "something we depend on is down", "request_id": "req_1"}}'
    await console.page.route(pattern, lambda route: route.fulfill(status=503, body=error))
    await console.goto(f"/clients/{shop.id}/playground")
    await expect(console.fd("error")).to_contain_text("something we depend on is down")
    await console.page.unroute(pattern)
    await console.fd("retry").click()
    await expect(chat(console).locator("textarea")).to_be_visible()


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
async def test_pictures(
    browser: Browser, desk: Desk, shop: Shop, model: WireServer, webhook: WebhookServer, variant: Variant
) -> None:
    """Each page can be read in each variant."""
    client = f"/clients/{shop.id}"

    async def answered(tab: Tab) -> None:
        webhook.script(says({"status": "oven"}))
        model.script(Answer(tools=(use("look_up", item="pizza"),)), Answer("It is in the **oven**, ten minutes more."))
        await ask(tab, "Where is my pizza?")
        await tab.fd("model-call").nth(1).wait_for()
        await tab.fd("keep-case").click()
        await tab.page.get_by_role("button", name="Show it").wait_for()

    async def ran(tab: Tab) -> None:
        model.script(Answer("I do not know."))
        await tab.fd("run-all").click()
        await expect(tab.fd("run-mark")).to_have_text("0 / 1 passed")

    await walk(
        browser,
        desk,
        await hire(desk.pool, desk.keyring),
        variant,
        {
            "playground": Stop(f"{client}/playground", answered),
            "run": Stop(f"{client}/cases", ran),
            "cases": Stop(f"{client}/cases", lambda tab: tab.fd("cases").wait_for()),
            "case": Stop(f"{client}/cases/1", lambda tab: tab.fd("must-call").wait_for()),
        },
    )
