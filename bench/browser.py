"""A Chromium that is measured: on cores of its own, driven over the DevTools protocol (CDP) and nothing between.

Playwright, as the tests use it, is told of every frame of every socket, by the page's own thread. Here only what a
measurement reads is switched on.
"""

import asyncio
import itertools
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from bench.servers import free_port, process
from tests.browser.chromium import find_chromium

# What CDP says: each of its hundreds of methods has a shape of its own.
Json = dict[str, Any]
Listener = Callable[[Json], None]

# Seconds until a call is given up; the longest waits for a whole answer of the model.
_PATIENCE_S = 60.0
# Root in a container has no sandbox; the rest keeps the browser to itself and its pages awake.
_ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-startup-window",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    # Pages of the browser's own window, which would be drawn on the same core, and processes kept in reserve.
    "--disable-features=WebUIOmniboxPopup,WebUIOmniboxAimPopup,SpareRendererForSitePerProcess",
    "--mute-audio",
    "--password-store=basic",
)
# Categories of a trace: the tasks of all threads, and the marks of pages.
_TRACED = ("disabled-by-default-devtools.timeline", "blink.user_timing")
_MARK = "bench: this page"

# In every page before its own scripts, as `bench`.
_HELPERS = """
globalThis.bench ??= {
  // Callbacks of a frame run before it is drawn; a message sent from there arrives after.
  painted: () => new Promise((done) => requestAnimationFrame(() => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => done(performance.now());
    port2.postMessage(null);
  })),
  // What `find` gives, as soon as it gives something; looks again at every change below `root`.
  found: (root, find) => new Promise((done) => {
    const look = () => {
      const it = find();
      if (!it) return;
      watch.disconnect();
      done(it);
    };
    const watch = new MutationObserver(look);
    watch.observe(root, { subtree: true, childList: true, attributes: true, characterData: true });
    look();
  }),
  loaded: () => performance.getEntriesByType("resource").map(({ name }) => name),
};
"""


class Busy(msgspec.Struct, frozen=True):
    """CPU of the page's main thread in milliseconds: all its tasks, and what of them was scripts, style and layout.
    The rest is painting, compositing and the browser's own. `layouts` is how often it laid out."""

    tasks_ms: float
    script_ms: float
    style_ms: float
    layout_ms: float
    layouts: float


class Task(msgspec.Struct, frozen=True):
    """One task of the page's main thread: the CPU that it took, and the time."""

    cpu_ms: float
    wall_ms: float


