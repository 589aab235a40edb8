"""How the providers reach the network: the official clients' aiohttp transport, with the raw response within reach.

The official clients build the request, sign it, retry and pool. Their own way to the stream passes every chunk
through four generators and a content decoder; here the chunks are read from aiohttp as they came off the socket.
Four things are added to the clients' transport:

- the aiohttp response, in the response's `extensions`;
- what the last try was answered with, so that a turn out of time says "429" and not just "timeout";
- what went over the wire, for a call that has a tap;
- a `Retry-After` that the deadline does not leave time for ends the retries at once.
"""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import msgspec

from server.errors import ModelBusy, ModelError, ModelGarbage, ModelRefused, ModelTimeout, ModelUnreachable
from server.llm.pace import Pace
from server.llm.provider import ModelEvent, TextDelta
from server.llm.tap import Tap

if TYPE_CHECKING:
    import httpx
    import httpx2


class Timeouts(msgspec.Struct, frozen=True):
    """Seconds of patience with a provider, apart from the turn's deadline."""

    # TCP and TLS to any provider take well under a second; five leave room for a lost SYN and its retransmissions.
    connect_s: float = 5.0
    # Hosted models begin to answer within 1 to 10 s; a local one may first load itself from disk.
    first_byte_s: float = 30.0
    # Providers send a token or a keep-alive every few seconds at the least.
    idle_s: float = 20.0


DEFAULT_TIMEOUTS: Final = Timeouts()
# The clients' own default: half a second and one second, with jitter, and then the visitor is told.
MAX_RETRIES: Final = 2
# A turn comes to the same provider again within a minute; a kept connection saves it the TLS handshake.
_KEEP_ALIVE_S: Final = 60.0
_MAX_CONNECTIONS: Final = 1000
# After the last event, how long to wait for the end of the body, without which a connection cannot be used again.
_DRAIN_S: Final = 0.25

_EXTENSION: Final = "frontdesk.aiohttp"


class Decoder(Protocol):
    """What of `llm.wire` a stream needs."""

    done: bool
    failure: ModelError | None

    def feed(self, chunk: bytes) -> list[ModelEvent]: ...

    def close(self) -> list[ModelEvent]: ...


class Attempts:
    """The tries of one call: until when they may go on, how the last one was answered, who listens in."""

    __slots__ = ("ends_at", "last_status", "tap")

    def __init__(self, seconds: float, tap: Tap | None = None) -> None:
        self.ends_at = time.monotonic() + seconds
        self.last_status: int | None = None
        self.tap = tap

    def remaining_s(self) -> float:
        return self.ends_at - time.monotonic()


# The clients take no argument that would reach the transport, but they call it in the task that called them.
attempts: ContextVar[Attempts | None] = ContextVar("attempts", default=None)


