"""The one way out, as `frontdesk dev` has it."""

from collections.abc import AsyncIterator

import pytest

from server.net.egress import Egress
from tests.net.weather import LOOPBACK, local


@pytest.fixture
async def egress() -> AsyncIterator[Egress]:
    """Allowed to call this machine."""
    egress = Egress(LOOPBACK, lookup=local)
    yield egress
    await egress.close()
