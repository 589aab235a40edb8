"""What a visitor lives through on the demo shop: a real server, a real browser, a model that streams."""

import re

from playwright.async_api import expect

from tests.browser.site import Site
from tests.browser.window import Window
from tests.support import eventually
from tests.wire_servers import Answer, Failure, WireServer

# Some 80 tokens: at 40 a second there is time to reload in the middle.
LONG = " ".join(f"Sentence {number} of the long answer about our oven." for number in range(1, 13))


async def test_a_suggestion_is_answered(demo_site: Site, window: Window) -> None:
    """A click on a suggestion asks it, word by word it is answered, and the suggestions are gone."""
    chat = await window.open(demo_site.pizza)
    await chat.open()
    await expect(chat.fd("message", id="welcome")).to_be_visible()
    hours = chat.fd("suggestion").filter(has_text="open")
    question = await hours.inner_text()
    await chat.watch_growth()
    await hours.click()

    answer = chat.text(await chat.answered())
    await expect(chat.text(chat.user())).to_have_text(question)
    await expect(answer).to_contain_text("Sunday")
    await expect(chat.fd("suggestion")).to_have_count(0)
    lengths = await chat.growth()
    assert len(lengths) >= 5 and lengths == sorted(lengths), lengths


async def test_a_menu_comes_as_a_table(demo_site: Site, window: Window) -> None:
    """With bold prices, and nothing left of the markdown."""
    chat = await window.open(demo_site.pizza)
    await chat.open()
    await chat.say("What sides do you have?")
    answer = chat.text(await chat.answered())
    await expect(answer.locator("table tbody tr").first).to_be_visible()
    await expect(answer.locator("strong").first).to_be_visible()
    assert not re.search(r"\*\*|\|", await answer.inner_text()), "markdown is left over"


async def test_a_typed_question_is_answered(site: Site, window: Window, model: WireServer) -> None:
    """What is typed goes out with Enter, Shift and Enter makes a line, and what was streamed is what stays."""
    model.script(Answer(LONG, tokens_per_s=40))
    chat = await window.open(site.pizza)
    await chat.open()
    await expect(chat.fd("input")).to_be_focused()
    await expect(chat.fd("send")).to_be_disabled()
    await chat.watch_growth()
    await chat.page.keyboard.type("Do you deliver")
    await chat.page.keyboard.press("Shift+Enter")
    await chat.page.keyboard.type("to Nob Hill?")
    await chat.page.keyboard.press("Enter")

    await expect(chat.fd("input")).to_have_value("")
    await expect(chat.text(await chat.answered())).to_have_text(LONG)
    await expect(chat.text(chat.user())).to_have_text("Do you deliver\nto Nob Hill?", use_inner_text=True)
    assert len(await chat.growth()) >= 5
    assert model.requests[0].question == "Do you deliver\nto Nob Hill?"
    assert await site.rows("select role, content from messages order by id") == [
        ("user", "Do you deliver\nto Nob Hill?"),
        ("assistant", LONG),
    ]


async def test_the_conversation_is_there_after_the_tab_was_closed(site: Site, window: Window) -> None:
    """A new tab on another day of the same browser shows everything again, and goes on in the same conversation."""
    chat = await window.open(site.pizza)
    await chat.open()
    await chat.say("Is the oven hot?")
    await chat.answered()
    await chat.page.close()

    chat = await window.open(site.pizza)
    await expect(chat.fd("launcher")).to_have_attribute("aria-expanded", "false")
    await chat.open()
    await expect(chat.text(chat.user())).to_have_text("Is the oven hot?")
    await expect(chat.text(await chat.answered())).to_have_text("You said: Is the oven hot?")
    await chat.say("And now?")
    await chat.answered(2)
    assert await site.rows("select count(*) from conversations") == [(1,)]


