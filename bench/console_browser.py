"""The console in a real browser: its first load, an inbox in which fifty answers stream, a list of ten thousand.

    python -m bench.console_browser                         # 100,000 conversations: some minutes to make, 4 to measure
    python -m bench.console_browser --conversations 5000    # to see that all of it works

The database is that of `console_data.py`, the server `frontdesk serve`, the model `upstream.py`. Chromium has cores of
its own, everything else is on the server's.

First load: a fresh profile, signed in, opens /admin/inbox. It can be used when the list is painted and a key (j) has
moved to its first line, painted too; the time is from the navigation's start.

Fifty answers: fifty visitors ask at once over sockets of their own, 50 tokens a second each. The inbox shows them live,
one of them is open. Frames are what requestAnimationFrame gives, by the wall clock; tasks are those of the main thread
in a trace, taken after the frames, so that neither disturbs the other. In the tall window every line is on the screen.
Texts are compared, those of the visitors and that of the open conversation.

Ten thousand: the wheel turns through all closed conversations, one in ten of all, to the end of the last page. The list
must have as many lines as the database has rows, and end with the oldest.
"""

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import msgspec
import psycopg
import uvloop

from bench import console, upstream
from bench.browser import Browser, Tab, Task, open_browser, sizes
from bench.console_data import Made, Size, fill
from bench.report import OURS, Figure, Goal, Report, Row, Section, commit, machine, table
from bench.servers import Cores, Process, free_port, process, split_cores
from bench.speakers import FrontdeskSite
from bench.world import Frontdesk, frontdesk_world, serving
from server import ids
from server.net.signing import Keyring

OUTPUT = Path(__file__).parent / "output"
_KB = 1024
# A frame that comes later than this after the one before it, and a task that takes as long, are noticed (milliseconds).
NOTICED_MS = 50.0
# Width and height in CSS pixels. In the tall one every answer is in sight.
WINDOWS = {"1440 x 900": (1440, 900), "1440 x 4600": (1440, 4600)}
# CSS pixels of one turn of the wheel: ten lines.
_TURN = 840
# Turns between two looks at where the list is, and looks until it must have come to its end.
_LOOK = 25
_LOOKS = 400

_PROBE = """
bench.fd = (name, more = "") => document.querySelector(`[data-fd="${name}"]${more}`);
bench.all = (name) => document.querySelectorAll(`[data-fd="${name}"]`);
bench.listed = bench.found(document, () => bench.fd("row")).then(bench.painted);
bench.answered = new Promise((done) => {
  addEventListener("focusin", ({ target }) => target.matches("[data-fd=row]") && done(bench.painted()), true);
});
bench.record = () => {
  const gaps = [];
  let last = performance.now();
  let on = true;
  const frame = () => {
    const now = performance.now();
    gaps.push(now - last);
    last = now;
    if (on) requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
  bench.recorded = () => {
    on = false;
    return gaps.slice(1);
  };
};
// By the link itself: a line may move away below the mouse.
bench.open = () => {
  const link = bench.fd("answering")?.closest('[data-fd="row"]');
  link?.click();
  return !!link;
};
bench.streaming = () => bench.fd("message", '[data-state="streaming"] [data-fd="text"]');
bench.last = () => {
  const said = document.querySelectorAll('[data-fd="message"][data-role="ai"] [data-fd="text"]');
  return said[said.length - 1]?.textContent;
};
bench.where = () => {
  const { scrollTop, clientHeight, scrollHeight } = document.querySelector(".inbox-rows");
  const rows = bench.all("row");
  const line = rows[rows.length - 1];
  return {
    ended: scrollTop + clientHeight >= scrollHeight - 1,
    lines: Number(line.closest("[role=listitem]").ariaSetSize),
    last: new URL(line.href).pathname.split("/").pop(),
    elements: document.querySelectorAll("*").length,
  };
};
"""


class Crowd(msgspec.Struct, frozen=True):
    """Visitors who ask at once, for answers of `tokens` at `rate` a second. They stream until both measurements have
    had their seconds, and one more before, in which the console gets to watch them."""

    visitors: int
    tokens: int
    rate: int
    frames_s: float
    trace_s: float


FIFTY = Crowd(visitors=50, tokens=900, rate=50, frames_s=6.0, trace_s=4.0)


class Office(msgspec.Struct, frozen=True):
    """A filled installation that runs, and an owner's cookie at its console."""

    cores: Cores
    frontdesk: Frontdesk
    server: Process
    cookie: tuple[str, str]
    made: Made

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"


class Load(msgspec.Struct, frozen=True):
    """Milliseconds since the navigation's start until the list was painted, and until a key was answered; what came."""

    listed_ms: float
    answered_ms: float
    loaded: list[str]


class Watched(msgspec.Struct, frozen=True):
    """Fifty answers in one window: the gaps between frames in milliseconds, the main thread's tasks, and how many
    lines of the list showed an answer while it was written."""

    gaps: list[float]
    tasks: list[Task]
    live: int


