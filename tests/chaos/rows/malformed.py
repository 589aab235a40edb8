"""A hundred thousand frames that are wrong in every way that is known to us, while a visitor chats on.

They come in connections of a few frames each, since eleven bad ones close a socket: before a hello and after one, in
text that is no text, JSON that is no JSON, frames that are no frames, handshakes that are no handshakes. Whatever is
answered, the instances live, nothing is logged as unforeseen, and their memory is flat from the middle on.
"""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable, Sequence

import msgspec
import psutil

from server.protocol import limits
from tests.chaos.broken import figures
from tests.chaos.checkers import check_everything
from tests.chaos.cluster import Cluster
from tests.chaos.light import masked
from tests.chaos.model import question
from tests.chaos.table import Figure, Row, percentile
from tests.chaos.visitor import Visitor, visiting
from tests.chaos.world import World
from tests.flows.support import Shop

# Connections at the same time.
AT_ONCE = 40
# Seconds that a connection's end is waited for.
PATIENCE_S = 30.0
# Bytes that memory may grow by from the middle to the end: what an allocator keeps, not what a leak takes.
FLAT = 8 * 1024 * 1024

_GOOD: list[dict[str, object]] = [
    {"type": "hello", "v": 1, "key": "pk_x", "session": {"id": "ses_x", "token": "st_x"}, "pending": ["a", "b"]},
    {"type": "message.send", "cid": "c", "text": "Hello", "attachments": [{"id": "f", "name": "n"}]},
    {"type": "turn.stop", "turn_id": "trn_x"},
    {"type": "tool.confirm", "call_id": "c", "approved": True},
    {"type": "feedback.give", "message_id": "m", "rating": "up", "comment": "good"},
    {"type": "handoff.request", "reason": "r"},
    {"type": "typing.set", "on": True},
    {"type": "ping", "t": 1},
]
_WRONG: list[object] = [
    None,
    True,
    -1,
    1.5,
    1e308,
    1 << 70,
    "",
    " ",
    "\0",
    "x" * 300,
    [],
    {},
    [[]],
    {"a": None},
    "💥" * 9,
]
_BYTES = [b"\xff\xfe", b"\xc3", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80", b"\xc0\xaf", b"\xef\xbf\xbe", b"\x80", b"\0"]

# What goes over the wire, of one frame that is wrong.
Kind = Callable[[random.Random], bytes]


def encoding(rng: random.Random) -> bytes:
    """Text that is not UTF-8, or that JSON forbids."""
    text = json.dumps(rng.choice(_GOOD)).encode()
    at = rng.randrange(len(text))
    return masked(text[:at] + rng.choice(_BYTES) + text[at + rng.randrange(2) :])


def escapes(rng: random.Random) -> bytes:
    """Escapes of half a character, of nothing, of too much."""
    wrong = rng.choice([r"\ud800", r"\udc00\ud800", r"\u12", r"\x41", r"\u{41}", "\\", r"\ud83d\u0041", "\t", "\r\n"])
    return masked(b'{"type":"message.send","cid":"c","text":"' + wrong.encode() + b'"}')


def depth(rng: random.Random) -> bytes:
    """Brackets without end, or with one."""
    many = rng.choice([33, 100, 1_000, 10_000, 30_000])
    opening, closing = rng.choice([("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")])
    bomb = opening * (many // len(opening)) + ("1" + closing * (many // len(opening)) if rng.random() < 0.5 else "")
    frame = {"type": "typing.set", "on": True, "x": 0}
    return masked((json.dumps(frame).replace("0}", bomb + "}") if rng.random() < 0.5 else bomb).encode()[:65_000])


def size(rng: random.Random) -> bytes:
    """Larger than is read, or than is allowed, or lying about it."""
    kind = rng.randrange(4)
    if kind == 0:
        return masked(b'{"type":"ping","t":1,"x":"' + b"x" * rng.choice([65_536, 100_000, 131_000]) + b'"}')
    if kind == 1:
        return masked(b"x" * (2 * limits.FRAME_BYTES + rng.randrange(1, 50_000)))
    if kind == 2:
        return (
            b"\x81\xff"
            + rng.choice([1 << 62, 1 << 63, (1 << 64) - 1, 1 << 31]).to_bytes(8, "big")
            + bytes(4)
            + b"x" * 9
        )
    return b"\x81\xfe\x00\x05" + bytes(4) + b"short"  # a small length in the long form


def types(rng: random.Random) -> bytes:
    """A field of the wrong type, or none."""
    frame = dict(rng.choice(_GOOD))
    name = rng.choice(list(frame))
    if rng.random() < 0.3:
        del frame[name]
    else:
        frame[name] = rng.choice(_WRONG)
    return masked(json.dumps(frame).encode())


def unknown(rng: random.Random) -> bytes:
    """Types that are nobody's, or somebody else's; values that are no object."""
    kind = rng.choice(["", "PING", "message.delta", "welcome", "conversation.take", "__class__", "x" * 500, "ping\0"])
    values: list[object] = [[], "", 1, None, True, [{"type": "ping"}], {"type": kind}, {"type": kind, "t": 1}]
    return masked(json.dumps(rng.choice(values)).encode())


def mutated(rng: random.Random) -> bytes:
    """A good frame in which some bytes are others, or gone, or there twice."""
    text = bytearray(json.dumps(rng.choice(_GOOD)).encode())
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(text))
        match rng.randrange(3):
            case 0:
                text[at] = rng.randrange(32, 127)
            case 1:
                del text[at : at + rng.randint(1, 4)]
                text = text or bytearray(b"{")
            case _:
                text[at:at] = text[at : at + rng.randint(1, 20)]
    return masked(bytes(text))


def fragments(rng: random.Random) -> bytes:
    """Pieces in an order that nobody sends, without an end, or of nothing."""
    text = json.dumps(rng.choice(_GOOD)).encode()
    match rng.randrange(6):
        case 0:
            return masked(text, 0)  # a continuation of nothing
        case 1:
            return masked(text[:5], 1, fin=False) + masked(text, 1)  # a second beginning
        case 2:
            return masked(text[:1], fin=False) + masked(b"", 0, fin=False) * rng.choice([1, 100, 5_000])
        case 3:
            return masked(b"\xc3", fin=False) + masked(b"\x28", 0)  # half a character a piece
        case 4:
            return masked(b"x" * 60_000, fin=False) + masked(b"x" * 60_000, 0, fin=False) * 3
        case _:
            return masked(text[:3], fin=False) + masked(b"ping", 9, fin=False)  # a ping in pieces


def framing(rng: random.Random) -> bytes:
    """Bits, opcodes, masks, closes that the WebSocket protocol forbids."""
    payload = json.dumps(rng.choice(_GOOD)).encode()[:120]
    match rng.randrange(7):
        case 0:
            return bytes([0x81, len(payload)]) + payload  # no mask
        case 1:
            return bytes([0x81 | rng.choice([0x10, 0x20, 0x40, 0x70])]) + masked(payload)[1:]
        case 2:
            return masked(payload, rng.choice([3, 4, 5, 6, 7, 11, 12, 13, 14, 15]))
        case 3:
            return masked(b"x" * 126, rng.choice([8, 9, 10]))  # a long control frame
        case 4:
            return masked(
                rng.choice([b"\x03", b"\x03\xe7", b"\x03\xec", b"\0\0", b"\x13\x88\xff\xfe", b"\x03\xe8\xc3"]), 8
            )
        case 5:
            return rng.randbytes(rng.randint(1, 400))
        case _:
            return masked(payload, 2)  # binary


KINDS: list[Kind] = [encoding, escapes, depth, size, types, unknown, mutated, fragments, framing]


def handshake(shop: Shop, address: str, rng: random.Random) -> bytes:
    """One in twenty is no handshake."""
    lines = [
        "GET /api/v1/ws HTTP/1.1",
        "Host: x",
        f"Origin: {shop.origin}",
        f"X-Forwarded-For: {address}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        "Sec-WebSocket-Version: 13",
    ]
    if rng.randrange(20) == 0:
        match rng.randrange(5):
            case 0:
                del lines[rng.randrange(len(lines))]
            case 1:
                lines[rng.randrange(len(lines))] = rng.randbytes(40).hex()
            case 2:
                lines.append(f"X-Long: {'x' * rng.choice([9_000, 70_000])}")
            case 3:
                lines += [f"X-{number}: 1" for number in range(rng.choice([200, 2_000]))]
            case _:
                lines[0] = rng.choice(
                    ["GET /api/v1/ws HTTP/9.9", "GET  HTTP/1.1", "\x16\x03\x01", "BREW /coffee HTCPCP/1.0"]
                )
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


class Nuisance:
    """Sends what is wrong, `count` frames in all, in connections to any of the instances."""

    def __init__(self, cluster: Cluster, shop: Shop, rng: random.Random, count: int) -> None:
        self.sent: Counter[str] = Counter()
        self.connections = 0
        # Bytes that somebody answered with, by what they begin with: for the curious.
        self.ends: Counter[str] = Counter()
        self._cluster = cluster
        self._shop = shop
        self._rng = rng
        self._count = count

    @property
    def done(self) -> int:
        return self.sent.total()

    async def run(self) -> None:
        while self.done < self._count:
            self.connections += 1
            await self._connect(self.connections)

    async def _connect(self, number: int) -> None:
        rng = self._rng
        try:
            async with asyncio.timeout(PATIENCE_S):
                reader, writer = await asyncio.open_connection("127.0.0.1", rng.choice(self._cluster.instances).port)
        except (OSError, TimeoutError) as error:
            self.ends[type(error).__name__] += 1
            await asyncio.sleep(0.1)
            return
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._speak(reader, writer, f"10.2.{number >> 8 & 255}.{number & 255}")
            self.ends["closed"] += 1
        except TimeoutError:
            self.ends["open"] += 1
        except (OSError, EOFError) as error:
            self.ends[type(error).__name__] += 1
        finally:
            writer.transport.abort()

    async def _speak(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: str) -> None:
        rng = self._rng
        writer.write(handshake(self._shop, address, rng))
        head = await reader.readuntil(b"\r\n")
        if b" 101 " not in head:
            await reader.read()
            return
        if rng.random() < 0.3:
            writer.write(masked(msgspec.json.encode({"type": "hello", "v": 1, "key": self._shop.key})))
        for _ in range(12):
            kind = rng.choice(KINDS)
            self.sent[kind.__name__] += 1
            writer.write(kind(rng))
            await writer.drain()
        # A close, after which the server has to say goodbye, whatever it made of the frames before.
        writer.write(masked(b"\x03\xe8", 8))
        while await reader.read(65_536):
            pass


async def run(world: World) -> list[Figure]:
    count = world.rounds(100_000, 3_000)
    async with world.cluster(2) as cluster, asyncio.TaskGroup() as group:
        shop = await cluster.shop()
        async with visiting(shop, cluster.some_url, rng=world.rng, name="bystander") as bystander:
            nuisance = Nuisance(cluster, shop, world.rng, count)
            processes = [psutil.Process(instance.pid) for instance in cluster.instances]
            crowd = [group.create_task(nuisance.run(), name="nuisance") for _ in range(AT_ONCE)]
            waits: list[float] = []
            first = middle = 0
            while not all(task.done() for task in crowd):
                waits.append(await _chat(bystander, len(waits)))
                now = sum(process.memory_info().rss for process in processes)
                if nuisance.done < count // 5 or not first:
                    first = now
                if nuisance.done < count // 2 or not middle:
                    middle = now
            await _quiet(cluster)
            last = sum(process.memory_info().rss for process in processes)
            broken = await check_everything(cluster, [bystander])
        logs = [await instance.logged() for instance in cluster.instances]
        lived = sum(instance.running and instance.lives == 1 for instance in cluster.instances)
    for log in logs:
        for line in log.splitlines():
            if "Traceback" in line or _level(line) in {"error", "critical"}:
                world.report(line)
    kinds = len(nuisance.sent)
    return [
        *figures(broken, world.report),
        Figure("frames", nuisance.done, goal=count, least=True, promise=True),
        Figure("kinds of them", kinds, goal=len(KINDS), least=True),
        Figure("connections", nuisance.connections),
        Figure("crashes", len(cluster.instances) - lived, goal=0, promise=True),
        Figure("unhandled exceptions in the log", sum(log.count("Traceback") for log in logs), goal=0, promise=True),
        Figure("errors in the log", _errors(logs), goal=0, promise=True),
        Figure("memory of both, at a fifth", first / 1e6, "MB"),
        Figure("memory of both, in the middle", middle / 1e6, "MB"),
        Figure("memory grown by from there to the end", (last - middle) / 1e6, "MB", goal=FLAT / 1e6),
        Figure("connections never closed by the server", nuisance.ends["open"], goal=0, promise=True),
        Figure("a bystander's answer, p99", percentile(waits, 99), "s"),
    ]


async def _chat(visitor: Visitor, number: int) -> float:
    began = asyncio.get_running_loop().time()
    sent = await visitor.say(question(f"by{number}", tokens=5, pace_ms=20))
    await visitor.answer(sent)
    took = asyncio.get_running_loop().time() - began
    # A visitor may say 20 things a minute.
    await asyncio.sleep(max(0.0, 3.1 - took))
    return took


async def _quiet(cluster: Cluster) -> None:
    """Until the sockets that were left are gone."""
    ports = [instance.port for instance in cluster.instances]
    for _ in range(100):
        counts = [await _open_sockets(port) for port in ports]
        if sum(counts) <= 1:
            return
        await asyncio.sleep(0.2)


async def _open_sockets(port: int) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    body = await reader.read()
    writer.close()
    [value] = [line.split()[1] for line in body.decode().splitlines() if line.startswith("frontdesk_sockets ")]
    return int(float(value))


def _level(line: str) -> str:
    """The level of a line of the log."""
    _, found, rest = line.partition("[")
    return rest.partition("]")[0].strip() if found else ""


def _errors(logs: Sequence[str]) -> int:
    return sum(_level(line) in {"error", "critical"} for log in logs for line in log.splitlines())


MALFORMED = Row(
    "malformed",
    "100,000 malformed frames (encoding, depth, size, types, unknown, fragments)",
    "0 crashes, 0 unhandled exceptions, memory flat",
    run,
)
