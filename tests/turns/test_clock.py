"""A turn's time stands still while a visitor decides."""

import asyncio

import pytest

from server.turns.clock import ANSWER_S, Clock


async def test_time_runs_out() -> None:
    """What is left goes down to 0; tools get less, and at least a second."""
    async with asyncio.timeout(100.0) as timeout:
        await asyncio.sleep(0)
        clock = Clock(timeout)
        assert 99.0 < clock.left() <= 100.0
        assert clock.for_tools() == pytest.approx(clock.left() - ANSWER_S, abs=0.1)
        timeout.reschedule(asyncio.get_running_loop().time() + 3.0)
        assert clock.for_tools() == 1.0


async def test_a_pause_gives_the_time_back() -> None:
    """Two pauses that overlap count once, and only the last to end lets the time go on."""
    async with asyncio.timeout(50.0) as timeout:
        clock = Clock(timeout)
        before = clock.left()
        with clock.paused():
            assert timeout.when() is None
            with clock.paused():
                await asyncio.sleep(0)
            assert timeout.when() is None
            assert clock.left() == pytest.approx(before, abs=0.1)
        assert clock.left() == pytest.approx(before, abs=0.1)
        assert timeout.when() is not None


async def test_a_turn_that_is_cancelled_while_paused_stays_cancelled() -> None:
    """The pause ends with it, and brings no timeout back to life."""

    async def turn() -> None:
        async with asyncio.timeout(50.0) as timeout:
            with Clock(timeout).paused():
                await asyncio.Event().wait()

    task = asyncio.create_task(turn())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
