"""An aiohttp session that connects to allowed addresses only, and sends nothing twice. `egress.py` is its only user.

A name is looked up once for a connection; all of its addresses have to be allowed, and the connection goes to one of
them. A kept connection stays with the address it was opened to.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from types import SimpleNamespace
from typing import Final, TypeAlias

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from server import log
from server.errors import EgressError
from server.net.address import Address, AddressPolicy

# A host name to its addresses as text. Raises OSError when it has none.
Lookup: TypeAlias = Callable[[str], Awaitable[Sequence[str]]]

# Seconds for the lookup of a name, and for TCP and TLS to one address: room for a lost packet or two and their
# retransmissions after 1 and 3 s.
CONNECT_S: Final = 5.0
# Seconds an idle connection is kept: less than Node, which is n8n, and Apache keep theirs (5 s). A request is then not
# sent into a connection that the other side is just closing, after which nobody knows whether it was heard.
KEEP_ALIVE_S: Final = 4.0
# Connections to one host and port. A slow one makes its own callers wait, and nobody else's.
CONNECTIONS_PER_HOST: Final = 64
CONNECTIONS: Final = 1024
# Headers of an answer, and the bytes of each: more than any server we know of sends.
MAX_HEADERS: Final = 100
MAX_HEADER_BYTES: Final = 8190
USER_AGENT: Final = "Frontdesk"

_log = log.get("egress")


class Attempt:
    """How far a request came; the `trace_request_ctx` of every request of the session."""

    __slots__ = ("connected", "reused")

    def __init__(self) -> None:
        self.connected = False
        self.reused = False


class Broken(Exception):
    """The connection broke after it stood and before an answer began."""


class ForbiddenAddress(OSError):
    """An address that should have been refused before came as far as the socket."""


class PinnedResolver(AbstractResolver):
    """aiohttp asks it for every connection to a name; it gives addresses that are allowed, or raises."""

    def __init__(self, policy: AddressPolicy, lookup: Lookup) -> None:
        self._policy = policy
        self._lookup = lookup

    async def addresses(self, host: str) -> list[Address]:
        """All addresses of a name. Raises EgressError; one address that is not allowed refuses the name."""
        try:
            async with asyncio.timeout(CONNECT_S):
                found = [ipaddress.ip_address(text) for text in await self._lookup(host)]
        except TimeoutError:
            raise EgressError("dns", f"{host} was not found within {CONNECT_S:g} s", sent=False) from None
        except (OSError, ValueError):  # no such name, or one that no DNS packet can hold
            found = []
        if not found:
            raise EgressError("dns", f"{host} was not found; check the name", sent=False)
        if not all(self._policy.permits(address) for address in found):
            _log.warning("refused a name with a private address", host=host, addresses=[str(each) for each in found])
            raise EgressError("forbidden", f"{host} has a private or local address, which is not allowed", sent=False)
        return found

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=str(address),
                port=port,
                family=socket.AF_INET6 if address.version == 6 else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in await self.addresses(host)
        ]

    async def close(self) -> None:
        """The lookup is its owner's to close."""


def open_session(policy: AddressPolicy, resolver: PinnedResolver, tls: ssl.SSLContext | None) -> aiohttp.ClientSession:
    """The session. It has no timeout but for connecting: the caller sets one around all of a request."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            resolver=resolver,
            use_dns_cache=False,
            socket_factory=guarded_socket_factory(policy),
            ssl=tls or True,
            limit=CONNECTIONS,
            limit_per_host=CONNECTIONS_PER_HOST,
            keepalive_timeout=KEEP_ALIVE_S,
        ),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
        headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
        skip_auto_headers=("Content-Type",),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        max_line_size=MAX_HEADER_BYTES,
        max_field_size=MAX_HEADER_BYTES,
        max_headers=MAX_HEADERS,
        middlewares=(_once,),
        trace_configs=[_watch_connections()],
    )


def guarded_socket_factory(policy: AddressPolicy) -> Callable[[aiohttp.AddrInfoType], socket.socket]:
    """The last wall, at the socket: whatever way an address came, it is judged before a packet can leave."""

    def open_socket(info: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, protocol, _, address = info
        if not policy.permits(ipaddress.ip_address(str(address[0]))):
            raise ForbiddenAddress
        return socket.socket(family, kind, protocol)

    return open_socket


def _watch_connections() -> aiohttp.TraceConfig:
    """Notes in the request's `Attempt` that it has a connection, which is when something may have been heard."""

    async def connected(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: object) -> None:
        context.trace_request_ctx.connected = True

    async def reused(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: object) -> None:
        context.trace_request_ctx.connected = context.trace_request_ctx.reused = True

    config = aiohttp.TraceConfig()
    config.on_connection_create_end.append(connected)
    config.on_connection_reuseconn.append(reused)
    return config


async def _once(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """aiohttp by itself sends PUT and DELETE again when a connection breaks; an error it does not know stops it."""
    try:
        return await send(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError, aiohttp.ClientConnectionResetError) as error:
        raise Broken from error
