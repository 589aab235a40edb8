"""The widget on a customer's page: what a visitor loads, how soon it can be used, what it costs the page's main thread.

A page on an origin of its own carries the tag that the console gives out. Chromium opens it in a fresh profile, cold,
at 1 x and with the CPU slowed down 4 x. A visitor clicks, types a question and reads the answer, 100 tokens a second.
The events are Chromium's own (mouse, keys), the times are of the page's own clock:

    script to usable launcher   from the last byte of widget.js to the launcher painted and in front of the page; its
                                configuration is fetched in between
    click to usable panel       from the click to the panel painted, the keyboard in its input
    key to letter               from a key in that input to its letter painted
    click to connected          from the click to the socket's welcome
    main thread                 CPU of all tasks of the page's main thread, from Enter until 0.3 s after the answer;
                                beside it that of a bare page in which a paragraph as wide grows as often to the same
                                text, and nothing else is done: what Chromium itself takes for it
    layout shift                the sum that the browser reports, from the page's start to the answer's end: of the
                                page's own elements, and with what moves inside of the widget, which counts the same

An answer whose text on the page is not the model's, a launcher that is covered and a letter that does not come end the
run.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from statistics import median

import msgspec
from aiohttp import web

from bench import upstream
from bench.browser import Browser, Busy, Tab, open_browser, sizes
from bench.report import OURS, Curve, Figure, Goal, Point, Row, Section
from bench.rig import Rig
from bench.servers import Process
from bench.world import Frontdesk
from server import ids
from server.net.signing import Keyring
from server.repositories import clients
from server.repositories.pool import open_pool, reading

SLOWDOWNS = (4, 1)
# Tokens a second.
RATE = 100
# Seconds for what follows an answer.
_SETTLE_S = 0.3
# Seconds for which an open panel is watched doing nothing: the input's caret blinks.
_IDLE_S = 2.0
# Milliseconds between two steps of a paragraph that grows on a bare page: a slow machine has painted one by then.
_STEP_MS = 50
_KB = 1024

_TEXT = "<p>We bake every loaf in the stone oven behind the shop, from four in the morning on.</p>"
_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>A shop</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">
<style>
  html { overflow-y: scroll }
  body { max-width: 60rem; margin: auto; font: 16px/1.5 system-ui }
  i { display: block; height: 12rem }
</style>
%s</head><body><header><h1>A shop</h1></header><main>%s<i></i>%s</main><footer>A shop</footer></body></html>"""

_PROBE = """
bench.shift = { own: 0, all: 0 };
new PerformanceObserver((list) => {
  for (const { value, sources } of list.getEntries()) {
    bench.shift.all += value;
    // What is in a shadow root is not named.
    if (sources.some(({ node }) => node)) bench.shift.own += value;
  }
}).observe({ type: "layout-shift", buffered: true });

bench.hook = (name) => `[data-fd="${name}"]`;
bench.root = async () => (await bench.found(document, () => document.querySelector("frontdesk-widget"))).shadowRoot;
bench.once = (target, type, where = () => true) => new Promise((done) => {
  const listen = (event) => {
    if (!where(event)) return;
    target.removeEventListener(type, listen, true);
    done(event.timeStamp);
  };
  target.addEventListener(type, listen, true);
});

bench.launcher = (async () => {
  const root = await bench.root();
  const launcher = await bench.found(root, () => root.querySelector(bench.hook("launcher")));
  const at = await bench.painted();
  const [script, config] = ["/widget.js", "/api/v1/config"].map((path) =>
    performance.getEntriesByType("resource").find(({ name }) => new URL(name).pathname === path));
  const { left, top, width, height } = launcher.getBoundingClientRect();
  const [x, y] = [left + width / 2, top + height / 2];
  if (document.elementFromPoint(x, y) !== root.host || !launcher.contains(root.elementFromPoint(x, y)))
    throw new Error("the launcher is covered");
  return { ms: at - script.responseEnd, asked_ms: config.startTime - script.responseEnd, x, y };
})();

bench.still = async () => {
  if (document.readyState !== "complete") await bench.once(globalThis, "load");
  await Promise.allSettled((await bench.root()).getAnimations().map((each) => each.finished));
  await new Promise((done) => requestIdleCallback(done));
};

bench.open = async (root) => {
  const clicked = bench.once(globalThis, "click");
  const focused = bench.once(root, "focusin", ({ target }) => target.matches(bench.hook("input")));
  const greeted = () => root.querySelector(bench.hook("status") + ".online");
  const online = bench.found(root, greeted).then(() => performance.now());
  const from = await clicked;
  await focused;
  return { ms: (await bench.painted()) - from, connected_ms: (await online) - from };
};

bench.key = async (root) => {
  const input = root.querySelector(bench.hook("input"));
  const [pressed, typed] = [bench.once(input, "keydown"), bench.once(input, "input")];
  const from = await pressed;
  await typed;
  return { ms: (await bench.painted()) - from, text: input.value };
};

bench.grow = async (text, times, ms) => {
  const box = document.body.appendChild(document.createElement("div"));
  box.style.cssText = "position: fixed; right: 20px; bottom: 90px; width: 320px; height: 460px; overflow: auto;" +
    "font: 15px/1.5 system-ui; overflow-wrap: anywhere";
  const said = box.appendChild(document.createElement("p")).appendChild(new Text());
  for (let i = 0; i < times; i += 1) {
    said.appendData(text.slice((i * text.length) / times, ((i + 1) * text.length) / times));
    box.scrollTo(0, 1e9);
    await new Promise((done) => setTimeout(done, ms));
  }
  return said.data === text && box.scrollTop > 0;
};

bench.listen = () => {
  bench.answer = new Promise((done) => {
    frontdesk("on", "message", ({ role, text }) => role === "assistant" && done(text));
  });
};

bench.shown = async (root) => {
  await bench.painted();
  const said = `${bench.hook("message")}[data-role="assistant"]:not([data-id="welcome"])`;
  return [...root.querySelectorAll(`${said} ${bench.hook("text")}`)].map((each) => each.textContent);
};
"""


