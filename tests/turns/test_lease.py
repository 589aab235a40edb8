"""What an instance knows of its leases without asking."""

import asyncio
import time

import pytest

from server.errors import FenceLost, Unavailable
from server.turns import lease
from server.turns.clock import Clock
from server.turns.lease import LEASE_S, MARGIN_S, Lease, patiently
from tests.support import eventually

AWAY = Unavailable("postgres", "away")


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries follow each other at once."""
    monkeypatch.setattr(lease, "RETRY_S", 0.0)


async def test_it_holds_until_its_margin() -> None:
    """Counted from when it was asked for, not from when the answer came; and never to its very end."""
    now = time.monotonic()
    assert Lease().holds
    assert Lease(now - LEASE_S + MARGIN_S + 1.0).holds
    assert not Lease(now - LEASE_S + MARGIN_S).holds


async def test_in_doubt_until_it_is_renewed() -> None:
    """Whoever waits goes on with the renewal, and not before."""
    held = Lease()
    await asyncio.wait_for(held.again(), 1)
    held.doubt()
    assert not held.holds
    waiting = asyncio.create_task(held.again())
    await asyncio.sleep(0)
    # One that was asked for too long ago is none.
    held.renew(time.monotonic() - LEASE_S)
    await asyncio.sleep(0)
    assert not waiting.done()
    held.renew(time.monotonic())
    await asyncio.wait_for(waiting, 1)
    assert held.holds


async def test_what_fails_is_tried_again_with_the_lease() -> None:
    """While the lease is in doubt nothing is tried and the turn's clock stands still."""
    held, tries = Lease(), 0

    async def work() -> str:
        nonlocal tries
        tries += 1
        if tries == 1:
            held.doubt()
            raise AWAY
        return "done"

    async with asyncio.timeout(100) as timeout:
        clock = Clock(timeout)
        task = asyncio.create_task(patiently(held, work, clock=clock))
        await eventually(lambda: paused(timeout), "the turn waits")
        assert tries == 1
        held.renew(time.monotonic())
        assert await task == "done"
        assert timeout.when() is not None and clock.left() > 99


async def paused(running: asyncio.Timeout) -> bool:
    return running.when() is None


async def test_a_database_that_is_there_and_refuses() -> None:
    """After so many tries under a good lease the turn is left to its next owner."""
    tries = 0

    async def work() -> None:
        nonlocal tries
        tries += 1
        raise AWAY

    with pytest.raises(FenceLost):
        await patiently(Lease(), work)
    assert tries == lease.TRIES


async def test_only_postgres_is_waited_for() -> None:
    """Whatever else is not there is told at once."""

    async def work() -> None:
        raise Unavailable("redis", "away")

    with pytest.raises(Unavailable):
        await patiently(Lease(), work)
