"""Names to addresses by the machine's resolver, in threads that wait for nobody else."""

import asyncio
import ipaddress
import socket
import threading

import pytest

from server.net.resolver import SystemResolver
from tests.net.weather import PATIENCE_S, network_calls


async def test_a_name_of_this_machine() -> None:
    """Addresses as text, each once."""
    resolver = SystemResolver()
    found = await resolver("localhost")
    assert found
    assert len(found) == len(set(found))
    assert all(ipaddress.ip_address(text).is_loopback for text in found)
    resolver.close()


@pytest.mark.parametrize("host", ["nothing.invalid", "x" * 64 + ".example.com"])
async def test_a_name_that_is_not_there(host: str) -> None:
    """An OSError, or the ValueError of a name that does not fit into DNS: what `Egress` calls "dns"."""
    resolver = SystemResolver()
    with pytest.raises((OSError, ValueError)):
        await resolver(host)
    resolver.close()


async def test_the_same_name_is_looked_up_once_at_a_time() -> None:
    """A hundred who ask together share a lookup and its thread; who asks later gets a new one."""
    resolver = SystemResolver()
    with network_calls() as calls:
        answers = await asyncio.gather(*(resolver("localhost") for _ in range(100)))
        assert calls == ["socket.getaddrinfo localhost"]
        await resolver("localhost")
        assert len(calls) == 2
    assert all(answer == answers[0] for answer in answers)
    resolver.close()


async def test_a_name_that_hangs_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its askers give up when they like, and others are answered meanwhile; its late failure bothers nobody."""
    real, release, entered = socket.getaddrinfo, threading.Event(), threading.Event()

    def slow(host: str, *arguments: object, **options: object) -> object:
        if host == "slow.test":
            entered.set()
            release.wait(PATIENCE_S)
            raise socket.gaierror(socket.EAI_AGAIN, "no server answered")
        return real(host, *arguments, **options)  # type: ignore[arg-type]  # as it was called

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    resolver = SystemResolver()
    askers = [asyncio.create_task(resolver("slow.test")) for _ in range(200)]
    await asyncio.to_thread(entered.wait, PATIENCE_S)
    assert await asyncio.wait_for(resolver("localhost"), PATIENCE_S)
    for asker in askers[1:]:
        asker.cancel()
    release.set()
    with pytest.raises(OSError, match="no server answered"):
        await askers[0]
    assert all(
        isinstance(each, asyncio.CancelledError) for each in await asyncio.gather(*askers[1:], return_exceptions=True)
    )
    resolver.close()
