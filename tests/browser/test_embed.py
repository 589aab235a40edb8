"""The widget on a customer's own page: its script tag, its JavaScript, and what it leaves alone."""

from typing import Any

from playwright.async_api import expect

from tests.browser.site import Site
from tests.browser.window import Chat, Window

# The stub of the documentation, with calls made before the script has loaded.
STUB = """<script>
  window.frontdesk = window.frontdesk || function () { (frontdesk.q = frontdesk.q || []).push(arguments) };
  document.documentElement.heard = [];
  for (const event of ["ready", "open", "close", "message", "unread", "handoff", "error"]) {
    frontdesk("on", event, (detail) => document.documentElement.heard.push([event, detail]));
  }
  frontdesk("update", { title: "The Oven", suggestions: ["Only this?"] });
  frontdesk("open", { message: "I was here before the script" });
</script>"""


async def heard(chat: Chat) -> list[list[Any]]:
    """Events so far as [name, detail]."""
    found: list[list[Any]] = await chat.page.evaluate("() => document.documentElement.heard")
    return found


async def test_calls_made_before_the_script_has_loaded_are_kept(site: Site, window: Window) -> None:
    """The queue's listeners hear `ready`, its changes show, and the panel opens with the given words."""
    chat = await window.open(site.website.put("/", site.page(STUB)))
    await chat.settled()
    await expect(chat.fd("input")).to_have_value("I was here before the script")
    await expect(chat.fd("suggestion")).to_have_text(["Only this?"])
    await expect(chat.fd("panel")).to_have_attribute("aria-label", "The Oven")
    assert [name for name, _ in await heard(chat)] == ["ready", "open"]


async def test_the_javascript_does_what_the_documentation_says(site: Site, window: Window) -> None:
    """open, close, toggle, send, update, reset, destroy; message events; a late `ready` listener; off."""
    chat = await window.open(site.website.put("/", site.page(STUB)))
    await chat.settled()
    await chat.call("close")
    await expect(chat.fd("launcher")).to_have_attribute("aria-expanded", "false")
    await chat.call("toggle")
    await expect(chat.fd("launcher")).to_have_attribute("aria-expanded", "true")
    await chat.call("send", "  From code  ")
    await expect(chat.text(chat.user())).to_have_text("From code")
    await expect(chat.text(await chat.answered())).to_have_text("You said: From code")
    said = [(detail["role"], detail["text"]) for name, detail in await heard(chat) if name == "message"]
    assert said == [("user", "From code"), ("assistant", "You said: From code")]

    await chat.page.evaluate(
        """() => {
          const root = document.documentElement;
          const gone = () => root.heard.push(["gone", null]);
          frontdesk("on", "ready", (detail) => root.heard.push(["late", detail]));
          frontdesk("on", "close", gone);
          frontdesk("off", "close", gone);
        }"""
    )
    assert (await heard(chat))[-1] == ["late", {"key": site.keys["pizza"]}]
    await chat.call(
        "update", {"position": "left", "locale": "de", "theme": "dark", "colors": {"primary_dark": "#00ff88"}}
    )
    await expect(chat.fd("input")).to_have_attribute("placeholder", "Nachricht schreiben…")
    await expect(chat.fd("launcher")).to_have_css("left", "20px")
    await expect(chat.fd("launcher")).to_have_css("background-color", "rgb(0, 255, 136)")
    await chat.call("reset")
    await expect(chat.user()).to_have_count(0)
    await chat.call("close")
    assert [name for name, _ in await heard(chat)].count("gone") == 0

    await chat.call("destroy")
    await expect(chat.page.locator("frontdesk-widget")).to_have_count(0)
    assert await chat.page.evaluate("() => 'frontdesk' in window") is False


async def test_wrong_calls_warn_and_never_throw(site: Site, window: Window) -> None:
    """An unknown call, a wrong argument and a listener that throws leave a warning; the chat goes on."""
    window.expect(r"^warning: \[frontdesk\]")
    chat = await window.open(site.website.put("/", site.page(STUB)))
    await chat.settled()
    await chat.call("dance")
    await chat.call("send", "   ")
    await chat.call("send", "x" * 5001)
    await chat.call("identify", 5)
    await chat.call("on", "nothing", "no function")
    await chat.page.evaluate("""() => { frontdesk("on", "close", () => { throw new Error("the page's own") }) }""")
    await chat.call("close")
    await chat.call("open")
    assert len(window.complaints) == 6 and all("[frontdesk]" in each for each in window.complaints), window.complaints
    await chat.call("send", "Still here?")
    await chat.answered()


