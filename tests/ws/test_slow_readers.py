"""Readers who stop reading, over real sockets: they are caught up once or closed, and nobody else notices."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Origin

from server import metrics
from server.protocol import codec
from server.protocol.visitor import MessageCompleted, Ping, SessionProof, Welcome
from server.ws import connection, transport
from tests.flows.support import Desk, Shop, Tab
from tests.flows.view import View
from tests.support import eventually
from tests.wire_servers import Answer, WireServer

# Two answers of this are more than all buffers of a slow reader take here.
WORDS = tuple(f"word{number} " for number in range(6_000))
TEXT = "".join(WORDS)
LONG = Answer(tokens=WORDS, tokens_per_s=12_000)


@pytest.fixture(autouse=True)
def small_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that an answer of 60 KB overflows them."""
    monkeypatch.setattr(transport, "KERNEL_BYTES", 4_096)
    monkeypatch.setattr(connection, "QUEUE_BYTES", 16_384)


@asynccontextmanager
async def slow_tab(desk: Desk, shop: Shop, proof: SessionProof) -> AsyncIterator[Tab]:
    """A tab that reads from its network only while somebody reads from it."""
    below = socket.socket()
    below.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    below.connect(("127.0.0.1", int(desk.url.rpartition(":")[2])))
    async with connect(
        desk.instances[0].ws_url,
        sock=below,
        origin=Origin(shop.origin),
        compression=None,
        max_queue=1,
        ping_interval=None,
        proxy=None,
    ) as tab:
        yield Tab(tab, shop, View())


def _value(name: str, **labels: str) -> float:
    return metrics.REGISTRY.get_sample_value(name, labels) or 0.0


async def _behind(count: float) -> None:
    async def so() -> bool:
        return _value("frontdesk_sockets_behind_total") >= count

    await eventually(so, "a queue was dropped")


async def test_one_merged_catch_up(desk: Desk, model: WireServer) -> None:
    """Who fell behind once and reads on has everything, in order, without asking again or coming anew."""
    shop = await desk.shop()
    async with desk.visit(shop) as (quick, welcome), slow_tab(desk, shop, welcome.session) as slow:
        await slow.hello(proof=welcome.session)
        await slow.settle()
        before = _value("frontdesk_sockets_behind_total")
        model.script(LONG)
        await quick.say("Tell me all")
        await _behind(before + 1)
        assert (await quick.next(MessageCompleted)).message.text == TEXT
        await slow.shows(TEXT)
        assert len(slow.of(Welcome)) == 1
        assert slow.view.texts == quick.view.texts
        await slow.settle()


