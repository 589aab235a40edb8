"""How many sockets an address and a client may have, and how fast one may talk."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import msgspec
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin

from server.errors import RateLimited
from server.protocol.visitor import Ack, Drain, Error, Hello, MessageCompleted, TypingSet, Welcome
from server.settings import Settings
from server.ws.admission import FRAMES_AT_ONCE, FRAMES_PER_S, Admission, Pace, network
from tests.flows.support import Desk, Shop, Tab, open_desk
from tests.flows.view import View
from tests.support import eventually


@asynccontextmanager
async def tab_of(desk: Desk, shop: Shop, address: str) -> AsyncIterator[Tab]:
    """A tab behind a proxy on this machine, whose visitor has this address."""
    async with connect(
        desk.instances[0].ws_url,
        origin=Origin(shop.origin),
        additional_headers={"x-forwarded-for": address},
        compression=None,
        ping_interval=None,
        proxy=None,
    ) as socket:
        yield Tab(socket, shop, View())


async def welcomed(tab: Tab) -> Welcome:
    return await tab.hello()


async def turned_away(tab: Tab, code: str) -> Drain:
    """It is told why and for how long, and closed so that it may come back."""
    assert await tab.closed() == 4029
    [error], [drain] = tab.of(Error), tab.of(Drain)
    assert (error.code, error.temporary) == (code, True) and error.message
    assert tab.of(Welcome) == []
    return drain


@asynccontextmanager
async def desk_with(settings: Settings, **limits: int) -> AsyncIterator[Desk]:
    async with open_desk(msgspec.structs.replace(settings, **limits)) as desk:
        yield desk


async def test_an_address_has_so_many(settings: Settings) -> None:
    """One more is told to come back; another address is served; when one leaves, one may come."""
    async with desk_with(settings, sockets_per_address=3) as desk, AsyncExitStack() as stack:
        shop = await desk.shop()
        tabs = [await stack.enter_async_context(tab_of(desk, shop, "192.0.2.7")) for _ in range(3)]
        for tab in tabs:
            await welcomed(tab)
        async with tab_of(desk, shop, "192.0.2.7") as tab:
            drain = await turned_away(tab, "too_many_sockets_address")
            assert 15_000 <= drain.retry_after_ms <= 30_000
        async with tab_of(desk, shop, "192.0.2.8") as tab:
            await welcomed(tab)
        for tab in tabs:
            await tab.settle()
        await tabs[0].socket.close()

        async def room() -> bool:
            async with tab_of(desk, shop, "192.0.2.7") as tab:
                try:
                    await welcomed(tab)
                except ConnectionClosed:
                    return False
                return True

        await eventually(room, "there is room again")


async def test_who_only_knocks_is_not_even_told(settings: Settings) -> None:
    """As many again may wait for their answer; who opens more still gets no handshake."""
    async with desk_with(settings, sockets_per_address=2) as desk, AsyncExitStack() as stack:
        shop = await desk.shop()
        raw = [await stack.enter_async_context(_knock(desk, shop)) for _ in range(6)]
        heads = [(await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0] for reader, _ in raw]
        assert sorted(heads) == [b"HTTP/1.1 101 Switching Protocols"] * 4 + [b"HTTP/1.1 429 Too Many Requests"] * 2
        with pytest.raises(InvalidStatus):
            async with tab_of(desk, shop, "127.0.0.1"):
                pass
        async with tab_of(desk, shop, "192.0.2.8") as tab:
            await welcomed(tab)


@asynccontextmanager
async def _knock(desk: Desk, shop: Shop) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A handshake of somebody who then neither says nor answers anything."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(desk.url.rpartition(":")[2]))
    writer.write(
        f"GET /api/v1/ws HTTP/1.1\r\nHost: x\r\nOrigin: {shop.origin}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    try:
        yield reader, writer
    finally:
        writer.close()


async def test_a_client_has_so_many(settings: Settings) -> None:
    """One busy website leaves room for the others; the others' visitors notice nothing."""
    async with desk_with(settings, sockets_per_client=2) as desk, AsyncExitStack() as stack:
        busy, calm = await desk.shop(), await desk.shop()
        for number in range(2):
            await welcomed(await stack.enter_async_context(tab_of(desk, busy, f"192.0.2.{number}")))
        async with tab_of(desk, busy, "192.0.2.9") as tab:
            await tab.send(Hello(v=1, key=busy.key))
            await turned_away(tab, "too_many_sockets_client")
        async with tab_of(desk, calm, "192.0.2.9") as tab:
            await welcomed(tab)
            await tab.say("Hello")
            await tab.next(MessageCompleted)