def _session(url: str) -> aiohttp.ClientSession:
    """For the calls of one provider; `url` is the first of them, and all go to the same host."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=_MAX_CONNECTIONS, keepalive_timeout=_KEEP_ALIVE_S),
        # Providers set cookies that no API call needs.
        cookie_jar=aiohttp.DummyCookieJar(),
        proxy=_proxy(url),
    )


def _proxy(url: str) -> str | None:
    """HTTPS_PROXY and NO_PROXY, which many closed networks need.

    Looked up once. With `trust_env` aiohttp looks before every request, in two threads, and takes ~/.netrc as well,
    whose credentials it refuses to combine with an API key.
    """
    parts = urlsplit(url)
    if parts.hostname is None or proxy_bypass(parts.hostname):
        return None
    return getproxies().get(parts.scheme)


def retry_after_s(headers: Any) -> float:
    """Seconds that a response asks to wait, 0.0 for none. A date in `Retry-After` counts as none."""
    with suppress(ValueError):
        return float(headers.get("retry-after-ms", "")) / 1000
    with suppress(ValueError):
        return float(headers.get("retry-after", ""))
    return 0.0


def _before(request: Any) -> None:
    """What both transports do with a request."""
    tries = attempts.get()
    if tries is not None and tries.tap is not None:
        tries.tap.asked(request.method, str(request.url), request.content)


async def _overheard(response: Any) -> None:
    """A refusal is read here for who listens in; the clients find it read. What is no refusal is read as it streams."""
    tries = attempts.get()
    if tries is None or tries.tap is None:
        return
    tries.tap.answered(response.status_code)
    if response.status_code >= 400:
        tries.tap.heard(await response.aread())


def _after(response: Any) -> Any:
    """What both transports do with a response; httpx and httpx2 are twins without a common type."""
    response.extensions[_EXTENSION] = response.stream._aiohttp_response
    tries = attempts.get()
    if tries is not None:
        tries.last_status = response.status_code
        if response.status_code >= 400 and retry_after_s(response.headers) > tries.remaining_s():
            response.headers["x-should-retry"] = "false"  # both clients obey it
    return response


def httpx2_transport() -> "httpx2.AsyncBaseTransport":
    """For the clients of OpenAI and Anthropic."""
    import httpx2
    from httpx_aiohttp.httpx2 import AiohttpTransport

    class RawTransport(AiohttpTransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            if self.client is None:
                self.client = _session(str(request.url))
            _before(request)
            response: httpx2.Response = _after(await super().handle_async_request(request))
            await _overheard(response)
            return response

    return RawTransport()


def httpx_transport() -> "httpx.AsyncBaseTransport":
    """For the client of Ollama."""
    import httpx
    from httpx_aiohttp import AiohttpTransport

    class RawTransport(AiohttpTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if self.client is None:
                self.client = _session(str(request.url))
            _before(request)
            response: httpx.Response = _after(await super().handle_async_request(request))
            await _overheard(response)
            return response

    return RawTransport()


async def read_events(
    extensions: Any, decoder: Decoder, tries: Attempts, timeouts: Timeouts, gather_s: float = 0.0
) -> AsyncGenerator[list[ModelEvent], None]:
    """The events of a response that was opened through one of the transports, a batch a read. What comes within
    `gather_s` of a piece of text may come with the next read.

    Raises ModelTimeout after `idle_s` of silence and at the deadline, ModelUnreachable when the connection breaks,
    ModelGarbage when it ends too early. The caller closes the response, which gives the connection back to the pool
    when the body was read to its end, and else closes it.
    """
    response: aiohttp.ClientResponse = extensions[_EXTENSION]
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding != "identity":  # we ask for none; a proxy in between that compresses all the same breaks streaming too
        raise ModelGarbage(f"the provider's answer is compressed ({encoding}), which was not asked for")
    content, tap, pace = response.content, tries.tap, Pace(response, gather_s)
    loop = asyncio.get_running_loop()
    timer = loop.call_later(
        max(0.0, tries.remaining_s()), content.set_exception, ModelTimeout("the turn's deadline passed mid-answer")
    )
    first = True
    try:
        while not decoder.done:
            chunk = await content.readany()
            pace.read(len(chunk))
            if first:
                first = False
                if (connection := response.connection) is not None and (protocol := connection.protocol) is not None:
                    protocol.read_timeout = timeouts.idle_s
                    protocol.start_timeout()
            if tap is not None:
                tap.heard(chunk)
            events = decoder.feed(chunk) if chunk else decoder.close()
            if events:
                yield events
            if decoder.failure is not None:
                raise decoder.failure
            # A call of a tool is waited for; only words have time.
            if events and not decoder.done and type(events[-1]) is TextDelta:
                await pace.rest()
        await _drain(content)
    except aiohttp.SocketTimeoutError as error:
        seconds = timeouts.first_byte_s if first else timeouts.idle_s
        raise ModelTimeout(f"no byte from the provider for {seconds:g} s") from error
    except aiohttp.ClientPayloadError as error:
        raise ModelGarbage("the connection closed in the middle of the answer") from error
    except (aiohttp.ClientError, OSError) as error:
        raise ModelUnreachable(f"the connection to the provider broke: {type(error).__name__}") from error
    finally:
        timer.cancel()


async def _drain(content: aiohttp.StreamReader) -> None:
    """Reads the end of a finished body, most often in the buffer already, so that the connection can be kept."""
    if content.at_eof():
        return
    with suppress(TimeoutError, aiohttp.ClientError):
        async with asyncio.timeout(_DRAIN_S):
            while await content.readany():
                pass


def status_error(status: int, reason: str) -> ModelError:
    """An HTTP status after every retry, in our tree. `reason` is the provider's; it is cut to a line for the log."""
    text = f"HTTP {status}: {' '.join(reason.split())[:300]}"
    if status in (429, 529):
        return ModelBusy(text)
    if status in (408, 504):
        return ModelTimeout(text)
    if status >= 500 or status == 409:
        return ModelUnreachable(text)
    return ModelRefused(text)


def connection_error(error: BaseException, timeouts: Timeouts) -> ModelError:
    """What a client's connection error was. The clients' mapping calls a refused connection a timeout, so its causes
    are asked."""
    cause: BaseException | None = error
    last = error
    while cause is not None:
        if isinstance(cause, aiohttp.ConnectionTimeoutError):
            return ModelTimeout(f"no connection to the provider within {timeouts.connect_s:g} s")
        if isinstance(cause, aiohttp.ServerTimeoutError | TimeoutError):
            return ModelTimeout(f"no byte from the provider for {timeouts.first_byte_s:g} s")
        last = cause
        cause = cause.__cause__
    return ModelUnreachable(f"no connection to the provider: {type(last).__name__}: {last}"[:300])


def out_of_time(tries: Attempts) -> ModelError:
    """The deadline passed before the answer began."""
    if tries.last_status is not None and tries.last_status >= 400:
        return status_error(tries.last_status, "and no time left for another try")
    return ModelTimeout("the turn's deadline passed before the provider answered")
