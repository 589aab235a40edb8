"""A wire between instances and Postgres that is cut around a COMMIT.

It understands enough of PostgreSQL's protocol (version 3, unencrypted) to see a COMMIT go out, as a simple query or as
the execution of a prepared statement in the middle of a pipeline, and its CommandComplete come back. Whoever asked then
cannot know what became of it; Postgres does.
"""

import asyncio
import struct
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Literal, cast
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

Cut = Literal["before", "sent", "both", "answered", "torn", "told"]
"""Where. `before`: the COMMIT is not passed on, nothing is committed. `sent`: it is, and Postgres is left to finish.
`both`: the same, with both sides of the wire cut at once; committed or not. When the answer has come, nothing of it is
passed on (`answered`), or half (`torn`), or all but the end of the pipeline (`told`)."""

# How often each, of 100: the four after which Postgres has committed and nobody was told are what is promised.
WEIGHTS: Mapping[Cut, int] = {"before": 5, "sent": 30, "both": 15, "answered": 30, "torn": 10, "told": 10}
AFTER: tuple[Cut, ...] = ("sent", "both", "answered", "torn", "told")

_HEAD = struct.Struct("!ci")
_COMMITTED = b"COMMIT\0"


class Messages:
    """Cuts a stream into protocol messages. `startup`: the first has no type byte."""

    def __init__(self, *, startup: bool) -> None:
        self._rest = b""
        self._startup = startup

    def feed(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Type and whole bytes of every message that is complete now; the startup's type is empty."""
        data = self._rest + data
        at = 0
        while True:
            kind, size = self._next(data, at)
            if size is None or at + size > len(data):
                break
            self._startup = False
            yield kind, data[at : at + size]
            at += size
        self._rest = data[at:]

    def _next(self, data: bytes, at: int) -> tuple[bytes, int | None]:
        if self._startup:
            return b"", struct.unpack_from("!i", data, at)[0] if len(data) >= at + 4 else None
        if len(data) < at + _HEAD.size:
            return b"", None
        kind, size = _HEAD.unpack_from(data, at)
        return kind, size + 1


class Commits:
    """What a client asks for: says which message executes a COMMIT."""

    def __init__(self) -> None:
        self._statements: set[bytes] = set()
        self._portals: set[bytes] = set()

    def executes(self, kind: bytes, message: bytes) -> bool:
        """Takes the client's messages in order."""
        fields = message[_HEAD.size :].split(b"\0", 2)
        match kind:
            case b"Q":
                return _is_commit(fields[0])
            case b"P":
                _note(self._statements, fields[0], _is_commit(fields[1]))
            case b"B":
                _note(self._portals, fields[0], fields[1] in self._statements)
            case b"E":
                return fields[0] in self._portals
        return False


def _is_commit(sql: bytes) -> bool:
    return sql.strip().lower() == b"commit"


def _note(names: set[bytes], name: bytes, member: bool) -> None:
    if member:
        names.add(name)
    else:
        names.discard(name)


class _End(asyncio.Protocol):
    """One end of a wire: hands on what it reads."""

    def __init__(self, read: Callable[[bytes], None], lost: Callable[[], None]) -> None:
        self._read = read
        self._lost = lost
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's are not asyncio's by inheritance.
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._read(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost()

    def write(self, data: bytes) -> None:
        if data and self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)

    def close(self) -> None:
        """What was written goes out first."""
        if self.transport is not None:
            self.transport.close()

    def end(self) -> None:
        """Nothing more is written; what comes is still read."""
        if self.transport is not None:
            self.transport.write_eof()

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()


class _Wire:
    """One connection of an instance's. Traffic is small and answered at once, so neither side is slowed down."""

    def __init__(self, cutter: "CommitCutter") -> None:
        self._cutter = cutter
        self._asked, self._said = Messages(startup=True), Messages(startup=False)
        self._commits = Commits()
        self._early: list[bytes] | None = []
        self._plan: Cut | None = None
        self.client = _End(self._from_client, self._client_left)
        self.server = _End(self._from_server, self._server_left)
        self._silent = False

    async def connect(self, upstream: str) -> None:
        try:
            await asyncio.get_running_loop().create_unix_connection(lambda: self.server, upstream)
        except OSError:
            # Postgres is away: so is the wire.
            self.client.abort()
            return
        early, self._early = self._early or [], None
        for data in early:
            self._from_client(data)

    def cut(self) -> None:
        self.client.abort()
        self.server.abort()

    def _from_client(self, data: bytes) -> None:
        if self._early is not None:
            self._early.append(data)
            return
        passed: list[bytes] = []
        for kind, message in self._asked.feed(data):
            if self._commits.executes(kind, message):
                self._plan = self._cutter.plan()
                if self._plan == "before":
                    break
            passed.append(message)
        self.server.write(b"".join(passed))
        match self._plan:
            case "before" | "both":
                self._done()
                self._leave()
            case "sent":
                # Postgres reads all of it to its end, answers, and nobody hears it.
                self._done()
                self._silent = True
                self.client.abort()
                self.server.end()

    def _from_server(self, data: bytes) -> None:
        """Passes on whole messages, and cuts at the COMMIT's answer where that is planned."""
        for kind, message in self._said.feed(data):
            committed = kind == b"C" and message[_HEAD.size :] == _COMMITTED
            if self._silent:
                continue
            if committed and self._plan is not None:
                shown = {"torn": len(message) // 2, "told": len(message)}.get(self._plan, 0)
                self.client.write(message[:shown])
                self._done()
                self._leave()
                return
            self.client.write(message)
            if kind == b"Z":
                self._plan = None  # answered with a ROLLBACK

    def _leave(self) -> None:
        """What was written goes out, then both ends are gone."""
        self.client.close()
        self.server.close()

    def _done(self) -> None:
        assert self._plan is not None
        self._cutter.cuts[self._plan] += 1

    def _client_left(self) -> None:
        self._cutter.wires.discard(self)
        if not self._silent:
            self.server.close()

    def _server_left(self) -> None:
        self.client.close()


class CommitCutter:
    """Of `most` commits after which the wire is cut. `cuts` counts them by kind, `commits` all that passed by."""

    def __init__(self, rng: Random, *, share: float, weights: Mapping[Cut, int] = WEIGHTS) -> None:
        self._rng = rng
        self._weights = weights
        self.share = share
        """Of all commits, how many are cut: 0 for none, 1 for all."""
        self.most: float = float("inf")
        self.cuts: Counter[Cut] = Counter()
        self.commits = 0
        self.wires: set[_Wire] = set()

    @property
    def after(self) -> int:
        """Cuts after the COMMIT was sent."""
        return sum(self.cuts[kind] for kind in AFTER)

    def plan(self) -> Cut | None:
        """Asked at every commit."""
        self.commits += 1
        if self.after >= self.most or self._rng.random() >= self.share:
            return None
        [kind] = self._rng.choices([*self._weights], [*self._weights.values()])
        return kind


@asynccontextmanager
async def cutting(database_url: str, directory: Path, cutter: CommitCutter) -> AsyncIterator[str]:
    """The URL of the same database through the wire; its socket is in `directory`."""
    url = urlsplit(database_url)
    query = dict(parse_qsl(url.query))
    upstream = f"{query['host']}/.s.PGSQL.{query.get('port', '5432')}"
    loop = asyncio.get_running_loop()
    connecting: set[asyncio.Task[None]] = set()

    def accept() -> _End:
        wire = _Wire(cutter)
        cutter.wires.add(wire)
        task = loop.create_task(wire.connect(upstream))
        connecting.add(task)
        task.add_done_callback(connecting.discard)
        return wire.client

    server = await loop.create_unix_server(accept, directory / ".s.PGSQL.5432", backlog=512)
    async with server:
        yield urlunsplit(url._replace(query=urlencode({"host": str(directory), "port": "5432"})))
        for wire in [*cutter.wires]:
            wire.cut()
        await asyncio.gather(*connecting)