async def test_a_second_hello_takes_no_second_place(settings: Settings) -> None:
    """A widget that asks again on its socket is the same visitor."""
    async with desk_with(settings, sockets_per_client=1) as desk:
        shop = await desk.shop()
        async with desk.visit(shop) as (tab, first):
            await tab.hello(proof=first.session)
            await tab.hello(proof=first.session)


async def test_a_flood_is_closed_and_the_others_are_not_slowed(desk: Desk) -> None:
    """Who sends frames without end is told to come back later; somebody else's question is answered meanwhile."""
    shop = await desk.shop()
    async with desk.visit(shop) as (flooding, _), desk.visit(shop) as (calm, _):
        frame = TypingSet(on=True)
        flood = asyncio.create_task(_flood(flooding, frame))
        await calm.say("Hello")
        await calm.next(MessageCompleted)
        with suppress(ConnectionClosed):
            await flood
        assert await flooding.closed() == 4029
        assert [error.code for error in flooding.of(Error)] == ["too_many_frames"]
        await calm.settle()


async def _flood(tab: Tab, frame: TypingSet) -> None:
    for number in range(5_000):
        await tab.send(frame)
        if number % 50 == 0:
            await asyncio.sleep(0)  # a browser reads while it sends


async def test_a_crowded_widget_is_no_flood(desk: Desk) -> None:
    """One that comes back with a hundred pending messages resends them all at once."""
    shop = await desk.shop()
    async with desk.visit(shop) as (tab, _):
        for number in range(100):
            await tab.send(TypingSet(on=number % 2 == 0))
        await tab.say("Hello")
        assert tab.of(Error) == [] and len(tab.of(Ack)) == 1


# --- the counting itself


def test_everybody_leaves() -> None:
    """Seats are counted down however a socket ends, and nothing stays behind for an address of a day."""
    admission = Admission(per_address=2, per_client=2)
    with admission.enter("192.0.2.1") as first, admission.enter("192.0.2.1") as second:
        first.take(1)
        first.take(1)
        second.take(1)
        assert admission.taken == (2, 2)
        with admission.enter("192.0.2.1") as third:
            assert third.refusal is not None and third.refusal.code == "too_many_sockets_address"
            with pytest.raises(RateLimited, match="this website's visitors"):
                third.take(1)
            third.take(2)
        assert admission.taken == (2, 2)
    with pytest.raises(ZeroDivisionError), admission.enter("192.0.2.1") as broken:
        broken.take(1)
        1 / 0  # noqa: B018  # whatever breaks
    assert admission.taken == (0, 0)
    assert admission.keys == 0


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("::1", "127.0.0.1", False),
        ("unknown", "unknown", True),
    ],
)
def test_what_one_address_is(one: str, other: str, same: bool) -> None:
    """A subscriber with IPv6 has a /64 of addresses, and is one all the same."""
    assert (network(one) == network(other)) is same


def test_the_pace() -> None:
    """A burst, then so many a second for as long as one likes."""
    pace = Pace()
    now = 1e6
    assert all(pace.allows(now) for _ in range(FRAMES_AT_ONCE))
    assert not pace.allows(now)
    assert pace.allows(now + 1 / FRAMES_PER_S + 1e-6)
    allowed = sum(pace.allows(now + 10 + n / (2 * FRAMES_PER_S)) for n in range(1_000))
    assert allowed == pytest.approx(500 + 10 * FRAMES_PER_S, abs=FRAMES_AT_ONCE)
