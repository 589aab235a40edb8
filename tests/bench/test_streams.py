"""Loads on servers: whole answers, each with its times. Nothing is timed here."""

import asyncio

import pytest

from bench import streams, tools, upstream
from bench.direct import StreamSite, StreamVisitor
from bench.rig import Rig
from bench.speakers import FrontdeskSite, Site
from bench.streams import Load, Sample


def once(rig: Rig, site: Site, load: Load) -> Sample:
    world = rig.frontdesk
    return rig.run(streams.measure(site, load, upstream_port=rig.upstream, postgres=world.postgres, redis=world.redis))


@pytest.mark.parametrize("module", ["bench.relay", "bench.relay_openai"])
def test_a_relay_is_measured(rig: Rig, module: str) -> None:
    """Whole answers come through, and each has its times."""
    with rig.relay(module) as site:
        paced = once(rig, site, Load(streams=3, answers=2, tokens=40, rate=200))
        unpaced = once(rig, site, Load(streams=3, answers=1, tokens=40, rate=0))
    assert len(paced.firsts) == 6 and min(paced.firsts) > 0
    # The upstream's clock counts whole milliseconds.
    assert len(paced.delays) == 240 and min(paced.delays) > -0.002
    assert paced.cpu > 0 and unpaced.rate > 0 and unpaced.delays == []


def test_the_upstream_alone(rig: Rig) -> None:
    """What it takes by itself is measured the same way."""
    sample = once(rig, StreamSite(rig.model), Load(streams=2, answers=2, tokens=30, rate=300))
    assert len(sample.firsts) == 4 and len(sample.delays) == 120


def test_frontdesk_is_measured(rig: Rig) -> None:
    """PostgreSQL and Redis have a share of the work, and steps of tools are whole."""
    with rig.serving() as server:
        site = FrontdeskSite(server, rig.frontdesk.public_key)
        sample = once(rig, site, Load(streams=3, answers=2, tokens=40, rate=200))
        with_tools = FrontdeskSite(server, rig.frontdesk.tools_key)
        one = rig.run(tools.steps(with_tools, rig.upstream, [5], visitors=1))
        ten = rig.run(tools.steps(with_tools, rig.upstream, range(10, 101, 10), visitors=1))
    assert len(sample.firsts) == 6 and len(sample.delays) == 240
    assert sample.cpu > 0 and sample.postgres > 0 and sample.redis > 0
    assert [len(step.done) for step in one] == [1] * 5 and [len(step.done) for step in ten] == [10] * 5
    assert all(step.overhead_ms > 0 for step in one)


def test_an_answer_that_is_not_whole_fails_the_run(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures of a server that loses text would be worth nothing."""
    monkeypatch.setattr(upstream, "answer", lambda tokens: ["something else"] * tokens)
    with pytest.raises(RuntimeError, match="arrived with"):
        once(rig, StreamSite(rig.model), Load(streams=1, answers=1, tokens=5, rate=0))


def test_a_token_is_late_by_what_its_piece_is() -> None:
    """From when the upstream's clock has it written to the piece with its last character."""
    first, second, third = (len(token) for token in upstream.answer(3))
    load = Load(streams=1, answers=1, tokens=3, rate=10)
    pieces = [(5.01, first), (5.25, first + second + third)]
    assert list(streams._delays(pieces, 5.0, load)) == pytest.approx([0.01, 0.15, 0.05])


async def test_a_visitor_whose_connection_ends_hears_of_it() -> None:
    """It does not wait for good."""

    async def gone(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(gone, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        _, visitor = await asyncio.get_running_loop().create_connection(
            lambda: StreamVisitor("m", "k"), "127.0.0.1", port
        )
        with pytest.raises(ConnectionError):
            async with asyncio.timeout(10):
                await visitor.ask("hello")