class Scrolled(msgspec.Struct, frozen=True):
    """A way through the whole list: the gaps between frames in milliseconds, lines, most elements of the document."""

    gaps: list[float]
    lines: int
    elements: int


@contextmanager
def open_office(size: Size) -> Iterator[Office]:
    """Everything but Chromium, on the server's core."""
    cores, mine, password = split_cores(), os.sched_getaffinity(0), ids.password()
    OUTPUT.mkdir(exist_ok=True)
    port = free_port()
    model = [sys.executable, "-m", "bench.upstream", str(port)]
    os.sched_setaffinity(0, cores.server)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="console-", dir=OUTPUT) as data,
            process("upstream", model, port, cores=cores.server, log=OUTPUT / "upstream.log", environ={}),
            frontdesk_world(Path(data), port) as frontdesk,
        ):
            database_url, secret = frontdesk.environ["DATABASE_URL"], frontdesk.environ["FRONTDESK_SECRET_KEYS"]
            client_ids = asyncio.run(console.set_up(database_url, Keyring((secret,)), size, password))
            _say(f"makes {size.conversations:,} conversations")
            made = fill(database_url, size, client_ids)
            # The console answers on loopback while no public address is set.
            environ = {"FRONTDESK_PUBLIC_URL": ""}
            with serving(frontdesk, cores=cores, log=OUTPUT / "console.log", environ=environ) as server:
                cookie = asyncio.run(_sign_in(server, made, password))
                yield Office(cores, frontdesk, server, cookie, made)
    finally:
        os.sched_setaffinity(0, mine)


async def _sign_in(server: Process, made: Made, password: str) -> tuple[str, str]:
    url = f"http://127.0.0.1:{server.port}"
    async with httpx.AsyncClient(base_url=url, headers={"origin": url}, trust_env=False) as http:
        await console.Console(http, made).sign_in(password)
        ((name, value),) = http.cookies.items()
    return name, value


@asynccontextmanager
async def inbox(browser: Browser, office: Office, query: str = "", *, size: tuple[int, int]) -> AsyncIterator[Tab]:
    """The inbox in a fresh profile, from the moment on that it begins to load."""
    async with browser.tab(width=size[0], height=size[1]) as tab:
        await tab.at_start(_PROBE)
        await tab.set_cookie(*office.cookie, office.url)
        await tab.goto(f"{office.url}/admin/inbox{query}")
        yield tab


async def load(browser: Browser, office: Office) -> Load:
    async with inbox(browser, office, size=WINDOWS["1440 x 900"]) as tab:
        listed = float(await tab.evaluate("bench.listed"))
        await tab.press("j")
        answered = float(await tab.evaluate("bench.answered"))
        return Load(listed, answered, await tab.evaluate("bench.loaded()"))


async def watch(browser: Browser, office: Office, crowd: Crowd, size: tuple[int, int]) -> Watched:
    """The visitors ask, an operator looks on. Raises RuntimeError when an answer is not shown as it was given."""
    site = FrontdeskSite(office.server, office.frontdesk.public_key)
    question, expected = upstream.question(crowd.tokens, crowd.rate), "".join(upstream.answer(crowd.tokens))
    visitors = await asyncio.gather(*(site.visit() for _ in range(crowd.visitors)))
    async with inbox(browser, office, size=size) as tab:
        await tab.evaluate("bench.listed")
        answers = asyncio.gather(*(visitor.ask(question) for visitor in visitors))
        await tab.evaluate("bench.found(document, bench.open)")
        await tab.evaluate("bench.found(document, () => !!bench.streaming())")
        # The console watches what stands still for 0.3 s.
        await asyncio.sleep(1)
        await tab.evaluate("bench.record()")
        await asyncio.sleep(crowd.frames_s)
        gaps = await tab.evaluate("bench.recorded()")
        async with tab.tasks() as tasks:
            await asyncio.sleep(crowd.trace_s)
        live, streams = await tab.evaluate('[bench.all("answering").length, !!bench.streaming()]')
        if not streams or answers.done():
            raise RuntimeError("the answers ended before they were measured")
        given = await answers
        await tab.evaluate("bench.found(document, () => !bench.streaming())")
        shown = await tab.evaluate("bench.painted().then(bench.last)")
    for visitor in visitors:
        visitor.close()
    if {each.text for each in given} != {expected} or str(shown).split() != expected.split():
        raise RuntimeError("an answer is not what the model said")
    return Watched(gaps, tasks, live)