class Plan(msgspec.Struct, frozen=True):
    """Tokens of the answers, the longest last; each is measured in `rounds` rounds."""

    rounds: int
    tokens: tuple[int, ...]


WHOLE = Plan(5, (250, 500, 1_000, 2_000))
QUICK = Plan(1, (100, 300))


class Opened(msgspec.Struct, frozen=True):
    """A page that is there, with an open panel. Milliseconds as the head of this module says, and the URLs that were
    fetched from Frontdesk until then, the script first. `asked_ms` of `launcher_ms` passed before the script asked for
    its configuration, which is the first that it does."""

    launcher_ms: float
    asked_ms: float
    panel_ms: float
    connected_ms: float
    key_ms: float
    loaded: list[str]


class Visit(msgspec.Struct, frozen=True):
    """One visitor, one answer. `idle_ms` is the main thread's time for each second that nothing happens in. `bare_ms`
    is that of a bare page's paragraph that grew as often, if it was measured. Layout shifts are sums: `shift_own` of
    elements of the page, `shift` of all."""

    slowdown: int
    tokens: int
    opened: Opened
    idle_ms: float
    answer: Busy
    shift_own: float
    shift: float
    bare_ms: float | None = None


class Shop:
    """A customer's page with the widget's tag, on an origin of its own. `/empty` has no widget."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.tag = ""

    async def handle(self, request: web.Request) -> web.Response:
        tag = "" if request.path == "/empty" else self.tag
        return web.Response(text=_PAGE % (tag, 4 * _TEXT, 12 * _TEXT), content_type="text/html")

    async def carry(self, frontdesk: Frontdesk, server: Process) -> None:
        """Becomes a client of Frontdesk."""
        key = await _create_client(frontdesk, self.origin)
        url = f"http://127.0.0.1:{server.port}"
        self.tag = f'<script async src="{url}/widget.js" data-client-key="{key}"></script>'


@asynccontextmanager
async def open_shop() -> AsyncIterator[Shop]:
    """On a free port."""
    app = web.Application()
    runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
    shop = Shop("")
    app.router.add_get("/{path:.*}", shop.handle)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        shop.origin = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield shop
    finally:
        await runner.cleanup()


async def _create_client(frontdesk: Frontdesk, origin: str) -> str:
    """Its public key. The plan is the one that the world has made."""
    pool = await open_pool(frontdesk.environ["DATABASE_URL"], max_size=1, application_name="frontdesk bench")
    try:
        async with reading(pool) as conn:
            keyring = Keyring((frontdesk.environ["FRONTDESK_SECRET_KEYS"],))
            client = await clients.create(
                conn,
                name="A shop with a page",
                domain="127.0.0.1",
                allowed_origins=[origin],
                public_key=ids.public_key(),
                api_key_hash=keyring.digest("api-key", ids.secret_key()),
                api_key_prefix="bench",
                plan_type="bench",
            )
    finally:
        await pool.close()
    return client.public_key


async def visit(browser: Browser, shop: Shop, *, slowdown: int, tokens: int, idle_s: float = 0.0) -> Visit:
    """A visitor comes, opens the panel, asks and reads. Raises RuntimeError when something is not as it should be."""
    async with browser.tab() as tab:
        await tab.at_start(_PROBE)
        # A page of the same site first: it is this process that is slowed down.
        await tab.goto(f"{shop.origin}/empty")
        await tab.slow_down(slowdown)
        await tab.goto(f"{shop.origin}/")
        opened = await _open(tab, shop)
        async with tab.busy() as idle:
            await asyncio.sleep(idle_s)
        answer = await _ask(tab, tokens)
        shift = await tab.evaluate("bench.shift")
    idle_ms = idle[0].tasks_ms / idle_s if idle_s else 0.0
    return Visit(slowdown, tokens, opened, idle_ms, answer, float(shift["own"]), float(shift["all"]))


async def _open(tab: Tab, shop: Shop) -> Opened:
    launcher = await tab.evaluate("bench.launcher")
    await tab.point(launcher["x"], launcher["y"])
    await tab.evaluate("bench.still()")
    await tab.evaluate("bench.root().then((root) => void (bench.opened = bench.open(root)))")
    await tab.click(launcher["x"], launcher["y"])
    panel = await tab.evaluate("bench.opened")
    loaded = [url for url in await tab.evaluate("bench.loaded()") if not url.startswith(shop.origin)]
    await tab.evaluate("bench.still()")
    await tab.evaluate("bench.root().then((root) => void (bench.pressed = bench.key(root)))")
    await tab.press("a")
    key = await tab.evaluate("bench.pressed")
    if key["text"] != "a":
        raise RuntimeError(f"a was typed, and the input holds {key['text']!r}")
    await tab.press("Backspace")
    return Opened(launcher["ms"], launcher["asked_ms"], panel["ms"], panel["connected_ms"], key["ms"], loaded)


async def _ask(tab: Tab, tokens: int) -> Busy:
    """What the answer cost the main thread."""
    expected = "".join(upstream.answer(tokens))
    await tab.type(upstream.question(tokens, RATE))
    await tab.evaluate("bench.listen()")
    await asyncio.sleep(_SETTLE_S)
    async with tab.busy() as busy:
        await tab.press("Enter")
        told = await tab.evaluate("bench.answer")
        await asyncio.sleep(_SETTLE_S)
    shown = await tab.evaluate("bench.root().then(bench.shown)")
    if told != expected or [text.split() for text in shown] != [expected.split()]:
        raise RuntimeError(f"an answer of {len(expected)} characters is shown with {[len(text) for text in shown]}")
    return busy[0]


async def grow(browser: Browser, shop: Shop, *, slowdown: int, tokens: int, times: float) -> float:
    """CPU of the main thread (ms) of a page in which nothing but one paragraph grows, in so many steps.

    Raises RuntimeError when it has not grown to the whole answer, below the end of its box.
    """
    async with browser.tab() as tab:
        await tab.at_start(_PROBE)
        await tab.goto(f"{shop.origin}/empty")
        await tab.slow_down(slowdown)
        text = msgspec.json.encode("".join(upstream.answer(tokens))).decode()
        async with tab.busy() as busy:
            grown = await tab.evaluate(f"bench.grow({text}, {int(times)}, {_STEP_MS})")
        if not grown:
            raise RuntimeError("the bare paragraph is not whole, or too short to scroll")
    return busy[0].tasks_ms


def section(rig: Rig) -> Section:
    """About 7 minutes, most of which the answers stream."""
    plan = QUICK if rig.quick else WHOLE
    with rig.serving(name="widget") as server:
        visits, script, all_of_it = rig.run(_measure(rig, server, plan))
    return _section(plan, visits, script, all_of_it)


async def _measure(rig: Rig, server: Process, plan: Plan) -> tuple[list[Visit], dict[str, int], dict[str, int]]:
    """The visits; the bytes of the script, and of all that a visitor loads up to the usable panel."""
    visits: list[Visit] = []
    async with open_shop() as shop, open_browser(rig.cores.others, rig.output / "chromium.log") as browser:
        await shop.carry(rig.frontdesk, server)
        first = await visit(browser, shop, slowdown=1, tokens=20)  # warm
        loaded = first.opened.loaded
        for number in range(plan.rounds):
            rig.say(f"round {number + 1} of {plan.rounds}")
            for tokens in plan.tokens:
                longest = tokens == plan.tokens[-1]
                for slowdown in SLOWDOWNS:
                    made = await visit(
                        browser, shop, slowdown=slowdown, tokens=tokens, idle_s=_IDLE_S if longest else 0.0
                    )
                    if longest:
                        bare = await grow(browser, shop, slowdown=slowdown, tokens=tokens, times=made.answer.layouts)
                        made = msgspec.structs.replace(made, bare_ms=bare)
                    visits.append(made)
        scripts = [url for url in loaded if ".js" in url]
        return visits, await sizes(scripts), await sizes(loaded)


def _section(plan: Plan, visits: list[Visit], script: dict[str, int], all_of_it: dict[str, int]) -> Section:
    longest = plan.tokens[-1]
    rows = [
        _size("script", script["raw"], 50),
        _size("script, gzip", script["gzip"], 20),
        _size("script, brotli", script["br"]),
        _size("all that is loaded up to the usable panel, brotli", all_of_it["br"]),
    ]
    rows += [row for slowdown in SLOWDOWNS for row in _times(visits, slowdown)]
    rows += [_main_thread(visits, slowdown, longest) for slowdown in SLOWDOWNS]
    rows.append(_shift("layout shift of the page's own elements", [each.shift_own for each in visits]))
    rows.append(_shift("layout shift with the widget's inside", [each.shift for each in visits]))
    notes = [_note(visits, slowdown, longest) for slowdown in SLOWDOWNS]
    return Section("The widget", rows, [_curve(plan, visits)], notes)


def _size(name: str, size: int, limit: float | None = None) -> Row:
    return Row(name, "KB", {OURS: Figure.of([size / _KB])}, () if limit is None else (Goal(limit),))


def _shift(name: str, sums: list[float]) -> Row:
    """The most of all visits: the median would hide what happens seldom."""
    return Row(name, "sum", {OURS: Figure.over(sums, max(sums))}, (Goal(0),), 4)


def _times(visits: list[Visit], slowdown: int) -> list[Row]:
    opened = [each.opened for each in visits if each.slowdown == slowdown]
    # The goals are those of the slow machine; the fast one is there to compare.
    goals = (Goal(100),) if slowdown == max(SLOWDOWNS) else ()
    asked = [
        ("script to usable launcher", [each.launcher_ms for each in opened], goals),
        ("click to usable panel", [each.panel_ms for each in opened], goals),
        ("key to letter", [each.key_ms for each in opened], ()),
        ("click to connected", [each.connected_ms for each in opened], ()),
    ]
    return [Row(f"{name}, {slowdown} x", "ms", {OURS: Figure.of(values)}, goals) for name, values, goals in asked]


def _answers(visits: list[Visit], slowdown: int, tokens: int) -> list[Visit]:
    return [each for each in visits if (each.slowdown, each.tokens) == (slowdown, tokens)]


def _main_thread(visits: list[Visit], slowdown: int, tokens: int) -> Row:
    chosen = _answers(visits, slowdown, tokens)
    figures = {
        "a bare paragraph": Figure.of([each.bare_ms for each in chosen if each.bare_ms is not None]),
        OURS: Figure.of([each.answer.tasks_ms for each in chosen]),
    }
    return Row(f"main thread for {tokens:,} tokens, {slowdown} x", "ms", figures, (Goal(150),))


def _note(visits: list[Visit], slowdown: int, tokens: int) -> str:
    chosen = _answers(visits, slowdown, tokens)

    def of(name: str) -> float:
        return float(median(getattr(each.answer, name) for each in chosen))

    rest = of("tasks_ms") - of("script_ms") - of("style_ms") - of("layout_ms")
    launcher = [each.opened for each in visits if each.slowdown == slowdown]
    waited, usable = (median(getattr(each, name) for each in launcher) for name in ("asked_ms", "launcher_ms"))
    return (
        f"Of the {usable:.0f} ms from script to launcher at {slowdown} x, {waited:.0f} ms passed before its first line "
        f"had run: the page itself is read, laid out and painted meanwhile, and that is slowed down too. "
        f"Of the main thread's time at {slowdown} x: scripts {of('script_ms'):.0f} ms, style {of('style_ms'):.0f} ms, "
        f"layout {of('layout_ms'):.0f} ms ({of('layouts'):.0f} times), the rest {rest:.0f} ms. Of an open panel in "
        f"which nothing but the caret blinks: {median(each.idle_ms for each in chosen):.1f} ms a second."
    )


def _curve(plan: Plan, visits: list[Visit]) -> Curve:
    series = {
        f"{slowdown} x slowdown": [
            Point(tokens, Figure.of([each.answer.tasks_ms for each in _answers(visits, slowdown, tokens)]))
            for tokens in plan.tokens
        ]
        for slowdown in SLOWDOWNS
    }
    title = f"Main thread of the host page for one answer, {RATE} tokens a second"
    return Curve("widget-main-thread", title, "tokens of the answer", "main thread, ms", series)