async def test_who_reads_nothing_is_closed(desk: Desk, model: WireServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """With 4008, once nothing was taken for that long; another tab of the same conversation has it all."""
    monkeypatch.setattr(connection, "STUCK_S", 0.5)
    shop = await desk.shop()
    async with desk.visit(shop) as (quick, welcome), slow_tab(desk, shop, welcome.session) as slow:
        await slow.hello(proof=welcome.session)
        await slow.settle()
        closed = _value("frontdesk_sockets_closed_total", code="4008")
        model.script(LONG)
        await quick.say("Tell me all")
        assert (await quick.next(MessageCompleted)).message.text == TEXT

        async def so() -> bool:
            return _value("frontdesk_sockets_closed_total", code="4008") == closed + 1

        await eventually(so, "the reader is closed")
        await quick.settle()
        # What the network holds for it can still be read, and the reason is the last of it.
        assert await slow.closed() == 4008
    async with desk.visit(shop, proof=welcome.session) as (back, _):
        await back.settle()
        assert back.view.texts == quick.view.texts


async def test_who_reads_nothing_for_good_is_cut(
    desk: Desk, model: WireServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes not even the close and keeps its socket open: the server lets go of it all the same."""
    monkeypatch.setattr(connection, "STUCK_S", 0.3)
    monkeypatch.setattr(transport, "CLOSE_S", 0.3)
    shop = await desk.shop()
    async with desk.visit(shop) as (quick, welcome):
        reader, writer = await _raw(desk, shop, welcome.session)
        sockets = _value("frontdesk_sockets")
        model.script(LONG)
        await quick.say("Tell me all")
        assert (await quick.next(MessageCompleted)).message.text == TEXT

        async def gone() -> bool:
            return _value("frontdesk_sockets") == sockets - 1

        await eventually(gone, "the server has let go of it")
        with pytest.raises(ConnectionError):
            while await reader.read(65_536):
                pass
        writer.close()
        await quick.settle()


async def _raw(desk: Desk, shop: Shop, proof: SessionProof) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A socket that has been welcomed and is then not read."""
    below = socket.socket()
    below.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    below.connect(("127.0.0.1", int(desk.url.rpartition(":")[2])))
    reader, writer = await asyncio.open_connection(sock=below, limit=1_024)
    writer.write(
        f"GET /api/v1/ws HTTP/1.1\r\nHost: x\r\nOrigin: {shop.origin}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    await reader.readuntil(b"\r\n\r\n")
    writer.write(masked(codec.encode({"type": "hello", "v": 1, "key": shop.key, "session": proof})))
    await reader.readuntil(b'"welcome"')
    return reader, writer


def masked(payload: bytes, opcode: int = 1, *, fin: bool = True) -> bytes:
    """A client's frame, masked with zeros: legal, and it leaves the payload as it is."""
    head = bytes([opcode | (0x80 if fin else 0)])
    size = len(payload)
    if size < 126:
        length = bytes([0x80 | size])
    elif size < 65_536:
        length = b"\xfe" + size.to_bytes(2, "big")
    else:
        length = b"\xff" + size.to_bytes(8, "big")
    return head + length + bytes(4) + payload


# --- those who send without reading


async def test_pings_are_answered_no_faster_than_they_are_read(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The WebSocket protocol's own pings go past our queue: who sends them and reads nothing is not read either."""
    monkeypatch.setattr(transport, "REST_TIMES", 0.0)
    shop = await desk.shop()
    async with desk.visit(shop) as (quick, welcome):
        reader, writer = await _raw(desk, shop, welcome.session)
        ping = masked(bytes(125), opcode=9)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2):
                while True:
                    writer.write(ping * 100)
                    await writer.drain()
        await quick.settle()
        # Whoever reads again is answered again.
        reading = asyncio.create_task(_read_some(reader, 100_000))
        async with asyncio.timeout(20):
            await reading
        writer.transport.abort()


async def _read_some(reader: asyncio.StreamReader, size: int) -> None:
    while size > 0:
        size -= len(await reader.read(65_536))


async def test_pieces_without_end(desk: Desk) -> None:
    """Empty continuations never reach the limit of size, and each takes memory: so many, and the socket is closed."""
    shop = await desk.shop()
    async with desk.visit(shop) as (quick, welcome):
        reader, writer = await _raw(desk, shop, welcome.session)
        writer.write(masked(b"{", opcode=1, fin=False))
        writer.write(masked(b"", opcode=0, fin=False) * (transport.FRAGMENTS + 1))
        rest = await reader.read()
        assert rest.endswith((1009).to_bytes(2, "big") + b"too many fragments")
        writer.close()
        await quick.settle()


def handshakes() -> Iterator[tuple[str, bytes]]:
    """Requests for a socket that no WebSocket library takes, or that it takes apart in another way than we do."""
    head = (
        "GET /api/v1/ws HTTP/1.1\r\nHost: x\r\nOrigin: https://x.example\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
    )
    yield "a line of 20 KB", f"{head}X-Long: {'x' * 20_000}\r\n\r\n".encode()
    yield "500 headers", (head + "".join(f"X-{n}: 1\r\n" for n in range(500)) + "\r\n").encode()
    yield "a header of bytes", head.encode() + b"X-Bytes: \xff\xfe\xe4\r\n\r\n"
    yield "a path of bytes", head.replace("/api", "/ä").encode("latin-1") + b"\r\n"
    yield "another version", head.replace("Version: 13", "Version: 8").encode() + b"\r\n"
    yield "no key", head.replace("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n", "").encode() + b"\r\n"
    yield "a key that is none", head.replace("AAAAAAAAAAAAAAAAAAAAAA==", "short").encode() + b"\r\n"
    yield "a POST", head.replace("GET", "POST").encode() + b"\r\n"
    yield "HTTP/1.0", head.replace("HTTP/1.1", "HTTP/1.0").encode() + b"\r\n"
    yield "200 KB of headers", (head + "".join(f"X-{n}: {'x' * 1_000}\r\n" for n in range(200))).encode()


@pytest.mark.parametrize(("what", "request_"), list(handshakes()), ids=[what for what, _ in handshakes()])
async def test_a_bad_handshake(
    desk: Desk, what: str, request_: bytes, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is refused or hung up on, and is no error in the log."""
    shop = await desk.shop()
    reader, writer = await asyncio.open_connection("127.0.0.1", int(desk.url.rpartition(":")[2]))
    writer.write(request_)
    try:
        async with asyncio.timeout(20):
            status = await reader.readline()
            await reader.read()
    except ConnectionError:
        status = b""
    assert status == b"" or status.split(b" ")[1][:1] == b"4", what
    writer.close()
    async with desk.visit(shop) as (tab, _):
        await tab.send(Ping(t=1))
        await tab.settle()
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
    assert "Traceback" not in capsys.readouterr().out


# --- those who say nothing


async def test_a_connection_that_says_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """No byte of a request, or never its end: closed after a while, before there is any socket."""
    monkeypatch.setattr(transport, "HEAD_S", 0.3)
    port = int(desk.url.rpartition(":")[2])
    for begun in (b"", b"GET /api/v1/ws HTT", b"GET /healthz HTTP/1.1\r\nHost: x\r\n", b"\r\n\r\n"):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(begun)
        async with asyncio.timeout(5):
            assert await reader.read() == b""
        writer.close()


async def test_a_body_that_never_ends(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request whose body does not come is let go."""
    monkeypatch.setattr(transport, "BODY_S", 0.3)
    shop = await desk.shop()
    reader, writer = await asyncio.open_connection("127.0.0.1", int(desk.url.rpartition(":")[2]))
    body = json.dumps({"message": "Hello"})
    head = f"POST /api/v1/chat HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {shop.secret_key}\r\n"
    writer.write(f"{head}Content-Length: {len(body) + 1}\r\n\r\n{body}".encode())
    async with asyncio.timeout(5):
        assert await reader.read() == b""
    writer.close()


async def test_requests_that_take_their_time_are_not_cut(
    desk: Desk, model: WireServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limits are on what is asked, not on how long the answer takes; a second request has a limit of its own."""
    monkeypatch.setattr(transport, "HEAD_S", 0.3)
    monkeypatch.setattr(transport, "BODY_S", 0.3)
    shop = await desk.shop()
    headers = {"authorization": f"Bearer {shop.secret_key}"}
    for _ in range(2):
        model.script(Answer("One two three four five six", tokens_per_s=6))
        reply = await desk.http.post(f"{desk.url}/api/v1/chat", headers=headers, json={"message": "Hello"})
        assert reply.json()["reply"] == "One two three four five six"
    async with desk.visit(shop) as (tab, _):
        model.script(Answer("One two three four five six", tokens_per_s=6))
        await tab.say("Hello")
        assert (await tab.next(MessageCompleted)).message.text == "One two three four five six"


async def test_a_socket_that_never_answers_the_close(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is hung up on."""
    monkeypatch.setattr(transport, "CLOSE_S", 0.3)
    shop = await desk.shop()
    async with desk.visit(shop) as (quick, welcome):
        reader, writer = await _raw(desk, shop, welcome.session)
        for _ in range(12):
            writer.write(masked(b"nonsense"))
        with pytest.raises((ConnectionError, ConnectionClosed)):
            async with asyncio.timeout(5):
                while await reader.read(65_536):
                    pass
                raise ConnectionResetError("closed")
        writer.close()
        await quick.settle()
