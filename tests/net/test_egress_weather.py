"""The one way out in bad weather: connections that do not come about, answers that do not come or come wrong."""

import asyncio
import gzip
import socket
import struct
import time
from collections.abc import Callable

import pytest

from server.errors import EgressError
from server.net.egress import Egress
from tests.net.weather import (
    LOOPBACK,
    PATIENCE_S,
    Handler,
    Server,
    answering,
    failing,
    ok,
    repeating,
    serving,
    silent,
)

# Connections that do not come about


async def test_a_port_where_nobody_listens(egress: Egress) -> None:
    """Refused, and surely not heard."""
    async with serving(repeating(ok())) as server:
        pass
    error = await failing(egress, server)
    assert (error.kind, error.sent) == ("refused", False)
    assert f"127.0.0.1 does not accept connections on port {server.port}" in error.message


async def test_a_host_that_is_slow_to_connect(egress: Egress) -> None:
    """A full queue of a listener that accepts nobody: its SYNs go unanswered."""
    with socket.socket() as listener, socket.socket() as first:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        first.connect(listener.getsockname())
        port = listener.getsockname()[1]
        with pytest.raises(EgressError) as caught:
            await egress.request("POST", f"http://127.0.0.1:{port}/", body=b"{}", timeout_s=0.3)
    assert (caught.value.kind, caught.value.sent) == ("timeout", False)


# Answers that do not come, or come wrong


def dripping(head: bytes, drop: bytes) -> Callable[[Server], Handler]:
    """After `head` a drop every 10 ms: slower than any timeout between two reads would notice."""

    def make(server: Server) -> Handler:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await server.request(reader)
            writer.write(head)
            while True:
                writer.write(drop)
                await writer.drain()
                await asyncio.sleep(0.01)

        return handle

    return make


@pytest.mark.parametrize(
    "make",
    [
        silent,
        dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"x"),
        dripping(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        dripping(b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
        dripping(b"HTTP/1.1 200 OK\r\nX-A: ", b"x"),
        dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=["never answers", "slow body", "slow chunks", "slow without length", "slow header", "endless 100"],
)
async def test_an_answer_that_does_not_end_ends_in_time(egress: Egress, make: Callable[[Server], Handler]) -> None:
    """The timeout is for all of it; the other side may have acted; and the connection is closed."""
    async with serving(make) as server:
        began = time.monotonic()
        error = await failing(egress, server, timeout_s=0.3)
        assert 0.29 < time.monotonic() - began < 2
        assert (error.kind, error.sent) == ("timeout", True)
        assert error.message == "127.0.0.1 did not answer within 0.3 s"
        if make is silent:
            await server.wait_for_ended()


async def test_a_gigabyte_is_not_read(egress: Egress) -> None:
    """With its length said it is refused at once, without after a megabyte and what the sockets buffer."""
    block = b"x" * 65536

    def flooding(head: bytes, written: list[int]) -> Callable[[Server], Handler]:
        def make(server: Server) -> Handler:
            async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                await server.request(reader)
                writer.write(head)
                for _ in range(16384):  # a gigabyte
                    writer.write(b"10000\r\n" + block + b"\r\n" if b"chunked" in head else block)
                    await writer.drain()
                    written.append(len(block))

            return handle

        return make

    for head in (
        b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
    ):
        written: list[int] = []
        async with serving(flooding(head, written)) as server:
            error = await failing(egress, server)
        assert (error.kind, error.sent) == ("too_large", True)
        assert error.message == "127.0.0.1 answered with more than 1048576 bytes"
        assert sum(written) < 32 * 1024 * 1024


async def test_a_length_that_is_too_much_is_taken_at_its_word(egress: Egress) -> None:
    """Not a byte of the body has to come for it."""

    def make(server: Server) -> Handler:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await server.request(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1048577\r\n\r\n")
            await server.gone(reader)

        return handle

    async with serving(make) as server:
        assert (await failing(egress, server)).kind == "too_large"
        await server.wait_for_ended()


@pytest.mark.parametrize("head", [b"Content-Length: 1000\r\n\r\n", b"\r\n"], ids=["with length", "without"])
async def test_the_cap_is_exact(egress: Egress, head: bytes) -> None:
    """A body of the cap's length passes, one byte less does not."""
    answer = b"HTTP/1.1 200 OK\r\n" + head + b"x" * 1000
    async with serving(answering(answer)) as server:
        whole = await egress.request("GET", server.url(), timeout_s=PATIENCE_S, max_bytes=1000)
        assert len(whole.body) == 1000
        assert (await failing(egress, server, method="GET", max_bytes=999)).kind == "too_large"


def _chunk_extension() -> bytes:
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;" + b"x" * 2_000_000 + b"\r\nhello\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"HTTP/1.1 200 OK\r\nX-Big: " + b"x" * 1_000_000 + b"\r\n\r\n", "endless headers"),
        (b"HTTP/1.1 200 OK\r\n" + b"X" * 1_000_000 + b": 1\r\n\r\n", "endless headers"),
        (b"HTTP/1.1 200 " + b"O" * 1_000_000 + b"\r\n\r\n", "endless headers"),
        (b"HTTP/1.1 200 OK\r\n" + b"X-A: 1\r\n" * 10_000 + b"\r\n", "endless headers"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "not HTTP"),
        (b"\x00\x01\x02\x03" * 100, "not HTTP"),
        (b"HTTP/1.1 OK\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "protocol"),
        (b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", "protocol"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", "middle of its answer"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf", "middle of its answer"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhalf", "middle of its answer|not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "without an answer"),
        (b"", "without an answer"),
    ],
)
async def test_an_answer_that_is_broken(egress: Egress, answer: bytes, says: str) -> None:
    """Whatever comes, there is one error, it says that the other side may have acted, and it comes soon."""
    async with serving(answering(answer)) as server:
        error = await failing(egress, server)
    assert (error.kind, error.sent) == ("broken", True)
    assert says in error.message or any(each in error.message for each in says.split("|"))
    assert len(server.requests) == 1


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "zstd", "GZIP", "gzip, identity", "x-unknown"])
async def test_a_compressed_answer_is_broken(egress: Egress, encoding: str) -> None:
    """None was asked for; a bomb of it would not be unpacked."""
    bomb = gzip.compress(b"\0" * 10_000_000)
    async with serving(answering(ok(bomb, f"Content-Encoding: {encoding}"))) as server:
        error = await failing(egress, server)
    assert (error.kind, error.sent) == ("broken", True)
    assert "compressed" in error.message


