"""The console in a real browser. `Tab` is one tab of it; elements are found by their `data-fd` hooks, not by words."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Locator, Page, expect

from server.repositories.operators import Operator
from tests.browser.measure import nameless, overflows, poor_contrast
from tests.browser.window import Window, open_window
from tests.flows.support import Desk
from tests.staffing import PASSWORD, hire

PICTURES = Path(__file__).parents[2] / "output" / "screenshots" / "console"
# A browser writes every 401 into its console. The first request of a page that is not signed in is one.
NOT_SIGNED_IN = r"status of 401 .*/api/v1/admin/me"


class Tab:
    """The console in one tab of a window."""

    def __init__(self, page: Page, desk: Desk, window: Window) -> None:
        self.page = page
        self.desk = desk
        self.window = window

    def fd(self, hook: str, **data: str) -> Locator:
        """An element by its hook; `data` are more of its data attributes."""
        more = "".join(f'[data-{name}="{value}"]' for name, value in data.items())
        return self.page.locator(f'[data-fd="{hook}"]{more}')

    @property
    def path(self) -> str:
        """Where it is, below `/admin`, with its query."""
        return self.page.url.removeprefix(f"{self.desk.url}/admin")

    async def goto(self, path: str = "/") -> None:
        """Loads the console at an address below `/admin`."""
        await self.page.goto(f"{self.desk.url}/admin{path}")
        await self.fd("frame").or_(self.fd("sign-in-page")).or_(self.fd("link-page")).first.wait_for()

    async def sign_in(self, operator: Operator, password: str = PASSWORD) -> None:
        """Through the page that is shown; ends when the frame shows."""
        await self.try_to_sign_in(operator.email, password)
        await expect(self.fd("sign-in-page")).to_have_count(0)
        await self.fd("frame").wait_for()

    async def try_to_sign_in(self, email: str, password: str) -> None:
        """Types and sends; what comes of it is the test's to see."""
        await self.fd("email").fill(email)
        await self.fd("password").fill(password)
        await self.fd("sign-in-submit").click()

    async def still(self) -> None:
        """Every movement that ends soon has ended."""
        await self.page.evaluate(_STILL)

    async def picture(self, name: str, *, full: bool = True) -> None:
        """Takes a picture of the page into tests/output/screenshots/console/."""
        PICTURES.mkdir(parents=True, exist_ok=True)
        await self.still()
        await self.page.screenshot(path=PICTURES / f"{name}.png", full_page=full, animations="disabled")

    async def faults(self) -> list[str]:
        """What is wrong to look at: texts that cannot be read, what sticks out, controls without a name."""
        await self.still()
        found = {
            "unreadable": await poor_contrast(self.page),
            "too wide": await overflows(self.page),
            "without a name": await nameless(self.page),
        }
        return [f"{what}: {each}" for what, all_ in found.items() for each in all_]


_STILL = """async () => {
  const ends = (animation) => animation.effect.getComputedTiming().endTime < 1000;
  await Promise.allSettled(document.getAnimations().filter(ends).map((each) => each.finished));
}"""


@asynccontextmanager
async def open_tab(browser: Browser, desk: Desk, **options: Any) -> AsyncIterator[Tab]:
    """A fresh browser profile with an empty tab; `options` are those of `open_window`."""
    async with open_window(browser, **options) as window:
        window.expect(NOT_SIGNED_IN)
        yield Tab(await window.context.new_page(), desk, window)


@asynccontextmanager
async def open_console(
    browser: Browser, desk: Desk, operator: Operator | None = None, *, path: str = "/", **options: Any
) -> AsyncIterator[Tab]:
    """Somebody's console, signed in through its page: an owner's unless told."""
    who = operator or await hire(desk.pool, desk.keyring)
    async with open_tab(browser, desk, **options) as tab:
        await tab.goto(path)
        await tab.sign_in(who)
        yield tab
