"""Fan-out is measured: operators see what the visitor sees, and a run in which they do not ends. Nothing is timed."""

import msgspec
import pytest

from bench import fanout
from bench.fanout import Plan, Watch
from bench.operators import Operator, open_office
from bench.report import OURS
from bench.rig import Rig
from bench.servers import Process
from bench.tab import Tab, TabSite


def delta(n: int, text: str) -> bytes:
    """A visitor's frame."""
    return msgspec.json.encode({"type": "message.delta", "n": n, "text": text})


def end(text: str) -> bytes:
    """The last one."""
    return msgspec.json.encode({"type": "message.completed", "message": {"text": text}})


async def reader(*frames: tuple[float, bytes]) -> Operator:
    """An operator to whom these came."""
    operator = Operator()
    operator.frames = list(frames)
    return operator


def test_the_section(rig: Rig) -> None:
    """Two instances, one operator alone at each, then four: five figures for each number, and two curves."""
    section = fanout.measured(rig, Plan(operators=(1, 4), tokens=20, rounds=1))
    assert [row.name for row in section.rows if row.unit == "us"] == [
        "1 operator, CPU a delivered frame",
        "4 operators, CPU a delivered frame",
    ]
    delays = {row.name: row.figures[OURS] for row in section.rows if row.unit == "ms"}
    assert len(delays) == 8
    assert all(figure.least >= 0 for figure in delays.values())
    # Redis is between.
    assert delays["1 operator, other instance, p50"].median > 0
    for curve in section.curves:
        assert all([point.x for point in points] == [1, 4] for points in curve.series.values())
    assert list(section.curves[1].series) == ["both instances", "same instance", "other instance"]


def test_an_operator_who_may_not_watch_ends_the_run(rig: Rig) -> None:
    """What the server says is passed on."""

    async def watch(process: Process) -> None:
        async with open_office(rig.frontdesk.environ, rig.frontdesk.public_key) as office:
            operator = await office.operator(process)
            # Somebody else's client.
            tab = await TabSite(process, rig.frontdesk.tools_key).visit()
            with pytest.raises(RuntimeError, match="an operator was refused: not_found"):
                await operator.watch(tab.welcome.conversation_id)
            tab.close()
            operator.close()

    with rig.serving() as process:
        rig.run(watch(process))


def test_who_watches() -> None:
    """Halves; the odd one is with the visitor; one alone is at either instance."""
    assert fanout.watches((1, 10, 5)) == [Watch(0, 0), Watch(1, 0), Watch(0, 1), Watch(5, 5), Watch(3, 2)]
    assert fanout.watches((10,)) == [Watch(0, 0), Watch(5, 5)]


def test_an_answer_that_an_operator_did_not_see_ends_the_run() -> None:
    """The deltas are its beginning, since its end comes with the whole of it; nothing may be missing between."""
    right = [(1.0, delta(1, "Open ")), (2.0, delta(2, "at ")), (3.0, end("Open at seven."))]
    fanout.check(right, "Open at seven.")
    for wrong in (right[1:], right[:2], [right[0], right[2], right[2]], [right[0], (2.0, end("Open at eight."))]):
        with pytest.raises(RuntimeError, match="of an answer of 14"):
            fanout.check(wrong, "Open at seven.")


async def test_delays() -> None:
    """From the first reader on, who may be the visitor or not; other frames than deltas have none."""
    tab = Tab()
    tab.frames = [(1.0, delta(1, "a")), (2.5, delta(2, "b")), (2.6, end("ab"))]
    same = await reader((1.25, delta(1, "a")), (2.0, delta(2, "b")))
    other = await reader((1.5, delta(1, "a")), (3.0, delta(2, "b")))
    assert fanout.delays(tab, [same], [other]) == ([0, 500], [250, 0], [500, 1000])
    with pytest.raises(RuntimeError, match="other frames than the visitor"):
        fanout.delays(tab, [await reader((1.0, delta(1, "a")), (2.0, delta(2, "c")))], [])
