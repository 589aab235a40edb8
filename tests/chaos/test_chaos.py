"""Every row of the rig at its small size: promises are asserted, times are not."""

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.chaos.forks import ForkServer
from tests.chaos.rows import ROWS
from tests.chaos.table import Row
from tests.chaos.world import Services, World

# One seed, so that a failure repeats; `make chaos` takes another one each time.
SEED = 4


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that PostgreSQL's own user may enter."""
    with tempfile.TemporaryDirectory(prefix="frontdesk-chaos-") as name:
        Path(name).chmod(0o711)
        yield Path(name)


@pytest.fixture
async def world(postgres_url: str, template_database: str, place: Path) -> AsyncIterator[World]:
    """A small one, on the run's PostgreSQL."""
    forks = ForkServer()
    try:
        yield World(SEED, "small", Services(postgres_url, template_database, place), forks)
    finally:
        await forks.stop()


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
async def test_row(row: Row, world: World) -> None:
    """No promise is broken, and as much was tried as the row says."""
    figures = await row.run(world)
    promises = [figure for figure in figures if figure.promise]
    assert promises, "a row promises something"
    assert not [figure for figure in promises if not figure.reached], figures
