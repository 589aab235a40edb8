"""The console's kit on a page of its own, `gallery.tsx`, built here and served by the real page with its policy."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from playwright.async_api import Browser, Locator, Route, expect
from starlette.applications import Starlette

from server.admin.page import Page
from tests.browser.console.support import PICTURES
from tests.browser.console.variants import VARIANTS, Variant
from tests.browser.measure import nameless, overflows, poor_contrast
from tests.browser.window import Window, open_window

ROOT = Path(__file__).parents[3]
# Where a browser allows the clipboard; nothing listens there.
URL = "http://localhost:9"


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Starlette:
    """The gallery in the place of the console."""
    folder = tmp_path_factory.mktemp("gallery")
    program = f"""
        import {{ build, entries }} from {json.dumps((ROOT / "esbuild.config.js").as_uri())};
        const console_ = entries.find(({{ kind }}) => kind === "console");
        const source = "tests/browser/console/gallery.tsx";
        await build([{{ ...console_, source, start: source }}], {json.dumps(str(folder))});
    """
    node = Path(sys.executable).with_name("node")
    subprocess.run([node, "--input-type=module", "--eval", program], cwd=ROOT, check=True, capture_output=True)
    return Starlette(routes=Page(folder).routes())


class Kit:
    """The gallery in a browser."""

    def __init__(self, window: Window, page: "Locator") -> None:
        self.window = window
        self.root = page
        self.page = page.page

    def fd(self, hook: str) -> Locator:
        return self.page.locator(f'[data-fd="{hook}"]')


@asynccontextmanager
async def open_kit(browser: Browser, gallery: Starlette, variant: Variant) -> AsyncIterator[Kit]:
    """A window of this kind on the gallery."""

    async def answer(route: Route) -> None:
        transport = httpx.ASGITransport(app=gallery)
        async with httpx.AsyncClient(transport=transport, base_url=URL) as http:
            response = await http.get(route.request.url)
        headers = {name: value for name, value in response.headers.items() if name != "content-encoding"}
        await route.fulfill(status=response.status_code, headers=headers, body=response.content)

    async with open_window(
        browser, width=variant.width, height=variant.height, color_scheme=variant.scheme, phone=variant.phone
    ) as window:
        await window.context.grant_permissions(["clipboard-read", "clipboard-write"])
        page = await window.context.new_page()
        await page.route("**/*", answer)
        await page.goto(f"{URL}/admin/")
        if variant.rtl:
            await page.evaluate("document.documentElement.dir = 'rtl'")
        kit = Kit(window, page.locator("main"))
        await kit.fd("page").wait_for()
        yield kit


@pytest.fixture
async def kit(browser: Browser, gallery: Starlette) -> AsyncIterator[Kit]:
    """A desktop's window on the gallery."""
    async with open_kit(browser, gallery, Variant("light")) as kit:
        yield kit


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda each: each.name)
async def test_the_kit_looks_right(browser: Browser, gallery: Starlette, variant: Variant) -> None:
    """Everything can be read, fits the window and has a name: the page, each dialog, the menu, the news."""
    faults: dict[str, list[str]] = {}
    async with open_kit(browser, gallery, variant) as kit:
        PICTURES.mkdir(parents=True, exist_ok=True)

        async def picture(name: str, *, full: bool = False) -> None:
            await kit.page.evaluate(_STILL)
            await kit.page.screenshot(
                path=PICTURES / f"kit-{name}-{variant.name}.png", full_page=full, animations="disabled"
            )
            found = [*await poor_contrast(kit.page), *await overflows(kit.page), *await nameless(kit.page)]
            if found:
                faults[name] = found

        await picture("all", full=True)
        await kit.fd("open-dialog").click()
        await picture("dialog")
        await kit.page.keyboard.press("Escape")
        await kit.fd("open-once").click()
        await picture("once")
        await kit.fd("once-kept").check()
        await kit.fd("once-done").click()
        await kit.fd("what-to-do").click()
        await picture("menu")
        await kit.page.keyboard.press("Escape")
        await kit.fd("say-good").click()
        await kit.fd("say-bad").click()
        await picture("news")
        await kit.fd("change-elsewhere").click()
        await kit.fd("name").fill("Bobby's")
        await kit.fd("save").click()
        await expect(kit.fd("clash")).to_be_visible()
        await picture("clash")
        await kit.fd("clash-mine").click()
        await kit.fd("name").fill("")
        await kit.fd("save").click()
        await expect(kit.fd("field-error")).to_be_visible()
        await picture("field-error")
    assert not faults, faults


_STILL = """async () => {
  const ends = (animation) => animation.effect.getComputedTiming().endTime < 1000;
  await Promise.allSettled(document.getAnimations().filter(ends).map((each) => each.finished));
}"""


