"""`make bench`: Frontdesk beside a bare relay, in one run, each alone on one core. `README.md` says how to read it."""

import argparse
import asyncio
import os
import platform
import resource
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import msgspec
import uvloop

from bench import measure
from bench.measure import Load
from bench.report import Figure, Report, Row, percentile, table
from bench.servers import Cores, Process, free_port, process, split_cores
from bench.speakers import FrontdeskSite, RelaySite, Site
from bench.world import Frontdesk, frontdesk_world, serving

OUTPUT = Path(__file__).parent / "output"


class Plan(msgspec.Struct, frozen=True):
    """How much is measured. First tokens: `visitors` ask `questions` each, a round. Steps of one tool: `one_tool`
    visitors ask as many; of ten tools: `ten_tools` visitors."""

    rounds: int
    paced: Load
    unpaced: Load
    visitors: int
    questions: int
    sockets: int
    one_tool: int
    ten_tools: int


WHOLE = Plan(
    rounds=7,
    paced=Load(streams=20, answers=1, tokens=300, rate=100),
    unpaced=Load(streams=20, answers=3, tokens=300, rate=0),
    visitors=12,
    questions=5,
    sockets=1_000,
    one_tool=8,
    ten_tools=2,
)
QUICK = Plan(
    rounds=2,
    paced=Load(streams=20, answers=1, tokens=100, rate=100),
    unpaced=Load(streams=20, answers=1, tokens=300, rate=0),
    visitors=4,
    questions=5,
    sockets=200,
    one_tool=4,
    ten_tools=1,
)
# Tokens of an answer whose first one is waited for.
_SHORT = 20
# Milliseconds that a webhook takes: one that is asked alone, and ten that are asked at once.
_ONE_TOOL = (20,)
_TEN_TOOLS = tuple(range(30, 301, 30))


class Samples(msgspec.Struct):
    """What the rounds gave for one server. CPU in microseconds a token, waits in milliseconds, memory in KB."""

    paced: list[float] = []
    unpaced: list[float] = []
    p50: list[float] = []
    p99: list[float] = []
    idle: list[float] = []
    waits: list[float] = []


class ToolSamples(msgspec.Struct):
    """What the rounds gave for steps of tools. `overhead` of one call in milliseconds, `ten` calls in times of the
    slowest; `..._p50` are the rounds'."""

    overhead: list[float] = []
    overhead_p50: list[float] = []
    ten: list[float] = []
    ten_p50: list[float] = []


class Found(msgspec.Struct):
    """All samples of a run."""

    relay: Samples = msgspec.field(default_factory=Samples)
    frontdesk: Samples = msgspec.field(default_factory=Samples)
    tools: ToolSamples = msgspec.field(default_factory=ToolSamples)


