"""A visitor's browser. `Window` is a fresh profile that keeps its pages' complaints; `Chat` is the widget on one page.

Elements of the widget are found by their `data-fd` hooks, never by their words or classes. A Window that closes with a
complaint nobody expected fails the test: console errors and warnings, errors of scripts, broken policies, dialogs.
"""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal, cast

from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Dialog,
    Locator,
    Page,
    WebError,
    async_playwright,
    expect,
)

# Milliseconds after which a test gives up waiting for something that takes some hundred.
PATIENCE_MS = 20_000
expect.set_options(timeout=PATIENCE_MS)

# Root in a container has no sandbox; the rest keeps the browser off the network and quick to start.
_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

ColorScheme = Literal["light", "dark"]

# Violations are in the console too, but a report that names the directive is easier to read.
_POLICY_WATCH = """
addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI, sample }) =>
  console.error("policy", violatedDirective, blockedURI, sample));
"""


class Window:
    """A browser profile: its own storage, its own network."""

    def __init__(self, context: BrowserContext) -> None:
        self.context = context
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self._expected: list[re.Pattern[str]] = []
        context.on("console", self._console)
        context.on("weberror", self._error)
        context.on("dialog", self._dialog)
        context.on("request", lambda request: self.requests.append(request.url))

    def expect(self, pattern: str) -> None:
        """Complaints that match belong to the test."""
        self._expected.append(re.compile(pattern))

    @property
    def unexpected(self) -> list[str]:
        return [text for text in self.complaints if not any(each.search(text) for each in self._expected)]

    async def open(self, url: str) -> "Chat":
        """A new tab on a page that has the widget; it is ready to be opened."""
        chat = await self.tab()
        await chat.goto(url)
        return chat

    async def tab(self) -> "Chat":
        """A new tab, still empty."""
        return Chat(await self.context.new_page())

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(f"{message.type}: {message.text} ({message.location['url']})")

    def _error(self, error: WebError) -> None:
        self.complaints.append(f"exception: {error.error.message}")

    async def _dialog(self, dialog: Dialog) -> None:
        self.complaints.append(f"dialog: {dialog.message}")
        await dialog.dismiss()


@asynccontextmanager
async def open_browser(chromium: Path) -> AsyncIterator[Browser]:
    """A running Chromium without a screen."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=_ARGUMENTS)
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def open_window(
    browser: Browser,
    *,
    width: int = 1280,
    height: int = 800,
    color_scheme: ColorScheme = "light",
    phone: bool = False,
    scale: float = 1,
    locale: str = "en-US",
) -> AsyncIterator[Window]:
    """A fresh profile; `width` and `height` in CSS pixels, `scale` in device pixels each."""
    context = await browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme=color_scheme,
        has_touch=phone,
        device_scale_factor=scale,
        locale=locale,
        timezone_id="America/Los_Angeles",  # Portland's
    )
    context.set_default_timeout(PATIENCE_MS)
    await context.add_init_script(_POLICY_WATCH)
    window = Window(context)
    try:
        yield window
    finally:
        await context.close()
    assert not window.unexpected, "\n".join(window.unexpected)


class Chat:
    """The widget in one tab."""

    def __init__(self, page: Page) -> None:
        self.page = page

    async def goto(self, url: str) -> None:
        await self.page.goto(url)
        await self.fd("launcher").or_(self.fd("panel")).first.wait_for()

    def fd(self, hook: str, **data: str) -> Locator:
        """An element of the widget; `data` are more of its data attributes."""
        more = "".join(f'[data-{name}="{value}"]' for name, value in data.items())
        return self.page.locator(f'frontdesk-widget [data-fd="{hook}"]{more}')

    async def open(self) -> None:
        """Opens the panel unless it has opened by itself, as it does on the next page in the same tab."""
        if await self.fd("launcher").get_attribute("aria-expanded") != "true":
            await self.fd("launcher").click()
        await self.settled()

    async def settled(self) -> None:
        """The panel is there, and nothing moves any more but what moves for ever."""
        await expect(self.fd("panel")).to_have_css("opacity", "1")
        await self.still()

    async def still(self) -> None:
        """Every movement that ends soon has ended."""
        await self.page.evaluate(_STILL)

    async def say(self, text: str) -> None:
        """Types a message and sends it by the key."""
        await self.fd("input").fill(text)
        await self.fd("input").press("Enter")

    def user(self) -> Locator:
        """The visitor's messages."""
        return self.fd("message", role="user")

    def answers(self, *, state: str = "sent") -> Locator:
        """The assistant's messages but the welcome."""
        return self.fd("message", role="assistant", state=state).and_(self.page.locator(":not([data-id=welcome])"))

    def text(self, message: Locator) -> Locator:
        """What a message says."""
        return message.locator('[data-fd="text"]')

    async def answered(self, nth: int = 1) -> Locator:
        """The `nth` answer, once it and no other than `nth` are complete."""
        await expect(self.answers()).to_have_count(nth)
        await expect(self.answers(state="streaming")).to_have_count(0)
        return self.answers().nth(nth - 1)

    async def watch_growth(self) -> None:
        """From now on the lengths of the streaming answer's text are kept, at every change."""
        await self.page.evaluate(_WATCH_GROWTH)

    async def growth(self) -> list[int]:
        """The lengths since `watch_growth`, each once."""
        return cast("list[int]", await self.page.evaluate("() => document.documentElement.lengths"))

    async def call(self, *args: Any) -> None:
        """Calls `frontdesk(...)` on the page."""
        await self.page.evaluate("(args) => { window.frontdesk(...args) }", list(args))


# The banner of a lost connection waits two seconds; that is not waited for here.
_STILL = """async () => {
  const { shadowRoot } = document.querySelector("frontdesk-widget");
  const timing = (animation) => animation.effect.getComputedTiming();
  const ends = (animation) => timing(animation).endTime < 1000;
  await Promise.allSettled(shadowRoot.getAnimations().filter(ends).map((each) => each.finished));
}"""

# Kept on an element, because a test looks at the page's globals.
_WATCH_GROWTH = """() => {
  const { shadowRoot } = document.querySelector("frontdesk-widget");
  const lengths = (document.documentElement.lengths = []);
  const look = () => {
    const text = shadowRoot.querySelector('[data-state="streaming"] [data-fd="text"]');
    const length = text?.textContent.length;
    if (length && length !== lengths[lengths.length - 1]) lengths.push(length);
  };
  const all = { subtree: true, childList: true, characterData: true, attributes: true };
  new MutationObserver(look).observe(shadowRoot, all);
}"""
