"""Pages of a client in the console: their fields by the API's names, saving, and the preview of the looks."""

from playwright.async_api import FrameLocator, Locator, Page, expect

from tests.browser.console.support import Tab
from tests.flows.support import Desk, Shop

WIDGET = "frontdesk-widget"


def field(tab: Tab, name: str) -> Locator:
    """An input by the name that the API has for it."""
    return tab.page.locator(f'[name="{name}"]:not([type=radio])')


def wrong(tab: Tab, name: str) -> Locator:
    """What is said at a field."""
    return tab.page.locator(".field", has=field(tab, name)).locator('[data-fd="field-error"]')


def rows(tab: Tab, label: str) -> Locator:
    return tab.page.locator(f'table[aria-label="{label}"] tbody tr')


async def save(tab: Tab) -> None:
    """Saves, and ends when nothing is unsaved."""
    await tab.fd("save").click()
    await expect(tab.fd("save-bar").get_by_role("status")).to_have_text("")
    await expect(tab.fd("discard")).to_have_count(0)
    await expect(tab.fd("save")).to_be_disabled()


async def read(desk: Desk, shop: Shop) -> dict[str, object]:
    """A client's row."""
    [(row,)] = await desk.rows("select to_jsonb(c) from clients c where id = %s", shop.id)
    assert isinstance(row, dict)
    return row


def preview(tab: Tab) -> FrameLocator:
    return tab.page.frame_locator('[data-fd="preview-frame"]')


def part(tab: Tab, hook: str) -> Locator:
    """A part of the widget in the preview."""
    return preview(tab).locator(f'{WIDGET} [data-fd="{hook}"]')


async def choose(tab: Tab, hook: str, nth: int) -> None:
    """One of a few radio buttons."""
    await tab.fd(hook).locator("input").nth(nth).check()


async def save_quietly(tab: Tab) -> None:
    """Saves where the bar is there only while something is unsaved."""
    await tab.fd("save").click()
    await expect(tab.fd("save-bar")).to_have_count(0)


async def opened(page: Page) -> None:
    """The preview has drawn itself."""
    await page.frame_locator('[data-fd="preview-frame"]').locator(f'{WIDGET} [data-fd="panel"]').wait_for()