class Bench:
    """One run: the upstream and the world of Frontdesk stay, the servers are started when needed."""

    def __init__(self, cores: Cores, upstream: int, frontdesk: Frontdesk) -> None:
        self._cores = cores
        self._upstream = upstream
        self._frontdesk = frontdesk

    @contextmanager
    def _relay(self) -> Iterator[Site]:
        port, environ = free_port(), {"OPENAI_BASE_URL": f"http://127.0.0.1:{self._upstream}/v1"}
        command = [sys.executable, "-m", "bench.relay", str(port)]
        with process(
            "relay", command, port, cores=self._cores.server, log=OUTPUT / "relay.log", environ=environ
        ) as running:
            yield RelaySite(running)

    @contextmanager
    def _server(self) -> Iterator[Process]:
        with serving(self._frontdesk, cores=self._cores, log=OUTPUT / "frontdesk.log") as running:
            yield running

    def _plain(self, server: Process) -> Site:
        return FrontdeskSite(server, self._frontdesk.public_key)

    def run(self, plan: Plan, runner: asyncio.Runner) -> Found:
        found = Found()
        with self._relay() as relay:
            self._idle(plan, runner, "relay", relay, found.relay)
        with self._server() as server:
            self._idle(plan, runner, "frontdesk", self._plain(server), found.frontdesk)
        with self._relay() as relay, self._server() as server:
            plain, with_tools = self._plain(server), FrontdeskSite(server, self._frontdesk.tools_key)
            for site in (relay, plain):
                runner.run(measure.cpu_per_token(site, QUICK.unpaced))  # warm
            runner.run(self._tools(QUICK, with_tools, ToolSamples()))
            for number in range(plan.rounds):
                _say(f"round {number + 1} of {plan.rounds}")
                runner.run(self._round(plan, relay, found.relay))
                runner.run(self._round(plan, plain, found.frontdesk))
                runner.run(self._tools(plan, with_tools, found.tools))
        return found

    def _idle(self, plan: Plan, runner: asyncio.Runner, name: str, site: Site, samples: Samples) -> None:
        _say(f"{name}: {plan.sockets} idle sockets")
        samples.idle.append(runner.run(measure.idle_socket(site, plan.sockets)) / 1024)

    async def _round(self, plan: Plan, site: Site, samples: Samples) -> None:
        samples.paced.append(await measure.cpu_per_token(site, plan.paced))
        samples.unpaced.append(await measure.cpu_per_token(site, plan.unpaced))
        own = await measure.own_first_token(self._upstream, plan.visitors * plan.questions, _SHORT)
        waits = await measure.first_tokens(site, plan.visitors, plan.questions, _SHORT)
        added = [(wait - own) * 1e3 for wait in waits]
        samples.waits += added
        samples.p50.append(percentile(added, 50))
        samples.p99.append(percentile(added, 99))

    async def _tools(self, plan: Plan, site: Site, samples: ToolSamples) -> None:
        one = await measure.tool_steps(
            site, self._upstream, _ONE_TOOL, visitors=plan.one_tool, questions=plan.questions
        )
        ten = await measure.tool_steps(
            site, self._upstream, _TEN_TOOLS, visitors=plan.ten_tools, questions=plan.questions
        )
        overhead, times = [step.overhead_ms for step in one], [step.times_slowest for step in ten]
        samples.overhead += overhead
        samples.overhead_p50.append(median(overhead))
        samples.ten += times
        samples.ten_p50.append(median(times))


def report(plan: Plan, found: Found) -> Report:
    """Percentiles are those of all samples; their least and most are rounds'."""
    a, b, tools = found.relay, found.frontdesk, found.tools

    def row(name: str, unit: str, field: str, limit: float, *, relative: bool = False) -> Row:
        return Row(name, unit, Figure.of(getattr(a, field)), Figure.of(getattr(b, field)), limit, relative)

    def wait(percent: int, field: str, limit: float) -> Row:
        relay, frontdesk = (Figure.over(getattr(each, field), percentile(each.waits, percent)) for each in (a, b))
        return Row(f"added to the first token, p{percent}", "ms", relay, frontdesk, limit)

    overhead = Figure.over(tools.overhead_p50, median(tools.overhead))
    ten = Figure.over(tools.ten_p50, median(tools.ten))
    rows = [
        row(f"CPU a token, {plan.paced.rate} tokens/s", "us", "paced", 1.5, relative=True),
        row("CPU a token, unpaced", "us", "unpaced", 1.5, relative=True),
        wait(50, "p50", 5),
        wait(99, "p99", 20),
        row("memory of an idle socket", "KB", "idle", 40),
        Row("overhead of a tool step, p50", "ms", None, overhead, 5),
        Row("ten tools in a step, p50", "x slowest", None, ten, 1.1, decimals=2),
    ]
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    return Report(datetime.now(UTC).isoformat(timespec="minutes"), machine, plan.rounds, rows)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a short run, to see that all of it works")
    parser.add_argument("--json", action="store_true", help="write the figures to bench/output/ as well")
    arguments = parser.parse_args()
    plan = QUICK if arguments.quick else WHOLE
    OUTPUT.mkdir(exist_ok=True)
    # Each open socket is a file on both sides.
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    cores = split_cores()
    os.sched_setaffinity(0, cores.others)
    upstream = free_port()
    model = [sys.executable, "-m", "bench.upstream", str(upstream)]
    with (
        tempfile.TemporaryDirectory(prefix="data-", dir=OUTPUT) as data,
        process("upstream", model, upstream, cores=cores.others, log=OUTPUT / "upstream.log", environ={}),
        frontdesk_world(Path(data), upstream) as frontdesk,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        found = Bench(cores, upstream, frontdesk).run(plan, runner)
    result = report(plan, found)
    print(table(result))
    if arguments.json:
        path = OUTPUT / f"{result.at.replace(':', '')}.json"
        path.write_bytes(msgspec.json.format(msgspec.json.encode({"samples": found, "report": result}), indent=2))
        print(f"written: {path}")


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
