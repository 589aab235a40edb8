"""One Chromium a worker, a fresh profile a test, a whole Frontdesk with its demo shops."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from playwright.async_api import Browser

from server.settings import LlmSettings, Settings
from tests.browser.site import Site, open_site
from tests.browser.window import Window, open_browser, open_window


@pytest.fixture(scope="session")
async def browser(chromium: Path) -> AsyncIterator[Browser]:
    """The worker's Chromium."""
    async with open_browser(chromium) as browser:
        yield browser


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Of an instance with demo shops that asks `model`, which the test may script."""
    return msgspec.structs.replace(settings, demo=True)


@pytest.fixture
async def site(settings: Settings) -> AsyncIterator[Site]:
    """Demo shops answered by `model`."""
    async with open_site(settings) as site:
        yield site


@pytest.fixture
async def demo_site(settings: Settings) -> AsyncIterator[Site]:
    """Demo shops answered by the demo model, as `frontdesk dev` is without any key."""
    async with open_site(msgspec.structs.replace(settings, llm=LlmSettings(provider="demo"))) as site:
        yield site


@pytest.fixture
async def window(browser: Browser) -> AsyncIterator[Window]:
    """A desktop's browser window, 1280 by 800."""
    async with open_window(browser) as window:
        yield window


@pytest.fixture
async def phone(browser: Browser) -> AsyncIterator[Window]:
    """A phone's browser, 390 by 844."""
    async with open_window(browser, width=390, height=844, phone=True) as window:
        yield window