async def test_an_answer_goes_on_after_a_reload(site: Site, window: Window, model: WireServer) -> None:
    """A reload in the middle of an answer opens the panel again, and the answer ends whole, asked for once."""
    model.script(Answer(LONG, tokens_per_s=40))
    chat = await window.open(site.pizza)
    await chat.open()
    await chat.say("Tell me about the oven")
    await expect(chat.text(chat.answers(state="streaming"))).to_contain_text("Sentence 2")
    await chat.page.reload()

    streaming = chat.text(chat.answers(state="streaming"))
    await expect(streaming).to_contain_text("Sentence 2")
    assert await streaming.inner_text() != LONG
    await expect(chat.text(await chat.answered())).to_have_text(LONG)
    await expect(chat.user()).to_have_count(1)
    assert len(model.requests) == 1


async def test_two_tabs_show_the_same(site: Site, window: Window, model: WireServer) -> None:
    """Each tab shows what is said in the other, while it is said."""
    first = await window.open(site.pizza)
    await first.open()
    await first.say("From the first tab")
    await first.answered()
    second = await window.open(site.pizza)
    await second.open()
    await second.answered()

    model.script(Answer(LONG, tokens_per_s=40))
    await second.say("From the second tab")
    await expect(first.text(first.answers(state="streaming"))).to_be_visible()
    for chat in (first, second):
        await expect(chat.text(await chat.answered(2))).to_have_text(LONG)
        await expect(chat.text(chat.user())).to_have_text(["From the first tab", "From the second tab"])


async def test_stop_keeps_what_was_said(site: Site, window: Window, model: WireServer) -> None:
    """The stop button ends the answer at once; its beginning stays, also after a reload, and the model is let go."""
    model.script(Answer(LONG, tokens_per_s=200, stall_after=20))
    chat = await window.open(site.pizza)
    await chat.open()
    await chat.say("Tell me about the oven")
    await expect(chat.text(chat.answers(state="streaming"))).to_contain_text("Sentence 1")
    await expect(chat.fd("send")).to_have_count(0)
    await chat.fd("stop").click()

    stopped = chat.text(chat.answers(state="stopped"))
    await expect(stopped).to_contain_text("Sentence 1")
    said = await stopped.inner_text()
    assert LONG.startswith(said.strip()) and len(said) < len(LONG)
    await expect(chat.fd("send")).to_be_visible()
    await model.wait_for_abandoned()
    await chat.page.reload()
    await expect(chat.text(chat.answers(state="stopped"))).to_have_text(said)


async def test_a_failed_answer_can_be_asked_for_again(site: Site, window: Window, model: WireServer) -> None:
    """A model that refuses once leaves a kind sentence and a button; the button asks once more, and it is answered."""
    model.script(Failure(400, "the model is out of order"), Answer("Better now."))
    chat = await window.open(site.pizza)
    await chat.open()
    await chat.say("Are you there?")
    await expect(chat.fd("failed")).to_be_visible()
    assert "out of order" not in await chat.fd("failed").inner_text()
    await chat.fd("again").click()
    await expect(chat.text(await chat.answered())).to_have_text("Better now.")
    await expect(chat.fd("failed")).to_have_count(0)
    assert [request.question for request in model.requests] == ["Are you there?", "Are you there?"]


async def test_feedback_is_kept(site: Site, window: Window) -> None:
    """A thumb is stored with the answer, shows pressed after a reload, and can be turned round."""
    chat = await window.open(site.pizza)
    await chat.open()
    await chat.say("Hello?")
    answer = await chat.answered()
    await answer.hover()
    await chat.fd("up").click()

    async def rated(wanted: str) -> bool:
        return await site.rows("select rating from messages where role = 'assistant'") == [(wanted,)]

    await eventually(lambda: rated("up"), "the rating is in the database")
    await chat.page.reload()
    await expect(chat.fd("up")).to_have_attribute("aria-pressed", "true")
    await chat.answers().hover()
    await chat.fd("down").click()
    await expect(chat.fd("down")).to_have_attribute("aria-pressed", "true")
    await expect(chat.fd("up")).to_have_attribute("aria-pressed", "false")
    await eventually(lambda: rated("down"), "the other rating is in the database")


