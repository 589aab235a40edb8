"""What the benchmark's tests share."""

from collections.abc import Iterator

import pytest

from bench.rig import Rig, open_rig
from bench.servers import split_cores


@pytest.fixture(scope="package")
def rig() -> Iterator[Rig]:
    """A whole one, for quick runs; this process keeps all of its cores."""
    with open_rig(split_cores(), quick=True) as opened:
        yield opened
