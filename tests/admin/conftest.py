"""The fixtures over real sockets, and a console that is signed in."""

from collections.abc import AsyncIterator

import pytest

from tests.admin.console import Console
from tests.flows.fixtures import desk, two
from tests.flows.support import Desk
from tests.staffing import hire
from tests.turns.toolkit import webhook

__all__ = ["console", "desk", "two", "webhook"]


@pytest.fixture
async def console(desk: Desk) -> AsyncIterator[Console]:
    """The owner's browser, signed in."""
    async with Console.of(desk.url) as console:
        await console.sign_in(await hire(desk.pool, desk.keyring))
        yield console
