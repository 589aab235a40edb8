"""The one way out: every URL and database host that a person configured is reached through here.

What may be called is `address.py`'s to say, how a URL is read `target.py`'s, how a connection is made `session.py`'s.
Redirects are answers, not followed. Nothing is taken from the environment, no cookie is kept, no body is decompressed,
and time and size have ends. TLS and the Host header keep the name while the connection goes to the checked address.
"""

import asyncio
import re
import ssl
import time
from collections.abc import Mapping, Sequence
from typing import Final

import aiohttp
import msgspec
from yarl import URL

from server import log
from server.errors import EgressError, Invalid
from server.net.address import AddressPolicy, Refused, parse_address
from server.net.resolver import SystemResolver
from server.net.session import CONNECT_S, Attempt, Broken, ForbiddenAddress, Lookup, PinnedResolver, open_session
from server.net.target import parse_host, parse_url

# Bytes of a request's body; what we send are arguments and statements of a few kilobytes.
MAX_REQUEST: Final = 1_048_576

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# Methods that change nothing, and may be sent again when a kept connection breaks before the answer begins.
_SAFE: Final = frozenset({"GET", "HEAD"})
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")
_HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e\u00a0-\ud7ff\ue000-\U0010ffff]{0,8000}")
# They frame the request or say where it goes, which is ours to do.
_OURS: Final = frozenset(
    {
        "host", "content-length", "transfer-encoding", "connection", "keep-alive", "te", "trailer", "upgrade", "expect",
        "accept-encoding", "proxy-authorization", "proxy-connection",
    }
)  # fmt: skip

_log = log.get("egress")


