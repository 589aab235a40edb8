"""The proxy spoils connections where its plan says, to the byte, and nowhere else."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.chaos.proxy import Plan, Proxy, proxying
from tests.support import eventually

PATIENCE_S = 10.0
SAID = bytes(range(256)) * 40


@asynccontextmanager
async def speaker(said: bytes = SAID) -> AsyncIterator[tuple[tuple[str, int], list[bytes]]]:
    """A server that says this to everybody, then keeps what it hears. Its address, and what it heard, by connection."""
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(heard)
        heard.append(b"")
        writer.write(said)
        try:
            while data := await reader.read(65_536):
                heard[number] += data
        except ConnectionError:
            pass  # reset, as the plan has it
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield ("127.0.0.1", server.sockets[0].getsockname()[1]), heard
    finally:
        server.close()


@asynccontextmanager
async def connected(proxy: Proxy) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection through it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        async with asyncio.timeout(PATIENCE_S):
            yield reader, writer
    finally:
        writer.close()


async def until(true: Callable[[], bool]) -> None:
    """For what happens on the other side of the proxy."""

    async def asked() -> bool:
        return true()

    await eventually(asked, "the other side saw it")


@pytest.mark.parametrize("plan", [Plan(), Plan(slice_bytes=7), Plan(latency_s=0.01), Plan(rate=200_000)])
async def test_what_is_not_cut_arrives_whole(plan: Plan) -> None:
    """Late, in slices or slowly, but all of it, both ways."""
    async with speaker() as (address, heard), proxying(address, lambda _: plan) as proxy, connected(proxy) as (r, w):
        assert await r.readexactly(len(SAID)) == SAID
        w.write(b"heard you")
        await until(lambda: heard == [b"heard you"])
    assert proxy.cuts == 0


@pytest.mark.parametrize("at", [0, 1, 255, 10_239])
async def test_a_connection_is_cut_at_the_byte(at: int) -> None:
    """Exactly so many bytes come down, then the end; the next connection has a plan of its own."""
    plans = [Plan(cut_down_at=at), Plan()]
    async with speaker() as (address, _), proxying(address, plans.__getitem__) as proxy:
        async with connected(proxy) as (reader, _):
            assert await reader.read() == SAID[:at]
        async with connected(proxy) as (reader, _):
            assert await reader.readexactly(len(SAID)) == SAID
    assert proxy.cuts == 1


async def test_what_goes_up_is_cut_at_the_byte() -> None:
    """The target hears so many bytes, and the end."""
    async with speaker(b"") as (address, heard), proxying(address, lambda _: Plan(cut_up_at=5)) as proxy:
        async with connected(proxy) as (reader, writer):
            writer.write(b"0123456789")
            assert await reader.read() == b""
        await until(lambda: heard == [b"01234"] and not proxy.open)


async def test_a_reset_is_a_reset() -> None:
    """What a browser sees when a machine in between loses its memory."""
    async with (
        speaker() as (address, _),
        proxying(address, lambda _: Plan(cut_down_at=9, reset=True)) as proxy,
        connected(proxy) as (reader, _),
    ):
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(10)


async def test_a_piece_decides_where_the_cut_is() -> None:
    """`cut_on` sees what comes down and names the byte."""

    def at_the_dot(data: bytes) -> int | None:
        found = data.find(b".")
        return None if found < 0 else found + 1

    async with (
        speaker(b"one. two.") as (address, _),
        proxying(address, lambda _: Plan(cut_on=at_the_dot)) as proxy,
        connected(proxy) as (reader, _),
    ):
        assert await reader.read() == b"one."


@pytest.mark.parametrize("swallow", [lambda proxy: proxy.hold(), lambda _: None])
async def test_a_black_hole_tells_nobody(swallow: Callable[[Proxy], None]) -> None:
    """The connection stays open and nothing passes, from a byte on or from a moment on."""
    plan = Plan(hole_down_at=100)
    async with speaker() as (address, heard), proxying(address, lambda _: plan) as proxy, connected(proxy) as (r, w):
        assert await r.readexactly(100) == SAID[:100]
        swallow(proxy)
        w.write(b"anybody there?")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await r.read(1)
        assert heard == [b""]
        assert proxy.open == 1


async def test_all_are_cut_in_the_same_moment_and_new_ones_refused() -> None:
    """What a power cut of the balancer looks like, and its return on the same port."""
    async with speaker() as (address, _), proxying(address) as proxy:
        async with connected(proxy) as (first, _), connected(proxy) as (second, _):
            await first.readexactly(len(SAID))
            await second.readexactly(len(SAID))
            began = time.monotonic()
            assert proxy.cut() == 2
            await proxy.refuse()
            assert (await first.read(), await second.read()) == (b"", b"")
            assert time.monotonic() - began < 1
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", proxy.port)
        await proxy.listen()
        async with connected(proxy) as (reader, _):
            assert await reader.readexactly(len(SAID)) == SAID


async def test_unix_sockets_on_both_sides(tmp_path: Path) -> None:
    """As Postgres and Redis are reached here."""

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()

    server = await asyncio.start_unix_server(serve, tmp_path / "far")
    try:
        async with proxying(tmp_path / "far", path=tmp_path / "near"):
            reader, writer = await asyncio.open_unix_connection(tmp_path / "near")
            assert await reader.read() == b"hello"
            writer.close()
    finally:
        server.close()