async def test_a_dialog_keeps_the_focus_and_gives_it_back(kit: Kit) -> None:
    """Escape closes it; the button that opened it has the focus again."""
    await kit.fd("open-dialog").click()
    await expect(kit.fd("dialog")).to_be_visible()
    for _ in range(6):
        await kit.page.keyboard.press("Tab")
        outside = "document.activeElement !== document.body && !document.activeElement.closest('dialog')"
        assert not await kit.page.evaluate(outside)
    await kit.page.keyboard.press("Escape")
    await expect(kit.fd("dialog")).to_have_count(0)
    await expect(kit.fd("open-dialog")).to_be_focused()


@pytest.mark.parametrize(("button", "said"), [("confirm-yes", "true"), ("confirm-no", "false")])
async def test_a_question_is_answered(kit: Kit, button: str, said: str) -> None:
    """By its buttons; Escape is a no."""
    await kit.fd("ask").click()
    await kit.fd(button).click()
    await expect(kit.fd("said")).to_have_text(said)
    await kit.fd("ask").click()
    await kit.page.keyboard.press("Escape")
    await expect(kit.fd("confirm")).to_have_count(0)
    await expect(kit.fd("said")).to_have_text("false")


async def test_what_is_shown_once_must_be_kept(kit: Kit) -> None:
    """Escape does not close it, and a copy of the value is the value."""
    await kit.fd("open-once").click()
    await kit.page.keyboard.press("Escape")
    await kit.page.keyboard.press("Escape")
    await expect(kit.fd("once")).to_be_visible()
    await expect(kit.fd("once-done")).to_be_disabled()
    await kit.fd("once").locator('[data-fd="copy"]').click()
    assert await kit.page.evaluate("navigator.clipboard.readText()") == "sk_live_0123456789abcdefghijklmnopqrstuvwxyz"
    await kit.fd("once-kept").check()
    await kit.fd("once-done").click()
    await expect(kit.fd("once")).to_have_count(0)


async def test_a_menu_by_keyboard(kit: Kit) -> None:
    """Arrows go through what can be chosen, letters to what begins with them, Escape gives the focus back."""
    menu = kit.fd("what-to-do")
    await menu.focus()
    await kit.page.keyboard.press("ArrowDown")
    await expect(kit.page.get_by_role("menuitem", name="Edit")).to_be_focused()
    await kit.page.keyboard.press("ArrowDown")
    await expect(kit.page.get_by_role("menuitem", name="Delete")).to_be_focused()
    await kit.page.keyboard.press("ArrowDown")
    await expect(kit.page.get_by_role("menuitem", name="Edit")).to_be_focused()
    await kit.page.keyboard.press("d")
    await kit.page.keyboard.press("Enter")
    await expect(kit.fd("said")).to_have_text("delete")
    await expect(menu).to_be_focused()
    await menu.click()
    await menu.click()
    await expect(kit.page.get_by_role("menuitem", name="Edit")).to_be_hidden()
    await menu.click()
    await kit.page.keyboard.press("Escape")
    await expect(menu).to_be_focused()
    await expect(menu).to_have_attribute("aria-expanded", "false")


async def test_a_form_keeps_what_was_typed(kit: Kit) -> None:
    """A refused field has its error and the focus; a general refusal stands above; what is saved is clean again."""
    await expect(kit.fd("save")).to_be_disabled()
    await kit.fd("name").fill("")
    await kit.fd("save").click()
    await expect(kit.fd("field-error")).to_have_text("Takes 1 to 100 characters")
    await expect(kit.fd("name")).to_be_focused()
    await kit.fd("name").fill("broken")
    await expect(kit.fd("field-error")).to_have_count(0)
    await kit.fd("save").click()
    await expect(kit.fd("form").locator('[data-fd="error"]')).to_contain_text("req_7")
    await kit.fd("name").fill("Jane's")
    await kit.fd("temperature").fill("0.75")
    await kit.fd("origins").fill("https://a.example\n\nhttps://b.example ")
    await kit.fd("plan").select_option(label="Free")
    await kit.fd("open").uncheck()
    await kit.fd("save").click()
    await expect(kit.fd("save")).to_be_disabled()
    await expect(kit.fd("name")).to_have_value("Jane's")
    await kit.fd("name").fill("x")
    await kit.fd("discard").click()
    await expect(kit.fd("name")).to_have_value("Jane's")


async def test_a_text_field_has_the_lines_it_was_given_and_grows(kit: Kit) -> None:
    """Six lines at least, more as more is typed, six again when it is gone."""
    lines = "(e) => (e.clientHeight - 12) / parseFloat(getComputedStyle(e).lineHeight)"
    prompt = kit.fd("prompt")
    assert await prompt.evaluate(lines) == pytest.approx(6, abs=0.2)
    await prompt.fill("\n".join(f"Line {n}" for n in range(1, 11)))
    assert await prompt.evaluate(lines) == pytest.approx(10, abs=0.2)
    await prompt.fill("")
    assert await prompt.evaluate(lines) == pytest.approx(6, abs=0.2)