async def test_a_jwt_is_passed_on_and_not_believed(site: Site, window: Window) -> None:
    """`identify` reaches the server, which has no secret of this client to check it with; the chat goes on."""
    chat = await window.open(site.website.put("/", site.page(STUB)))
    await chat.settled()
    await chat.call("send", "One")
    await chat.answered()
    await chat.call("identify", "eyJhbGciOiJIUzI1NiJ9.e30.x")
    await chat.page.wait_for_function("() => document.documentElement.heard.some(([name]) => name === 'error')")
    [error] = [detail for name, detail in await heard(chat) if name == "error"]
    assert error["code"] == "identity_off"
    await chat.call("send", "Two")
    await chat.answered(2)


async def test_elements_of_the_page_open_it(site: Site, window: Window) -> None:
    """Anything with `data-frontdesk-open` opens the panel, with its words, and gets the focus back."""
    body = '<a id="plain" href="/elsewhere" data-frontdesk-open>Chat</a>'
    body += '<button id="asks" data-frontdesk-open="Do you have a table?"><b>Book</b></button>'
    chat = await window.open(site.website.put("/", site.page(body=body)))
    await chat.page.locator("#plain").click()
    await chat.settled()
    await expect(chat.fd("input")).to_be_focused()
    await chat.page.keyboard.press("Escape")
    await expect(chat.page.locator("#plain")).to_be_focused()
    await chat.page.locator("#asks b").click()
    await expect(chat.fd("input")).to_have_value("Do you have a table?")
    assert chat.page.url == site.website.url + "/"


async def test_attributes_of_the_tag(site: Site, window: Window) -> None:
    """data-open opens it at once, data-position puts it left, data-locale speaks that language and its direction."""
    attributes = 'data-open data-position="left" data-locale="he"'
    chat = await window.open(site.website.put("/", site.page(attributes=attributes)))
    await chat.settled()
    await expect(chat.fd("launcher")).to_have_css("left", "20px")
    box = await chat.fd("panel").bounding_box()
    assert box is not None and box["x"] == 20
    await expect(chat.fd("input")).to_have_attribute("placeholder", "כתבו הודעה…")
    await expect(chat.fd("panel")).to_have_css("direction", "rtl")
    await chat.say("שלום")
    mine = await chat.text(chat.user()).bounding_box()
    theirs = await chat.text(await chat.answered()).bounding_box()
    assert mine and theirs and mine["x"] < theirs["x"], (
        "one's own messages stand on the left where one reads from the right"
    )


async def test_inline_it_lies_in_the_page(site: Site, window: Window) -> None:
    """data-mode inline fills its target without a launcher, and costs no connection until somebody touches it."""
    body = '<h1>Contact</h1><div id="chat" style="width: 500px; height: 420px"></div><p id="below">Below</p>'
    chat = await window.open(
        site.website.put("/", site.page(body=body, attributes='data-mode="inline" data-target="#chat"'))
    )
    await expect(chat.fd("launcher")).to_have_count(0)
    assert await chat.fd("panel").bounding_box() == await chat.page.locator("#chat").bounding_box()
    await expect(chat.fd("panel")).to_have_attribute("role", "region")
    await expect(chat.fd("close")).to_have_count(0)
    assert await site.rows("select count(*) from conversations") == [(0,)]
    await chat.say("Hello from the page")
    await expect(chat.text(await chat.answered())).to_have_text("You said: Hello from the page")


async def test_a_tag_that_cannot_work_says_why(site: Site, window: Window) -> None:
    """A wrong key leaves a warning in the console and nothing on the page."""
    window.expect(r"\[frontdesk\]|status of 401")
    tag = f'<script async src="{site.url}/widget.js" data-client-key="pk_nobody"></script>'
    chat = await window.tab()
    async with chat.page.expect_console_message(lambda message: "[frontdesk]" in message.text):
        await chat.page.goto(site.website.put("/", site.page(tag, script=False)))
    await expect(chat.page.locator("frontdesk-widget")).to_have_count(0)


async def test_a_website_that_is_not_the_clients_gets_no_conversation(site: Site, window: Window) -> None:
    """The key copied onto a foreign page: the widget shows, but its socket and its HTTP calls are refused."""
    window.expect(r"WebSocket connection|status of 403")
    await site.rows(
        "update clients set allowed_origins = array[%s] where public_key = %s", site.url, site.keys["pizza"]
    )
    chat = await window.open(site.website.put("/", site.page()))
    await chat.open()
    await expect(chat.fd("over")).to_be_visible()
    assert await site.rows("select count(*) from conversations") == [(0,)]