async def test_an_identity_encoding_is_none(egress: Egress) -> None:
    """Some servers say so."""
    async with serving(answering(ok(b"plain", "Content-Encoding: identity"))) as server:
        assert (await egress.request("GET", server.url(), timeout_s=PATIENCE_S)).body == b"plain"


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"])
async def test_a_reset(egress: Egress, head: bytes) -> None:
    """Before an answer or in the middle of one."""

    def make(server: Server) -> Handler:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await server.request(reader)
            writer.write(head)
            await writer.drain()
            # On close, RST in place of FIN.
            connection: socket.socket = writer.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

        return handle

    for method in ("POST", "GET"):
        async with serving(make) as server:
            error = await failing(egress, server, method=method)
        assert (error.kind, error.sent) == ("broken", True)
        assert len(server.requests) == 1, "on a new connection nothing is tried again"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_what_may_have_an_effect_is_sent_once(egress: Egress, method: str) -> None:
    """A kept connection on which the second request gets no answer: heard or not, it is not sent again."""

    def make(server: Server) -> Handler:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await server.request(reader)
            writer.write(ok())
            await server.request(reader)

        return handle

    async with serving(make) as server:
        await egress.request("GET", server.url(), timeout_s=PATIENCE_S)
        error = await failing(egress, server, method=method)
        assert (error.kind, error.sent) == ("broken", True)
        assert [request.split(b" ")[0].decode() for request in server.requests] == ["GET", method]
        assert server.connections == 1


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_read_survives_a_dead_connection(egress: Egress, method: str) -> None:
    """It changes nothing, so it is asked once more on a new connection, and not a third time."""
    alive = True

    def make(server: Server) -> Handler:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await server.request(reader)
            if alive:
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
                await server.request(reader)

        return handle

    async with serving(make) as server:
        await egress.request(method, server.url(), timeout_s=PATIENCE_S)
        assert (await egress.request(method, server.url(), timeout_s=PATIENCE_S)).status == 204
        assert (server.connections, len(server.requests)) == (2, 3)
        alive = False
        error = await failing(egress, server, method=method)
        assert (error.kind, error.sent) == ("broken", True)
        assert (server.connections, len(server.requests)) == (3, 5)


async def test_a_server_that_restarted_is_called_anew(egress: Egress) -> None:
    """It closed the idle connection: that is seen before the next POST is written into it."""
    async with serving(answering(ok())) as server:
        for count in range(1, 4):
            await egress.request("POST", server.url(), body=b"{}", timeout_s=PATIENCE_S)
            assert server.connections == count
            await server.wait_for_finished(count)


async def test_a_cancelled_call_hangs_up(egress: Egress) -> None:
    """While waiting for the answer, and in the middle of it."""
    for head in (b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"):
        heard = asyncio.Event()

        def make(server: Server, head: bytes = head, heard: asyncio.Event = heard) -> Handler:
            async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                await server.request(reader)
                writer.write(head)
                await writer.drain()
                heard.set()
                await server.gone(reader)

            return handle

        async with serving(make) as server:
            call = asyncio.create_task(egress.request("POST", server.url(), body=b"{}", timeout_s=60))
            async with asyncio.timeout(PATIENCE_S):
                await heard.wait()
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            await server.wait_for_ended()


async def test_closing_ends_calls_under_way() -> None:
    """With an error, not with silence; and a closed egress calls nobody."""
    egress = Egress(LOOPBACK)
    async with serving(silent) as server:
        call = asyncio.create_task(egress.request("POST", server.url(), body=b"{}", timeout_s=60))
        await server.wait_for_connections(1)
        await egress.close()
        with pytest.raises(EgressError) as caught:
            await call
        assert caught.value.sent
        with pytest.raises(EgressError, match="stopping") as caught:
            await egress.request("GET", server.url(), timeout_s=PATIENCE_S)
        assert not caught.value.sent
        assert server.connections == 1
    await egress.close()


async def test_bytes_that_are_no_text_in_headers(egress: Egress) -> None:
    """They become replacement characters: what is handed back can be stored and sent as JSON."""
    async with serving(answering(ok(b"\xff\xfe", "X-Name: caf\xe9").replace(b"caf\xc3\xa9", b"caf\xe9"))) as server:
        response = await egress.request("GET", server.url(), timeout_s=PATIENCE_S)
    assert response.headers["x-name"] == "caf\ufffd"
    assert response.body == b"\xff\xfe"
