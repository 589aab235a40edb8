"""The browser of the measurements measures what it says, and the widget's section is whole. Nothing is timed here."""

import sys
from collections.abc import AsyncIterator, Iterator

import msgspec
import psutil
import pytest
from aiohttp import web

from bench import browser as browsers
from bench import upstream, widget
from bench.browser import Browser, open_browser
from bench.report import OURS
from bench.servers import Process, free_port, process, split_cores
from bench.widget import Plan, Shop, open_shop
from bench.world import Frontdesk, frontdesk_world, serving


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Frontdesk, Process]]:
    """A model, and Frontdesk in front of it."""
    home, port, cores = tmp_path_factory.mktemp("widget"), free_port(), split_cores()
    model = [sys.executable, "-m", "bench.upstream", str(port)]
    with (
        process("upstream", model, port, cores=cores.others, log=home / "upstream.log", environ={}),
        frontdesk_world(home / "data", port) as frontdesk,
        serving(frontdesk, cores=cores, log=home / "log") as server,
    ):
        yield frontdesk, server


@pytest.fixture(scope="module")
async def browser(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    """A Chromium on the cores that are not the server's."""
    log = tmp_path_factory.mktemp("chromium") / "log"
    async with open_browser(split_cores().others, log) as browser:
        yield browser


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    """A page that carries nothing yet."""
    async with open_shop() as shop:
        yield shop


async def test_chromium_stays_on_its_cores(browser: Browser, shop: Shop) -> None:
    """All of its processes, those of a page too, leave the server's core alone."""
    async with browser.tab() as tab:
        await tab.goto(shop.origin)
        first = psutil.Process(browser.pid)
        cores = [set(each.cpu_affinity()) for each in (first, *first.children(recursive=True))]
    assert len(cores) > 2
    assert all(each <= split_cores().others for each in cores)


async def test_busy_is_what_the_thread_does(browser: Browser, shop: Shop) -> None:
    """A script of 50 ms is counted as one, and a trace has it as one task."""
    work = "(() => { const until = performance.now() + 50; while (performance.now() < until); })()"
    async with browser.tab() as tab:
        await tab.goto(shop.origin)
        await tab.evaluate("bench.painted()")
        async with tab.busy() as busy, tab.tasks() as tasks:
            await tab.evaluate(f"new Promise((done) => setTimeout(() => {{ {work}; done(); }}))")
    assert busy[0].tasks_ms >= busy[0].script_ms > 0
    longest = max(tasks, key=lambda task: task.wall_ms)
    assert longest.wall_ms >= 50
    assert 0 < longest.cpu_ms <= longest.wall_ms + 1


async def test_a_slow_page_is_slow(browser: Browser, shop: Shop) -> None:
    """The same work costs a multiple, also on the page that comes after the one that was slowed down."""
    work = "(() => { let sum = 0; for (let i = 0; i < 2e7; i++) sum += i % 7; return sum; })()"
    cost = []
    for times in (1, 8):
        async with browser.tab() as tab:
            await tab.goto(f"{shop.origin}/empty")
            await tab.slow_down(times)
            await tab.goto(shop.origin)
            await tab.evaluate("bench.painted()")
            async with tab.busy() as busy:
                await tab.evaluate(work)
        cost.append(busy[0].tasks_ms)
    assert cost[1] > 3 * cost[0]


async def test_what_the_page_throws_is_told(browser: Browser, shop: Shop) -> None:
    """And what Chromium does not know, and an address where nobody is."""
    async with browser.tab() as tab:
        with pytest.raises(RuntimeError, match="nonsense is not defined"):
            await tab.evaluate("nonsense")
        with pytest.raises(RuntimeError, match=r"NoSuch\.method"):
            await tab.call("NoSuch.method")
        with pytest.raises(RuntimeError, match="ERR_CONNECTION_REFUSED"):
            await tab.goto(f"http://127.0.0.1:{free_port()}/")


async def test_a_page_that_moves_is_seen(browser: Browser, shop: Shop) -> None:
    """The sums of layout shifts are no zeros by themselves: inside and outside of a shadow root."""
    push = "Object.assign(document.createElement('div'), { style: 'height: 90px; background: red' })"
    inside = '<p style="height: 50px; position: fixed; top: 0; background: blue">Inside</p>'
    async with browser.tab() as tab:
        await tab.at_start(widget._PROBE)
        await tab.goto(f"{shop.origin}/empty")
        await tab.evaluate("bench.painted()")
        await tab.evaluate(f"document.body.prepend({push})")
        await tab.evaluate("(async () => { while (!bench.shift.own) await bench.painted(); })()")
        before = await tab.evaluate("bench.shift")
        assert before["all"] == before["own"] > 0.01
        await tab.evaluate(
            "globalThis.root = document.querySelector('footer').attachShadow({ mode: 'open' });"
            f"root.innerHTML = '{inside}'; bench.painted()"
        )
        await tab.evaluate("root.firstChild.style.top = '300px'")
        await tab.evaluate(f"(async () => {{ while (bench.shift.all === {before['all']}) await bench.painted(); }})()")
        after = await tab.evaluate("bench.shift")
    assert after["all"] > before["all"]
    assert after["own"] == before["own"]


async def test_sizes_are_those_of_the_wire(shop: Shop) -> None:
    """Each encoding is asked for, and what comes is not unpacked."""

    async def answer(request: web.Request) -> web.Response:
        name = request.headers["Accept-Encoding"]
        size = {"identity": 300, "gzip": 20, "br": 10}[name]
        return web.Response(body=b"x" * size, headers={} if name == "identity" else {"Content-Encoding": name})

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    assert await browsers.sizes([url, url]) == {"raw": 600, "gzip": 40, "br": 20}
    await runner.cleanup()


async def test_a_visit(world: tuple[Frontdesk, Process], browser: Browser, shop: Shop) -> None:
    """A visitor's whole way, and the section that comes of several."""
    await shop.carry(*world)
    visits = [await widget.visit(browser, shop, slowdown=times, tokens=20, idle_s=0.1) for times in widget.SLOWDOWNS]
    for each in visits:
        opened = each.opened
        assert min(opened.launcher_ms, opened.panel_ms, opened.connected_ms, opened.key_ms) > 0
        assert each.answer.tasks_ms > each.answer.script_ms > 0
        assert ["widget.js" in url for url in opened.loaded] == [True, False]
    bare = [await widget.grow(browser, shop, slowdown=times, tokens=800, times=9) for times in widget.SLOWDOWNS]
    visits = [msgspec.structs.replace(each, bare_ms=ms) for each, ms in zip(visits, bare, strict=True)]
    script = await browsers.sizes(visits[0].opened.loaded[:1])
    assert script["raw"] > script["gzip"] > script["br"] > 0
    section = widget._section(Plan(1, (20,)), visits, script, script)
    assert [row.figures["a bare paragraph"].median for row in section.rows if len(row.figures) > 1] == bare
    rows = {row.name: row.figures[OURS] for row in section.rows}
    assert rows["main thread for 20 tokens, 4 x"].median == visits[0].answer.tasks_ms
    assert rows["layout shift of the page's own elements"].most == 0


async def test_a_paragraph_that_does_not_fill_its_box_ends_the_run(browser: Browser, shop: Shop) -> None:
    """One that need not scroll would be cheaper than any answer."""
    with pytest.raises(RuntimeError, match="too short to scroll"):
        await widget.grow(browser, shop, slowdown=1, tokens=5, times=2)


async def test_an_answer_that_is_not_shown_ends_the_run(
    world: tuple[Frontdesk, Process], browser: Browser, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Figures of a widget that loses text would be worth nothing."""
    await shop.carry(*world)
    monkeypatch.setattr(upstream, "answer", lambda tokens: ["something else"] * tokens)
    with pytest.raises(RuntimeError, match="is shown with"):
        await widget.visit(browser, shop, slowdown=1, tokens=5)


async def test_a_covered_launcher_ends_the_run(world: tuple[Frontdesk, Process], browser: Browser, shop: Shop) -> None:
    """What lies over it takes its clicks."""
    await shop.carry(*world)
    shop.tag += "<style>footer { position: fixed; inset: 0; z-index: 2147483647 }</style>"
    with pytest.raises(RuntimeError, match="the launcher is covered"):
        await widget.visit(browser, shop, slowdown=1, tokens=5)