# Everything that a page can see of itself: names of globals, markup without the widget, styles of every element.
_PAGE_STATE = """() => ({
  globals: Object.getOwnPropertyNames(window).filter((name) => name !== "frontdesk"),
  html: (() => {
    const copy = document.documentElement.cloneNode(true);
    for (const each of copy.querySelectorAll("frontdesk-widget, script")) each.remove();
    return copy.outerHTML;
  })(),
  styles: [...document.querySelectorAll("*:not(frontdesk-widget, script)")].map((element) =>
    [...getComputedStyle(element)].map((p) => p + ":" + getComputedStyle(element).getPropertyValue(p)).join(";")),
  prototypes: [Element, HTMLElement, Array, String, Object, Promise].map((each) =>
    Object.getOwnPropertyNames(each.prototype)),
  scroll: [scrollX, scrollY, document.documentElement.scrollHeight],
})"""

# Rules as some pages have them, against everything there is.
_RUDE = """<style>
  * { color: rgb(255, 0, 0) !important; font: 40px monospace !important; letter-spacing: 9px }
  * { box-sizing: content-box !important }
  div, section, button, p { display: none !important; transform: rotate(9deg) }
  frontdesk-widget { display: none; position: absolute; left: -9999px; opacity: 0; direction: rtl; filter: blur(9px) }
  body { margin: 3px; transform: none }
  main { display: block; height: 3000px }
</style>"""


async def test_the_page_around_it_is_left_as_it_was(site: Site, window: Window) -> None:
    """Globals, markup, prototypes and the style of every element of the page are the same with the widget in use."""
    body = '<main id="main"><h1>A page</h1><form><input name="q"></form><table><tr><td>1</table></main>'
    url = site.website.put("/", site.page("<style>h1 { color: teal }</style>", body, script=False))
    chat = await window.tab()
    await chat.page.goto(url)
    before = await chat.page.evaluate(_PAGE_STATE)
    await chat.page.evaluate(
        """([src, key]) => {
          const script = document.createElement("script");
          script.src = src;
          script.dataset.clientKey = key;
          document.head.append(script);
        }""",
        [f"{site.url}/widget.js", site.keys["pizza"]],
    )
    await chat.open()
    await chat.say("Hello?")
    await chat.answered()
    assert await chat.page.evaluate(_PAGE_STATE) == before
    await chat.fd("close").click()
    await chat.call("destroy")
    assert await chat.page.evaluate(_PAGE_STATE) == before
    assert await chat.page.evaluate("() => 'frontdesk' in window") is False


async def test_rude_styles_of_the_page_do_not_reach_it(site: Site, window: Window) -> None:
    """A page whose rules hide and repaint everything does not change the widget."""
    looks = []
    for path, head in (("/polite", ""), ("/rude", _RUDE)):
        chat = await window.open(site.website.put(path, site.page(head, "<main>Text</main>")))
        await chat.open()
        await expect(chat.fd("suggestion").first).to_be_visible()
        await chat.still()
        looks.append(
            [
                await chat.fd(hook).evaluate(
                    """(e) => {
                      const { color, font, letterSpacing, direction, transform, filter } = getComputedStyle(e);
                      const place = JSON.stringify(e.getBoundingClientRect());
                      return [place, color, font, letterSpacing, direction, transform, filter];
                    }"""
                )
                for hook in ("launcher", "panel", "input", "text", "status")
            ]
        )
        await chat.page.close()
    assert looks[0] == looks[1]


async def test_keys_pressed_in_the_chat_are_no_shortcuts_of_the_page(site: Site, window: Window) -> None:
    """A page that listens for keys does not hear what is typed into the chat."""
    chat = await window.open(site.website.put("/", site.page(body="<main>Text</main>")))
    await chat.page.evaluate(
        """() => {
          document.documentElement.keys = [];
          for (const kind of ["keydown", "keypress", "keyup"])
            addEventListener(kind, (event) => document.documentElement.keys.push(event.key));
        }"""
    )
    await chat.open()
    await chat.page.keyboard.type("search?")
    await expect(chat.fd("input")).to_have_value("search?")
    assert await chat.page.evaluate("() => document.documentElement.keys") == []


async def test_the_strictest_policy_is_kept(site: Site, window: Window) -> None:
    """With a nonce, no styles and trusted types the widget loads, is styled and answers, without a violation."""
    policy = (
        f"default-src 'none'; script-src 'nonce-r4nd0m'; connect-src {site.url} {site.url.replace('http', 'ws')}; "
        f"img-src {site.url}; base-uri 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )
    page = site.page(attributes='nonce="r4nd0m"', body="<main>Text</main>")
    chat = await window.open(site.website.put("/", page, {"content-security-policy": policy}))
    await chat.open()
    await expect(chat.fd("panel")).to_have_css("position", "fixed")
    await expect(chat.fd("launcher")).to_have_css("background-color", "rgb(194, 45, 27)")
    await chat.say("Is **this** strict?")
    await expect(chat.text(await chat.answered()).locator("strong")).to_have_text("this")