class Response(msgspec.Struct, frozen=True):
    """An answer, whatever its status. Header names are lower-case; several of one name are joined by ", "."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Egress:
    """Calls configured addresses. One for an instance; `close` it. Belongs to the event loop that uses it first.

    `allow_private` are the networks of FRONTDESK_ALLOW_PRIVATE_EGRESS. `lookup` takes the place of the machine's
    resolver, `tls` that of its list of certificate authorities.
    """

    def __init__(
        self, allow_private: Sequence[str] = (), *, lookup: Lookup | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        self._policy = AddressPolicy(allow_private)
        self._system = SystemResolver()
        self._resolver = PinnedResolver(self._policy, lookup or self._system)
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    def check_url(self, url: str, *, field: str = "url") -> str:
        """For configuration: the URL as it will be called. Asks no DNS; `request` looks at the addresses.

        A template is checked with its parameters filled in. Raises Invalid naming `field` and what is allowed.
        """
        try:
            return str(parse_url(url, self._policy))
        except Refused as refused:
            raise Invalid(f"{field} {refused.reason}", field=field) from None

    def check_host(self, host: str, *, field: str = "host") -> str:
        """For configuration: a database's host, as `resolve` takes it. Raises Invalid, as `check_url` does."""
        try:
            return parse_host(host, self._policy)
        except Refused as refused:
            raise Invalid(f"{field} {refused.reason}", field=field) from None

    def check_headers(self, headers: Mapping[str, str], *, field: str = "headers") -> None:
        """For configuration: whether `request` will take these headers. Raises Invalid naming `field`."""
        try:
            _check_headers(headers)
        except Refused as refused:
            raise Invalid(f"{field} {refused.reason}", field=field) from None

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] = {},
        body: bytes | None = None,
        timeout_s: float,
        max_bytes: int = 1_048_576,
    ) -> Response:
        """One request and its whole answer, of any status; a 3xx is an answer too.

        `timeout_s` is for all of it; `max_bytes` is the most that is read of the answer's body. Nothing but a GET or
        HEAD is ever sent twice. Raises EgressError. When cancelled, the connection is closed.
        """
        started = time.monotonic()
        target = self._check_request(method, url, headers, body)
        attempt = Attempt()
        failure: EgressError
        try:
            async with asyncio.timeout(timeout_s):
                response = await self._exchange(attempt, method, target, headers=headers, body=body)
                try:
                    answer = await _read(response, max_bytes)
                finally:
                    # Once the body has ended the connection is back in the pool, and this does nothing.
                    response.close()
        except EgressError as error:
            failure = error
        except TimeoutError:
            what = "answer" if attempt.connected else "accept the connection"
            message = f"{target.raw_host} did not {what} within {timeout_s:g} s"
            failure = EgressError("timeout", message, sent=attempt.connected)
        except (aiohttp.ClientError, Broken, ValueError) as error:
            failure = _translate(error, target, attempt)
        else:
            ms = round((time.monotonic() - started) * 1000)
            _log.debug("answered", host=target.raw_host, method=method, status=answer.status, ms=ms)
            return answer
        # No path, query or header is logged, for each may hold a secret. Raised out here, so that nothing is chained:
        # aiohttp's errors quote the URL.
        ms = round((time.monotonic() - started) * 1000)
        _log.info("failed", host=target.raw_host, method=method, kind=failure.kind, sent=failure.sent, ms=ms)
        raise failure

    async def resolve(self, host: str, port: int, *, timeout_s: float) -> str:
        """One allowed address of `host`, for a driver to connect to in its place.

        Raises EgressError, never `sent`.
        """
        try:
            name = parse_host(host, self._policy)
            if not 1 <= port <= 65535:
                raise Refused("has a port that is not a number from 1 to 65535")
        except Refused as refused:
            raise EgressError("forbidden", f"the host {refused.reason}", sent=False) from None
        if parse_address(name) is not None:
            return name
        if self._closed:
            raise EgressError("broken", "the server is stopping", sent=False)
        try:
            async with asyncio.timeout(timeout_s):
                return str((await self._resolver.addresses(name))[0])
        except TimeoutError:
            raise EgressError("timeout", f"{name} was not found within {timeout_s:g} s", sent=False) from None

    async def close(self) -> None:
        """Closes every connection; requests under way end with an EgressError."""
        self._closed = True
        if self._session is not None:
            await self._session.close()
        self._system.close()

    def _check_request(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> URL:
        """The URL to call. Raises EgressError, not sent."""
        if method not in _METHODS:
            raise EgressError("forbidden", f"the method may be {', '.join(sorted(_METHODS))}", sent=False)
        if body is not None and len(body) > MAX_REQUEST:
            raise EgressError("too_large", f"the request has a body of more than {MAX_REQUEST} bytes", sent=False)
        try:
            _check_headers(headers)
        except Refused as refused:
            raise EgressError("forbidden", f"the request's headers {refused.reason}", sent=False) from None
        try:
            return parse_url(url, self._policy)
        except Refused as refused:
            raise EgressError("forbidden", f"the address {refused.reason}", sent=False) from None

    async def _exchange(
        self, attempt: Attempt, method: str, url: URL, *, headers: Mapping[str, str], body: bytes | None
    ) -> aiohttp.ClientResponse:
        """The head of the answer. A GET or HEAD gets a second connection where a kept one turns out to be dead."""
        if self._closed:
            raise EgressError("broken", "the server is stopping", sent=False)
        if self._session is None:
            self._session = open_session(self._policy, self._resolver, self._tls)
        if method not in _SAFE:
            # A kept connection that the other side has closed is found out by reading it: two rounds of the loop.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        while True:
            try:
                return await self._session.request(
                    method, url, headers=headers, data=body, allow_redirects=False, trace_request_ctx=attempt
                )
            except Broken:
                if not attempt.reused or method not in _SAFE:
                    raise
                attempt.connected = attempt.reused = False


async def _read(response: aiohttp.ClientResponse, max_bytes: int) -> Response:
    """The whole answer. Raises EgressError, aiohttp.ClientError."""
    host = response.url.raw_host
    headers: dict[str, str] = {}
    for key, raw in response.headers.items():
        name = key.lower()
        # Bytes that are not UTF-8 arrive as lone surrogates, which no database and no JSON takes.
        value = raw.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    if response.status == 101 or headers.get("transfer-encoding", "chunked").lower() != "chunked":
        raise EgressError("broken", f"{host} answered in a protocol that was not asked for", sent=True)
    if headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise EgressError("broken", f"{host} sent a compressed answer, which was not asked for", sent=True)
    too_large = EgressError("too_large", f"{host} answered with more than {max_bytes} bytes", sent=True)
    if response.method != "HEAD" and (response.content_length or 0) > max_bytes:
        raise too_large
    body = bytearray()
    while chunk := await response.content.readany():
        body += chunk
        if len(body) > max_bytes:
            raise too_large
    return Response(response.status, headers, bytes(body))


def _translate(error: aiohttp.ClientError | Broken | ValueError, url: URL, attempt: Attempt) -> EgressError:
    """aiohttp's errors as ours."""
    host = url.raw_host
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return EgressError("tls", f"the certificate of {host} is not valid: {_fault(error)}", sent=False)
        case aiohttp.ClientConnectorSSLError():
            return EgressError("tls", f"{host} does not speak TLS on port {url.port} as we do", sent=False)
        case aiohttp.ClientConnectorError() if isinstance(error.os_error, ForbiddenAddress):
            return EgressError("forbidden", f"{host} is a private or local address, which is not allowed", sent=False)
        case aiohttp.ClientConnectorError():
            return EgressError("refused", f"{host} does not accept connections on port {url.port}", sent=False)
        case aiohttp.ConnectionTimeoutError():
            return EgressError("timeout", f"{host} did not accept the connection within {CONNECT_S:g} s", sent=False)
        case Broken():
            return EgressError("broken", f"{host} closed the connection without an answer", sent=True)
        case aiohttp.ClientPayloadError():
            return EgressError("broken", f"{host} closed the connection in the middle of its answer", sent=True)
        case aiohttp.ClientResponseError():
            return EgressError("broken", f"{host} answered with what is not HTTP, or with endless headers", sent=True)
        case _:
            what = type(error).__name__
            return EgressError("broken", f"the connection to {host} failed ({what})", sent=attempt.connected)


def _fault(error: aiohttp.ClientConnectorCertificateError) -> str:
    cause = error.certificate_error
    return cause.verify_message if isinstance(cause, ssl.SSLCertVerificationError) else "it cannot be checked"


def _check_headers(headers: Mapping[str, str]) -> None:
    """Raises Refused; its reason goes on after "headers"."""
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            raise Refused(f"may not have the name {name[:50]!r}; it may be letters, digits and hyphens")
        if name.lower() in _OURS:
            raise Refused(f"may not have {name}, which the server sets by itself")
        if not _HEADER_VALUE.fullmatch(value):
            raise Refused(f"may not have line breaks or control characters, or over 8000 characters, in {name}")
