"""Sockets that say nothing any more."""

import asyncio

import pytest

from server.settings import Settings
from server.ws import endpoint
from tests.flows.support import open_desk


async def test_a_silent_socket_is_closed(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that pings stays; one that is silent is told to come back, and hears everything when it does."""
    monkeypatch.setattr(endpoint, "SILENCE_S", 0.5)
    monkeypatch.setattr(endpoint, "REAP_S", 0.05)
    async with open_desk(settings) as desk:
        shop = await desk.shop()
        async with desk.visit(shop) as (silent, first), desk.visit(shop) as (alive, _):
            closed = asyncio.create_task(silent.closed())
            while not closed.done():
                await alive.settle()
                await asyncio.wait({closed}, timeout=0.1)
            assert closed.result() == 4002
            await alive.say("Hello")
            await alive.shows("You said: Hello")
        async with desk.visit(shop, proof=first.session, epoch=first.epoch, last_seq=0) as (back, welcome):
            assert welcome.resumed
            await back.settle()
