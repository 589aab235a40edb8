"""Two hundred readers who take nothing, or a byte a second, from conversations in which 2 MB of answers stream.

An answer has at most 64,000 characters, so 2 MB are 33 of them, one after the other. Each slow reader is one more tab
of a visitor who reads well, and comes back whenever it is closed, to read as badly. What an instance holds for them is
its own memory, against what it had while the good readers alone heard such answers, and what the kernel holds in its
sending ends, which it does not count as the process's.
"""

import asyncio
import select
import socket
from collections.abc import Sequence
from pathlib import Path

import msgspec
import psutil

from server.protocol.visitor import Welcome
from tests.chaos.checkers import check_everything, figures
from tests.chaos.cluster import Cluster, Instance
from tests.chaos.light import masked
from tests.chaos.model import question
from tests.chaos.table import Figure, Row, percentile
from tests.chaos.visitor import Visitor, visiting
from tests.chaos.world import World
from tests.flows.support import Shop

MEMORY_EACH = 512 * 1024
# Characters of an answer, and of one of its tokens: long ones, so that the rig's own work is small.
ANSWER, TOKEN = 60_000, 60
PACE_MS = 2.0
# Bytes that a slow reader's own kernel takes without being asked: the least that there is.
RECEIVE_BYTES = 4_096
# Seconds that a widget of this kind waits before it comes back.
PAUSE_S = 1.0


class SlowReader:
    """A tab that says hello and reads `rate` bytes a second, 0 for none, for as long as it runs."""

    def __init__(self, shop: Shop, welcome: Welcome, port: int, address: str, rate: int) -> None:
        self.connections = 0
        self.closed = 0
        self._hello = msgspec.json.encode({"type": "hello", "v": 1, "key": shop.key, "session": welcome.session})
        self._origin = shop.origin
        self._port = port
        self._address = address
        self._rate = rate

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            with socket.socket() as line:
                line.setblocking(False)
                line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
                try:
                    await loop.sock_connect(line, ("127.0.0.1", self._port))
                    await loop.sock_sendall(line, self._handshake() + masked(self._hello))
                    await self._read(line)
                except OSError:
                    self.closed += 1
            await asyncio.sleep(PAUSE_S)

    async def _read(self, line: socket.socket) -> None:
        """Until the other side is gone, which who reads nothing learns only by asking the kernel."""
        loop = asyncio.get_running_loop()
        self.connections += 1
        gone = select.poll()
        gone.register(line, select.POLLRDHUP)
        # The handshake's answer, so that there is a WebSocket.
        await loop.sock_recv(line, 256)
        while True:
            await asyncio.sleep(1.0)
            if gone.poll(0):
                raise OSError("gone")
            if self._rate and not await loop.sock_recv(line, self._rate):
                raise OSError("gone")

    def _handshake(self) -> bytes:
        return (
            f"GET /api/v1/ws HTTP/1.1\r\nHost: x\r\nOrigin: {self._origin}\r\nX-Forwarded-For: {self._address}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            "Sec-WebSocket-Version: 13\r\n\r\n"
        ).encode()


class Held:
    """The most that instances held, of their own memory and in the kernel's buffers, since it was asked last."""

    def __init__(self, instances: Sequence[Instance]) -> None:
        self._processes = [psutil.Process(instance.pid) for instance in instances]
        self._ports = {f"{instance.port:04X}" for instance in instances}
        self.own = 0
        self.kernel = 0

    async def watch(self) -> None:
        while True:
            self.own = max(self.own, sum(process.memory_info().rss for process in self._processes))
            self.kernel = max(self.kernel, await asyncio.to_thread(self._unsent))
            await asyncio.sleep(0.25)

    def _unsent(self) -> int:
        """Bytes that wait in the sending ends of the instances' sockets, by the kernel's own table."""
        total = 0
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[1].rpartition(":")[2] in self._ports:
                total += int(fields[4].partition(":")[0], 16)
        return total


