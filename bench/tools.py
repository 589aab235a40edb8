"""What a step of tools costs besides its tools: Frontdesk alone, the relays know none.

The visitor's words make the model call tools, whose webhook is the upstream too, so that all times are of one clock. In
between Frontdesk does all that it always does: it checks the arguments, commits the model's decision and the start of
each call, opens the sealed secret, signs the request and its callback address, sends it through the egress wall (which
allows 127.0.0.1/32 here), commits each end and its event, shows both to the visitor, and asks the model again. Results
that are not word for word what the webhook answered, a call that is missing and one that came twice end the run.

- One tool of 20 ms: from the last byte of the model's call to the last byte of the next request that the model reads,
  less the webhook's own time. 40 questions a round, one at a time, 20 ms apart.
- Ten calls at once, whose webhooks take 30, 60 ... 300 ms: the step's time over that of its slowest call.
"""

import asyncio
from collections.abc import Sequence
from statistics import median

from bench import tool_step, upstream
from bench.report import OURS, Figure, Goal, Row, Section
from bench.rig import Rig
from bench.speakers import FrontdeskSite, Site
from bench.tool_step import Step

# Milliseconds that a webhook takes: one that is asked alone, and ten that are asked at once.
_ONE = (20,)
_TEN = tuple(range(30, 301, 30))
# Seconds between two questions of one visitor: reading takes longer, but not shorter.
_PAUSE_S = 0.02
_QUESTIONS = 5


def section(rig: Rig) -> Section:
    """Raises RuntimeError when a step did not go as it should."""
    one_tool, ten_tools = (4, 1) if rig.quick else (8, 2)
    overheads: list[list[float]] = []
    tens: list[list[float]] = []
    with rig.serving() as server:
        site = FrontdeskSite(server, rig.frontdesk.tools_key)
        rig.run(steps(site, rig.upstream, _ONE, visitors=4))  # warm
        for number in range(rig.rounds):
            rig.say(f"tools: round {number + 1} of {rig.rounds}")
            one = rig.run(steps(site, rig.upstream, _ONE, visitors=one_tool))
            ten = rig.run(steps(site, rig.upstream, _TEN, visitors=ten_tools))
            overheads.append([step.overhead_ms for step in one])
            tens.append([step.times_slowest for step in ten])
    rows = [
        Row("overhead of a step of one tool, p50", "ms", {OURS: _p50(overheads)}, (Goal(5),)),
        Row("ten tools in a step, p50", "x slowest", {OURS: _p50(tens)}, (Goal(1.1),), decimals=2),
    ]
    return Section("A step of tools", rows)


def _p50(rounds: list[list[float]]) -> Figure:
    return Figure.over([median(each) for each in rounds], median(value for each in rounds for value in each))


async def steps(site: Site, port: int, waits_ms: Sequence[int], *, visitors: int) -> list[Step]:
    """Questions that make the model use a tool for each of the waits at once, one question at a time.

    The site's client has the tools; `port` is the upstream's. Raises RuntimeError when a step went wrong.
    """
    before = len(tool_step.steps(port))
    expected = "".join(upstream.answer(upstream.AFTER_TOOLS))
    for _ in range(visitors):
        visitor = await site.visit()
        for _ in range(_QUESTIONS):
            await asyncio.sleep(_PAUSE_S)
            answered = await visitor.ask(tool_step.question(waits_ms))
            if answered.text != expected:
                raise RuntimeError(f"an answer of {len(expected)} characters arrived with {len(answered.text)}")
        visitor.close()
    done = tool_step.steps(port)[before:]
    if len(done) != visitors * _QUESTIONS:
        raise RuntimeError(f"{visitors * _QUESTIONS} answers took {len(done)} steps of tools")
    for step in done:
        step.check()
    return done
