"""Instances forked from a warm process: about 0.2 s from the order to a listening server, not two.

`python -m tests.chaos.forks` is that process. It reads orders, one line of JSON each, forks a child for each, and
writes what becomes of them: who was forked, who listens, who has ended and how. It has one thread and no event loop, so
that forking it is safe; a child runs the production server (`server.cli.process.Server`) and nothing of the rig but
what its order names. When its input ends, it kills every child and ends.
"""

import asyncio
import ctypes
import gc
import importlib
import json
import os
import selectors
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from server.settings import Settings

_ROOT = Path(__file__).parent.parent.parent
# Seconds for an instance to listen. It takes a fraction of one; a machine that tests in parallel is slow.
START_S = 30.0
_PR_SET_PDEATHSIG = 1


class Order(msgspec.Struct, frozen=True):
    """What a child is to be. `install` are functions it calls first, as `module:function` or `module:function=text`."""

    number: int
    settings: Settings
    port: int
    log: str
    install: list[str]


class Said(msgspec.Struct, frozen=True):
    """What the fork server says of the child of an order."""

    what: str
    number: int
    pid: int = 0
    code: int = 0


# --- the rig's side


class Child:
    """A forked instance. `ended` has its exit code, minus the signal's number where one killed it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()


class ForkServer:
    """The warm process, and the children it made. Starts with the first fork."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()
        self._numbers = 0
        self._children: dict[int, Child] = {}
        self._forked: dict[int, asyncio.Future[Child]] = {}
        self._listening: dict[int, asyncio.Future[None]] = {}

    async def fork(self, settings: Settings, *, port: int, log: Path, install: Sequence[str] = ()) -> Child:
        """An instance that listens on 127.0.0.1. Raises RuntimeError with the end of its log when it does not."""
        async with self._starting:
            if self._process is None:
                await self._start()
        assert self._process is not None and self._process.stdin is not None
        loop = asyncio.get_running_loop()
        self._numbers += 1
        number = self._numbers
        forked: asyncio.Future[Child] = loop.create_future()
        listening: asyncio.Future[None] = loop.create_future()
        self._forked[number], self._listening[number] = forked, listening
        order = Order(number, settings, port, str(log), list(install))
        self._process.stdin.write(msgspec.json.encode(order) + b"\n")
        async with asyncio.timeout(START_S):
            child = await forked
            either: set[asyncio.Future[Any]] = {listening, child.ended}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        del self._forked[number], self._listening[number]
        if not listening.done():
            raise RuntimeError(f"an instance did not start: {await asyncio.to_thread(_tail, log)}")
        return child

    async def stop(self) -> None:
        """Ends it and all of its children."""
        if self._process is None or self._reader is None:
            return
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()
        await self._reader
        self._process = None

    async def _start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.chaos.forks"),
            cwd=_ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")},
        )
        assert self._process.stdout is not None
        self._reader = asyncio.create_task(self._read(self._process.stdout), name="fork server")

    async def _read(self, output: asyncio.StreamReader) -> None:
        async for line in output:
            said = msgspec.json.decode(line, type=Said)
            match said.what:
                case "forked":
                    child = self._children[said.number] = Child(said.pid)
                    if not (waiting := self._forked[said.number]).done():
                        waiting.set_result(child)
                case "listens":
                    waiting_for = self._listening.get(said.number)
                    if waiting_for is not None and not waiting_for.done():
                        waiting_for.set_result(None)
                case "ended":
                    self._children.pop(said.number).ended.set_result(said.code)
        for forked in self._forked.values():
            if not forked.done():
                forked.set_exception(RuntimeError("the fork server has ended; what it wrote says why"))


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-3000:]


# --- the warm process


def main() -> None:
    _warm_up()
    # The ready-made objects are never looked at again by a child's collector, and stay shared.
    gc.collect()
    gc.freeze()
    if threading.active_count() != 1:
        raise RuntimeError(f"forking needs one thread, and there are {threading.enumerate()}")
    woken, wake = os.pipe()
    os.set_blocking(woken, False)
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    # A terminal's Ctrl-C is the rig's business.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    out = os.dup(1)
    children: dict[int, int] = {}
    buffer = b""
    with selectors.DefaultSelector() as selector:
        selector.register(0, selectors.EVENT_READ)
        selector.register(woken, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fd == woken:
                    os.read(woken, 4096)
                    _reap(children, out)
                    continue
                data = os.read(0, 65_536)
                if not data:
                    _kill_all(children, out)
                    return
                *lines, buffer = (buffer + data).split(b"\n")
                for line in lines:
                    order = msgspec.json.decode(line, type=Order)
                    children[_fork(order, out)] = order.number


def _warm_up() -> None:
    """Imports what an instance imports, at the start or with its first answer."""
    import server.cli.run
    import server.llm.openai  # noqa: F401  # imported when chosen; here, before it is
    from server.llm import tokens
    from tests.support import MODEL

    tokens.preload([MODEL])


def _fork(order: Order, out: int) -> int:
    pid = os.fork()
    if pid:
        _say(out, Said("forked", order.number, pid))
        return pid
    code = 1
    try:
        _become(order, out)
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except BaseException:  # noqa: BLE001  # a child may never return into the parent's loop
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(code)


def _become(order: Order, out: int) -> None:
    """The child: a server as `frontdesk serve` runs it."""
    import server.app
    from server import log
    from server.cli.process import Server
    from server.cli.run import uvicorn_config

    # Whoever kills the fork server kills its children.
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    sink = os.open(order.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(sink, 1)
    os.dup2(sink, 2)
    log.configure(order.settings.log_level, order.settings.log_format)
    for each in order.install:
        _install(each)
    config = uvicorn_config(server.app.create_app(order.settings), "127.0.0.1", order.port)
    Server(config, ready=lambda: _say(out, Said("listens", order.number, os.getpid()))).run()


def _install(name: str) -> None:
    place, _, text = name.partition("=")
    module, _, function = place.partition(":")
    call: Callable[..., None] = getattr(importlib.import_module(module), function)
    call(*([text] if text else []))


def _reap(children: dict[int, int], out: int) -> None:
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        _say(out, Said("ended", children.pop(pid), pid, os.waitstatus_to_exitcode(status)))


def _kill_all(children: dict[int, int], out: int) -> None:
    for pid in children:
        os.kill(pid, signal.SIGKILL)
    while children:
        pid, status = os.waitpid(-1, 0)
        _say(out, Said("ended", children.pop(pid), pid, os.waitstatus_to_exitcode(status)))


def _say(out: int, said: Said) -> None:
    """One write: lines of several processes do not mix in a pipe, up to 4 KiB."""
    os.write(out, json.dumps(msgspec.to_builtins(said)).encode() + b"\n")


if __name__ == "__main__":
    main()