async def run(world: World) -> list[Figure]:
    readers, good, answers = world.rounds((200, 10, 33), (20, 2, 3))
    loop = asyncio.get_running_loop()
    async with world.cluster(2) as cluster:
        shop = await cluster.shop()
        held = Held(cluster.instances)
        watching = asyncio.create_task(held.watch(), name="memory")
        tabs = [visiting(shop, cluster.some_url, rng=world.rng, name=f"v{number}") for number in range(good)]
        visitors = [await tab.__aenter__() for tab in tabs]
        tasks: list[asyncio.Task[None]] = []
        try:
            # The same without slow readers first: what such texts take in any case, and how long.
            alone_s = await _talk(visitors, "a", -(-answers // 3))
            alone, kernel_alone = held.own, held.kernel
            slow = [_slow(cluster, shop, visitors[number % good], number) for number in range(readers)]
            tasks = [asyncio.create_task(each.run(), name="slow reader") for each in slow]
            began = loop.time()
            with_s = await _talk(visitors, "b", answers)
            # As long as it takes to close all of them once: those that came last as well.
            while not all(each.closed for each in slow) and loop.time() < began + 120:  # noqa: ASYNC110  # no event: kernel
                await asyncio.sleep(0.1)
            broken = await check_everything(cluster, visitors)
        finally:
            for task in [watching, *tasks]:
                task.cancel()
            await asyncio.gather(watching, *tasks, return_exceptions=True)
            for tab in tabs:
                await tab.__aexit__(None, None, None)
        logs = [await instance.logged() for instance in cluster.instances]
    own, kernel = max(0, held.own - alone) / readers, max(0, held.kernel - kernel_alone) / readers
    return [
        *figures(broken, world.report),
        Figure("slow readers", readers, goal=readers, least=True),
        Figure("text a conversation", answers * ANSWER / 1e6, "MB"),
        Figure("memory each, the process's", own / 1024, "KB"),
        Figure("memory each, the kernel's", kernel / 1024, "KB"),
        Figure("memory each, both", (own + kernel) / 1024, "KB", goal=MEMORY_EACH / 1024),
        Figure("never closed", sum(not each.closed for each in slow), goal=0, promise=True),
        Figure("closed", sum(each.closed for each in slow)),
        Figure("unhandled exceptions in the log", sum(log.count("Traceback") for log in logs), goal=0, promise=True),
        Figure("an answer without them, p99", percentile(alone_s, 99), "s"),
        Figure("an answer with them, p99", percentile(with_s, 99), "s", goal=1.5 * percentile(alone_s, 99) + 0.5),
    ]


def _slow(cluster: Cluster, shop: Shop, visitor: Visitor, number: int) -> SlowReader:
    assert visitor.welcome is not None
    port = cluster.instances[number % len(cluster.instances)].port
    return SlowReader(shop, visitor.welcome, port, f"10.1.{number >> 8}.{number & 255}", rate=number % 2)


async def _talk(visitors: Sequence[Visitor], name: str, answers: int) -> list[float]:
    """Each visitor asks so often; the seconds that each answer took, from the question on."""
    return [each for found in await asyncio.gather(*(_ask(one, name, answers) for one in visitors)) for each in found]


async def _ask(visitor: Visitor, name: str, answers: int) -> list[float]:
    loop, took = asyncio.get_running_loop(), []
    for number in range(answers):
        mark = f"{visitor.name}{name}{number}".ljust(TOKEN - 8, "x")
        began = loop.time()
        sent = await visitor.say(question(mark, tokens=ANSWER // TOKEN, pace_ms=PACE_MS), within_s=120)
        await visitor.answer(sent, within_s=60)
        took.append(loop.time() - began)
        if answers > 10:
            # A visitor may say 20 things a minute.
            await asyncio.sleep(max(0.0, began + 3.1 - loop.time()))
    return took


SLOW = Row(
    "slow",
    "200 readers at 0 or 1 byte a second while 2 MB answers stream",
    "memory <= 512 KB each, the others unaffected",
    run,
)
