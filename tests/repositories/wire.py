"""A wire to Postgres that counts: how often does a client wait for an answer?"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit


class Wire:
    """Relays between a Unix socket of its own and Postgres'. `round_trips` counts answers that were waited for."""

    def __init__(self) -> None:
        self.round_trips = 0
        self._asked = False
        self._writers: list[asyncio.StreamWriter] = []

    async def relay(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, asks: bool) -> None:
        """Passes bytes on. An answer after a question is a round trip, however many bytes either takes."""
        with suppress(ConnectionError):
            while data := await source.read(65536):
                if asks:
                    self._asked = True
                elif self._asked:
                    self._asked = False
                    self.round_trips += 1
                sink.write(data)
                await sink.drain()
        sink.close()

    async def cut(self) -> None:
        """Ends every connection at once."""
        for writer in self._writers:
            writer.transport.abort()
        for writer in self._writers:
            with suppress(ConnectionError):
                await writer.wait_closed()
        self._writers.clear()

    async def connect(self, upstream: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, both ways."""
        from_server, to_server = await asyncio.open_unix_connection(upstream)
        self._writers += [writer, to_server]
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.relay(reader, to_server, asks=True))
            tasks.create_task(self.relay(from_server, writer, asks=False))


@asynccontextmanager
async def wire(database_url: str, directory: Path) -> AsyncIterator[tuple[Wire, str]]:
    """A wire, and the URL of the same database through it."""
    url = urlsplit(database_url)
    query = dict(parse_qsl(url.query))
    upstream = f"{query['host']}/.s.PGSQL.{query.get('port', '5432')}"
    it = Wire()
    server = await asyncio.start_unix_server(
        lambda reader, writer: it.connect(upstream, reader, writer), directory / ".s.PGSQL.5432"
    )
    async with server:
        yield it, urlunsplit(url._replace(query=urlencode({"host": str(directory)})))
        await it.cut()