class Browser:
    """A connection to a running Chromium. `pid` is its first process."""

    def __init__(self, socket: ClientConnection, pid: int) -> None:
        self.pid = pid
        self._socket = socket
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Json]] = {}
        self._listeners: dict[str, Listener] = {}
        self._reading = asyncio.create_task(self._read())

    async def call(self, method: str, params: Json | None = None, *, session: str | None = None) -> Json:
        """Raises RuntimeError with what Chromium says is wrong, TimeoutError, ConnectionError when it is gone."""
        number = next(self._numbers)
        message: Json = {"id": number, "method": method, "params": params or {}}
        if session is not None:
            message["sessionId"] = session
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        try:
            await self._socket.send(msgspec.json.encode(message).decode())
            return await asyncio.wait_for(answer, _PATIENCE_S)
        except TimeoutError:
            raise TimeoutError(f"Chromium did not answer {method} within {_PATIENCE_S:g} s") from None
        finally:
            del self._answers[number]

    @asynccontextmanager
    async def tab(self, *, width: int = 1280, height: int = 800) -> AsyncIterator["Tab"]:
        """A tab in a fresh profile: nothing cached, nobody signed in."""
        context = (await self.call("Target.createBrowserContext"))["browserContextId"]
        try:
            size = {"width": width, "height": height}
            target = await self.call("Target.createTarget", {"url": "about:blank", "browserContextId": context, **size})
            wanted = {"targetId": target["targetId"], "flatten": True}
            tab = Tab(self, (await self.call("Target.attachToTarget", wanted))["sessionId"])
            await tab.call("Page.enable")
            await tab.call("Emulation.setDeviceMetricsOverride", **size, deviceScaleFactor=1, mobile=False)
            await tab.call("Emulation.setFocusEmulationEnabled", enabled=True)
            # Of the thread's own clock: what else runs on its core is not the page's.
            await tab.call("Performance.enable", timeDomain="threadTicks")
            await tab.at_start(_HELPERS)
            yield tab
        finally:
            await self.call("Target.disposeBrowserContext", {"browserContextId": context})

    @asynccontextmanager
    async def tracing(self, categories: Sequence[str]) -> AsyncIterator[list[Json]]:
        """What all its processes do meanwhile. The events are in the list once the block has ended."""
        events: list[Json] = []
        whole = asyncio.get_running_loop().create_future()
        self._listeners["Tracing.dataCollected"] = lambda given: events.extend(given["value"])
        self._listeners["Tracing.tracingComplete"] = whole.set_result
        wanted = {"includedCategories": list(categories), "excludedCategories": ["*"]}
        await self.call("Tracing.start", {"transferMode": "ReportEvents", "traceConfig": wanted})
        yield events
        await self.call("Tracing.end")
        await asyncio.wait_for(whole, _PATIENCE_S)

    async def end(self) -> None:
        """Stops listening to it."""
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)

    async def _read(self) -> None:
        reason = "Chromium has closed the connection"
        try:
            async for raw in self._socket:
                message: Json = msgspec.json.decode(raw)
                if "id" in message:
                    self._answer(message)
                elif listener := self._listeners.get(message["method"]):
                    listener(message["params"])
        except ConnectionClosed as closed:
            reason = str(closed)
        finally:
            for answer in self._answers.values():
                if not answer.done():
                    answer.set_exception(ConnectionError(reason))

    def _answer(self, message: Json) -> None:
        answer = self._answers.get(message["id"])
        if answer is None or answer.done():
            return  # it was waited for too long
        if "error" in message:
            answer.set_exception(RuntimeError(f"Chromium: {message['error']}"))
        else:
            answer.set_result(message["result"])