async def test_an_answer_can_be_copied(site: Site, window: Window, model: WireServer) -> None:
    """The copy button puts the answer's markdown on the clipboard."""
    await window.context.grant_permissions(["clipboard-read", "clipboard-write"])
    model.script(Answer("It costs **$16**."))
    chat = await window.open(site.pizza)
    await chat.open()
    await chat.say("How much is a Margherita?")
    answer = await chat.answered()
    await answer.hover()
    await chat.fd("copy").click()
    await expect(answer).to_contain_text("Copied")
    assert await chat.page.evaluate("() => navigator.clipboard.readText()") == "It costs **$16**."


async def test_a_new_conversation_begins_only_when_confirmed(site: Site, window: Window) -> None:
    """The header's button asks first; then the old conversation is gone from the screen, and a new one begins."""
    chat = await window.open(site.pizza)
    await chat.open()
    await chat.say("Hello?")
    await chat.answered()
    await chat.fd("reset").click()
    await expect(chat.fd("ask")).to_be_visible()
    await chat.page.keyboard.press("Escape")
    await expect(chat.fd("ask")).to_have_count(0)
    await expect(chat.user()).to_have_count(1)
    await chat.fd("reset").click()
    await chat.fd("reset-confirm").click()
    await expect(chat.user()).to_have_count(0)
    await expect(chat.fd("suggestion").first).to_be_visible()
    await chat.say("Hello again")
    await expect(chat.text(await chat.answered())).to_have_text("You said: Hello again")
    assert await site.rows("select total_messages from conversations order by id") == [(2,), (2,)]


async def test_an_answer_to_a_closed_panel_is_counted(site: Site, window: Window, model: WireServer) -> None:
    """What comes while the panel is closed stands on the launcher, and is read once the panel opens."""
    model.script(Answer(LONG, tokens_per_s=30))
    chat = await window.open(site.pizza)
    await chat.page.evaluate(
        """() => {
          const seen = (document.documentElement.seen = []);
          frontdesk("on", "unread", ({ count }) => seen.push(count));
        }"""
    )
    await chat.open()
    await chat.say("Tell me about the oven")
    await expect(chat.answers(state="streaming")).to_be_visible()
    await chat.fd("close").click()
    await expect(chat.fd("badge")).to_have_text("1")
    await expect(chat.fd("launcher")).to_have_attribute("aria-label", re.compile(r"1$"))
    await chat.open()
    await expect(chat.fd("badge")).to_have_count(0)
    assert await chat.page.evaluate("() => document.documentElement.seen") == [1, 0]


async def test_the_shops_know_only_their_own(demo_site: Site, window: Window) -> None:
    """The bakery's page in the same browser has a conversation of its own, in its own colours."""
    pizza = await window.open(demo_site.pizza)
    await pizza.open()
    await pizza.say("Where are you?")
    await expect(pizza.text(await pizza.answered())).to_contain_text("418 Alder Street")
    bakery = await window.open(f"{demo_site.url}/demo/bakery/")
    await bakery.open()
    await expect(bakery.user()).to_have_count(0)
    await bakery.say("Where are you?")
    answer = bakery.text(await bakery.answered())
    await expect(answer).not_to_contain_text("Alder Street")
    colours = [
        await each.fd("launcher").evaluate("(e) => getComputedStyle(e).backgroundColor") for each in (pizza, bakery)
    ]
    assert colours[0] != colours[1]


async def test_on_a_phone_the_panel_fills_the_screen(site: Site, phone: Window) -> None:
    """The panel covers the page, which does not scroll behind it; after a reload it stays closed until it is tapped."""
    chat = await phone.open(site.pizza)
    await chat.fd("launcher").tap()
    await chat.settled()
    box = await chat.fd("panel").bounding_box()
    assert box == {"x": 0, "y": 0, "width": 390, "height": 844}
    await expect(chat.fd("launcher")).to_be_hidden()
    await expect(chat.page.locator("html")).to_have_css("overflow", "hidden")
    await expect(chat.fd("panel")).to_be_focused()
    await chat.say("Hello?")
    await chat.answered()
    await chat.page.reload()
    await expect(chat.fd("launcher")).to_have_attribute("aria-expanded", "false")
    await chat.fd("launcher").tap()
    await chat.answered()
    await chat.fd("close").tap()
    await expect(chat.fd("launcher")).to_be_visible()
    await expect(chat.page.locator("html")).not_to_have_css("overflow", "hidden")