async def scroll(browser: Browser, office: Office) -> Scrolled:
    """By the wheel through all closed conversations. Raises RuntimeError when the list is not what the database has."""
    lines, oldest = _closed(office)
    async with inbox(browser, office, "?state=closed", size=WINDOWS["1440 x 900"]) as tab:
        await tab.evaluate("bench.listed")
        x, y = await tab.evaluate(
            '(({ left, top, width }) => [left + width / 2, top + 42])(bench.fd("row").getBoundingClientRect())'
        )
        await tab.evaluate("bench.record()")
        elements, where = 0, {"lines": 0, "ended": False, "last": ""}
        for _ in range(_LOOKS):
            for _ in range(_LOOK):
                await tab.wheel(x, y, _TURN)
            where = await tab.evaluate("bench.painted().then(bench.where)")
            elements = max(elements, where["elements"])
            if where["ended"] and where["lines"] >= lines:
                break
        gaps = await tab.evaluate("bench.recorded()")
    if (where["lines"], where["last"]) != (lines, oldest):
        raise RuntimeError(f"{lines} conversations end with {oldest}, and the list's {where}")
    return Scrolled(gaps, lines, elements)


def _closed(office: Office) -> tuple[int, str]:
    """How many conversations are closed, and which has been so for longest."""
    with psycopg.connect(office.frontdesk.environ["DATABASE_URL"]) as conn:
        row = conn.execute(
            "select count(*), (array_agg(public_id order by last_activity_at, id))[1] from conversations "
            "where owner = 'closed'"
        ).fetchone()
    assert row is not None
    return row


async def measure(office: Office, rounds: int) -> list[Section]:
    """All of it, in as many rounds."""
    async with open_browser(office.cores.others, OUTPUT / "chromium.log") as browser:
        await load(browser, office)  # warm
        _say("first load")
        loads = [await load(browser, office) for _ in range(2 * rounds)]
        watched: dict[str, list[Watched]] = {name: [] for name in WINDOWS}
        for number in range(rounds):
            _say(f"fifty answers, round {number + 1} of {rounds}")
            for name, size in WINDOWS.items():
                watched[name].append(await watch(browser, office, FIFTY, size))
        _say("the whole list")
        scrolled = [await scroll(browser, office) for _ in range(rounds)]
    scripts = await sizes([url for url in loads[0].loaded if url.endswith(".js")])
    everything = await sizes([url for url in loads[0].loaded if url.startswith(f"{office.url}/admin/")])
    return [
        _first_load(loads, scripts, everything),
        *(_fifty(name, each) for name, each in watched.items()),
        _list(scrolled),
    ]


def _row(name: str, unit: str, values: list[float], limit: float | None = None, decimals: int = 1) -> Row:
    return Row(name, unit, {OURS: Figure.of(values)}, () if limit is None else (Goal(limit),), decimals)


def _first_load(loads: list[Load], scripts: dict[str, int], everything: dict[str, int]) -> Section:
    rows = [
        _row("JavaScript, gzip", "KB", [scripts["gzip"] / _KB], 150),
        _row("JavaScript, raw", "KB", [scripts["raw"] / _KB]),
        _row("scripts, styles and icons, gzip", "KB", [everything["gzip"] / _KB]),
        _row("the list is painted", "ms", [each.listed_ms for each in loads], 1_000),
        _row("a key is answered", "ms", [each.answered_ms for each in loads], 1_000),
    ]
    return Section("The console's first load", rows)


def _late(gaps: list[float]) -> float:
    """Percent of the frames."""
    return 100 * sum(gap > NOTICED_MS for gap in gaps) / len(gaps)


def _frames(measured: list[list[float]]) -> list[Row]:
    together = [gap for gaps in measured for gap in gaps]
    late = Figure.over([_late(gaps) for gaps in measured], _late(together))
    return [
        Row("frames later than 50 ms", "%", {OURS: late}, (Goal(0),), 2),
        _row("longest gap between frames", "ms", [max(gaps) for gaps in measured]),
    ]


def _fifty(name: str, watched: list[Watched]) -> Section:
    rows = [
        *_frames([each.gaps for each in watched]),
        _row("longest task, its CPU", "ms", [max(task.cpu_ms for task in each.tasks) for each in watched], NOTICED_MS),
        _row("longest task, its time", "ms", [max(task.wall_ms for task in each.tasks) for each in watched]),
        _row(
            "main thread, CPU",
            "ms a second",
            [sum(task.cpu_ms for task in each.tasks) / FIFTY.trace_s for each in watched],
        ),
        _row("lines that show an answer as it grows", "lines", [float(each.live) for each in watched], decimals=0),
    ]
    return Section(f"Fifty answers at once, window of {name}", rows)


def _list(scrolled: list[Scrolled]) -> Section:
    rows = [
        *_frames([each.gaps for each in scrolled]),
        _row("elements in the document, most", "elements", [float(each.elements) for each in scrolled], decimals=0),
    ]
    return Section(f"The wheel through {scrolled[0].lines:,} conversations", rows)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.console_browser", description=__doc__)
    parser.add_argument("--conversations", type=int, default=100_000, help="with ten messages each on average")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with open_office(Size(conversations=arguments.conversations)) as office:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            sections = runner.run(measure(office, arguments.rounds))
        where = f"{machine()}; {office.made.conversations:,} conversations, {office.made.messages:,} messages"
    at = datetime.now(UTC).isoformat(timespec="minutes")
    print(table(Report(at, where, commit(), arguments.rounds, sections)))


if __name__ == "__main__":
    main()
