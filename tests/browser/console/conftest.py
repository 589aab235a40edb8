"""The console's own fixtures; the browser and its windows are those of the folder above."""

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser

from tests.browser.console.support import Tab, open_console, open_tab
from tests.flows.fixtures import desk
from tests.flows.support import Desk

__all__ = ["desk"]


@pytest.fixture
async def tab(browser: Browser, desk: Desk) -> AsyncIterator[Tab]:
    """A browser that nobody has signed in with yet."""
    async with open_tab(browser, desk) as tab:
        yield tab


@pytest.fixture
async def console(browser: Browser, desk: Desk) -> AsyncIterator[Tab]:
    """The owner's browser, signed in."""
    async with open_console(browser, desk) as console:
        yield console