async def test_a_blocked_button_says_why(kit: Kit) -> None:
    """It can be reached by the keyboard and does nothing; its reason is read aloud."""
    blocked = kit.page.get_by_role("button", name="Blocked")
    await expect(blocked).to_have_accessible_description("Ann has it.")
    await blocked.focus()
    await expect(blocked).to_be_focused()
    await kit.page.keyboard.press("Enter")
    await blocked.dispatch_event("click")
    await expect(kit.page.locator("body")).not_to_contain_text("it was done")


async def test_two_people_change_the_same(kit: Kit) -> None:
    """Theirs is shown beside mine; mine goes on top, and their other change stays."""
    await kit.fd("change-elsewhere").click()
    await kit.fd("name").fill("Bobby's")
    await kit.fd("save").click()
    clash = kit.fd("clash")
    await expect(clash).to_contain_text("Ann changed it two minutes ago.")
    await expect(clash.get_by_role("row", name="Name")).to_contain_text("Robert's")
    await kit.fd("clash-mine").click()
    await expect(kit.fd("name")).to_have_value("Bobby's")
    await expect(kit.fd("color")).to_have_value("#087f5b")
    await kit.fd("save").click()
    await expect(kit.fd("save")).to_be_disabled()


async def test_an_unsaved_page_is_not_left_unasked(kit: Kit) -> None:
    """The link asks first; "no" stays, with what was typed."""
    await kit.fd("name").fill("Bobby's")
    await kit.page.get_by_role("link", name="Back").click()
    await kit.fd("confirm-no").click()
    await expect(kit.fd("name")).to_have_value("Bobby's")


async def test_shortcuts(kit: Kit) -> None:
    """They work outside of fields, sequences too, and `?` lists them."""
    await kit.page.keyboard.press("j")
    await expect(kit.fd("said")).to_have_text("j")
    await kit.page.keyboard.press("g")
    await kit.page.keyboard.press("x")
    await expect(kit.fd("said")).to_have_text("g x")
    await kit.fd("name").fill("")
    await kit.fd("name").press_sequentially("j")
    await expect(kit.fd("said")).to_have_text("g x")
    await kit.fd("name").blur()
    await kit.page.keyboard.press("?")
    await expect(kit.fd("help")).to_contain_text("Say the sequence")


async def test_searching_waits_for_rest(kit: Kit) -> None:
    """The word is told once, when the typing rests."""
    await kit.fd("search").press_sequentially("pizza")
    await expect(kit.fd("searched")).to_have_text("pizza")


async def test_ten_thousand_rows(kit: Kit) -> None:
    """A few dozen are in the document; a new one on top moves nothing for who reads further down."""
    rows = kit.fd("long").locator("[data-n]")
    assert await rows.count() < 60
    await kit.fd("long").evaluate("(e) => { e.scrollTop = 5000 * 32 + 7; }")
    await expect(kit.fd("long").locator('[data-n="5000"]')).to_be_visible()
    top = "(e) => e.querySelector('[data-n=\"5001\"]').getBoundingClientRect().top - e.getBoundingClientRect().top"
    before = await kit.fd("long").evaluate(top)
    await kit.fd("one-more").click()
    await expect(kit.fd("long").locator("[aria-setsize]").first).to_have_attribute("aria-setsize", "10001")
    assert await kit.fd("long").evaluate(top) == before
    await kit.fd("long").evaluate("(e) => { e.scrollTop = 0; }")
    await expect(kit.fd("long").locator('[data-n="-1"]')).to_be_visible()


async def test_tabs_by_keyboard(kit: Kit) -> None:
    """Arrows choose; an empty list says what to do."""
    await kit.fd("tab-all").focus()
    await kit.page.keyboard.press("ArrowLeft")
    await expect(kit.fd("tab-gone")).to_be_focused()
    await expect(kit.fd("empty")).to_contain_text("No client is suspended")
    await kit.page.keyboard.press("Home")
    await expect(kit.fd("tab-all")).to_have_attribute("aria-selected", "true")


async def test_what_breaks_takes_only_itself_with_it(kit: Kit) -> None:
    """The rest of the page works on, and the part can be tried again."""
    kit.window.expect("this part breaks on purpose")
    await kit.fd("break").click()
    await expect(kit.fd("broken")).to_contain_text("this part breaks on purpose")
    await kit.page.keyboard.press("j")
    await expect(kit.fd("said")).to_have_text("j")
    await kit.fd("broken").get_by_role("button").click()
    await expect(kit.fd("break")).to_be_visible()


async def test_json_is_text(kit: Kit) -> None:
    """Markup in a value is shown as it is, and branches fold."""
    await kit.fd("json").get_by_text("{2}").first.click()
    await expect(kit.fd("json")).to_contain_text("<b>not bold</b>")