class Tab:
    """One page."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session

    async def call(self, method: str, **params: Any) -> Json:
        """Raises as `Browser.call`."""
        return await self._browser.call(method, params, session=self._session)

    async def at_start(self, script: str) -> None:
        """It runs in every page from now on, before the page's own scripts."""
        await self.call("Page.addScriptToEvaluateOnNewDocument", source=script)

    async def goto(self, url: str) -> None:
        """Raises RuntimeError when nothing is there. Returns when the page begins, not when it has loaded."""
        answer = await self.call("Page.navigate", url=url)
        if failed := answer.get("errorText"):
            raise RuntimeError(f"{url}: {failed}")

    async def slow_down(self, times: float) -> None:
        """The CPU of the page's process is so many times slower from now on; a page of another site has another."""
        await self.call("Emulation.setCPUThrottlingRate", rate=times)

    async def evaluate(self, expression: str) -> Any:
        """The value, of a promise what it gives. Raises RuntimeError for what the page throws."""
        answer = await self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if thrown := answer.get("exceptionDetails"):
            raise RuntimeError(f"{expression}: {thrown.get('exception', {}).get('description') or thrown['text']}")
        return answer["result"].get("value")

    async def set_cookie(self, name: str, value: str, url: str) -> None:
        await self.call("Network.setCookie", name=name, value=value, url=url)

    async def point(self, x: float, y: float) -> None:
        """Moves the mouse there."""
        await self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    async def click(self, x: float, y: float) -> None:
        for kind in ("mousePressed", "mouseReleased"):
            await self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    async def wheel(self, x: float, y: float, down: float) -> None:
        """Turns the wheel by so many CSS pixels."""
        await self.call("Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=down)

    async def press(self, key: str) -> None:
        """A letter, or Enter, or Backspace."""
        code, number, text = _KEYS.get(key) or (f"Key{key.upper()}", ord(key.upper()), key)
        named = {"key": key, "code": code, "windowsVirtualKeyCode": number}
        await self.call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", text=text, **named)
        await self.call("Input.dispatchKeyEvent", type="keyUp", **named)

    async def type(self, text: str) -> None:
        """All of it at once, where the focus is."""
        await self.call("Input.insertText", text=text)

    @asynccontextmanager
    async def busy(self) -> AsyncIterator[list[Busy]]:
        """What the main thread does meanwhile. The one element is in the list once the block has ended."""
        result: list[Busy] = []
        before = await self._metrics()
        yield result
        after = await self._metrics()
        grown = {name: after[name] - before[name] for name in after}
        result.append(
            Busy(
                tasks_ms=grown["TaskDuration"] * 1e3,
                script_ms=grown["ScriptDuration"] * 1e3,
                style_ms=grown["RecalcStyleDuration"] * 1e3,
                layout_ms=grown["LayoutDuration"] * 1e3,
                layouts=grown["LayoutCount"],
            )
        )

    @asynccontextmanager
    async def tasks(self) -> AsyncIterator[list[Task]]:
        """The tasks of the main thread meanwhile, in the list once the block has ended. Being traced costs time too."""
        result: list[Task] = []
        async with self._browser.tracing(_TRACED) as events:
            await self.evaluate(f"void performance.mark({_MARK!r})")
            yield result
            # A task is in the trace when it has ended, and this one begins after the others.
            await self.evaluate("void 0")
        result += _tasks(events)

    async def _metrics(self) -> dict[str, float]:
        answer = await self.call("Performance.getMetrics")
        return {each["name"]: each["value"] for each in answer["metrics"]}


# Code, number and text of the keys that are no letters.
_KEYS = {"Enter": ("Enter", 13, "\r"), "Backspace": ("Backspace", 8, "")}


@asynccontextmanager
async def open_browser(cores: set[int], log: Path) -> AsyncIterator[Browser]:
    """A running Chromium without a screen, all of whose processes stay on `cores`. Raises NoChromiumError."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        command = [str(find_chromium()), *_ARGUMENTS]
        command += [f"--user-data-dir={profile}", f"--remote-debugging-port={port}"]
        with process("Chromium", command, port, cores=cores, log=log, environ={}) as running:
            async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}/json/version") as answer:
                url = (await answer.json())["webSocketDebuggerUrl"]
            async with connect(url, max_size=None, proxy=None, compression=None, ping_interval=None) as socket:
                browser = Browser(socket, running.pid)
                try:
                    yield browser
                finally:
                    await browser.end()


def _tasks(events: Sequence[Json]) -> list[Task]:
    """Those of the thread that has set the mark. Raises RuntimeError without one."""
    marked = {(event["pid"], event["tid"]) for event in events if event["name"] == _MARK}
    if len(marked) != 1:
        raise RuntimeError(f"the mark of the page is in the trace of {len(marked)} threads")
    mine = [event for event in events if event["name"] == "RunTask" and (event["pid"], event["tid"]) in marked]
    return [Task(event.get("tdur", 0) / 1e3, event["dur"] / 1e3) for event in mine if "dur" in event]


async def sizes(urls: Sequence[str]) -> dict[str, int]:
    """Bytes on the wire of all of them: as they are (`raw`), and in each compression, where the server has it."""
    total = dict.fromkeys(("raw", "gzip", "br"), 0)
    async with aiohttp.ClientSession(auto_decompress=False) as http:
        for name in total:
            accepted = {"Accept-Encoding": "identity" if name == "raw" else name}
            for url in urls:
                async with http.get(url, headers=accepted, raise_for_status=True) as answer:
                    total[name] += len(await answer.read())
    return total
