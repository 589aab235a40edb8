"""Look-ups in clients' own databases: read-only, with an end in time, rows and bytes.

A login takes several round trips, so a connection waits a moment for the next question of the same conversation.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar
from weakref import WeakValueDictionary

from server import log
from server.errors import EgressError, Invalid
from server.net.egress import Egress
from server.tools.connections.database import DEFAULT_PORTS, DatabaseConnection, DatabaseKind
from server.tools.sql import mysql as database_mysql
from server.tools.sql import postgres as database_postgres
from server.tools.sql.driver import DatabaseFault, FaultKind, Limits, Rows, Session
from server.tools.sql.template import Template, check_statement, parse

__all__ = ["DatabaseFault", "Databases", "Rows", "check_statement"]

# Seconds for one look-up, login included: what a visitor waits for live data.
LIMIT_S: Final = 5.0
MAX_ROWS: Final = 100
# Bytes of values that are kept of one look-up; a model reads 16 KB of them.
MAX_BYTES: Final = 1_048_576
# Connections to one database at a time: shared hosts allow a user 10 and less.
CONNECTIONS: Final = 4
# Seconds a connection waits for the next question, and how many wait in all: a model that looks up two things asks
# again within a few seconds, a visitor who reads the answer first often does not.
IDLE_S: Final = 15.0
IDLE_CONNECTIONS: Final = 64

_CONNECT: Final[dict[DatabaseKind, Callable[[DatabaseConnection, str], Awaitable[Session]]]] = {
    "postgres_database": database_postgres.connect,
    "mysql_database": database_mysql.connect,
}
_EGRESS_FAULTS: Final[dict[EgressError.Kind, FaultKind]] = {"forbidden": "forbidden", "timeout": "timeout"}
# The server has this much less time than we wait ourselves, so that its own word on a slow statement arrives.
_MARGIN_S: Final = 0.2
_PROBE: Final = Template("select 1", ())
_Key: TypeAlias = tuple[DatabaseKind, DatabaseConnection]
_R = TypeVar("_R")

_log = log.get("database")


class _Waiting(NamedTuple):
    session: Session
    expiry: asyncio.TimerHandle


class Databases:
    """Asks clients' databases. One for an instance; `close` it. Belongs to the event loop that uses it."""

    def __init__(self, egress: Egress, *, idle_s: float = IDLE_S) -> None:
        self._egress = egress
        self._idle_s = idle_s
        self._idle: dict[_Key, list[_Waiting]] = {}
        # A gate lives as long as somebody is within or before it.
        self._gates: WeakValueDictionary[_Key, asyncio.Semaphore] = WeakValueDictionary()
        self._closed = False

    async def query(
        self,
        connection: DatabaseConnection,
        kind: DatabaseKind,
        *,
        statement: str,
        parameters: dict[str, Any],
        timeout_s: float = LIMIT_S,
        max_rows: int = MAX_ROWS,
    ) -> Rows:
        """Rows of an endpoint's statement, at most `max_rows` and 1 MB of them.

        `parameters` that the statement names and the call leaves out are null. `timeout_s` is for all of it and at
        most LIMIT_S. Raises DatabaseFault.
        """
        try:
            # Again, because what was stored may be older than today's rules.
            template = parse(kind, statement)
        except Invalid as error:
            raise DatabaseFault("statement", error.message) from None
        values = {name: _number(value) for name, value in parameters.items()}
        return await self._run(
            (kind, connection),
            timeout_s,
            lambda session, seconds: session.select(
                template, values, Limits(seconds=seconds, rows=max_rows, bytes=MAX_BYTES)
            ),
        )

    async def test(self, connection: DatabaseConnection, kind: DatabaseKind) -> str | None:
        """Logs in and looks something up. Advice for the owner, or None when there is none. Raises DatabaseFault."""

        async def probe(session: Session, seconds: float) -> str | None:
            await session.select(_PROBE, {}, Limits(seconds=seconds, rows=1, bytes=MAX_BYTES))
            return await session.powers()

        powers = await self._run((kind, connection), LIMIT_S, probe)
        if powers is None:
            return None
        return f"the user {connection.user} {powers}; give Frontdesk a user that may only read (grant SELECT, no more)"

    async def close(self) -> None:
        """Closes what waits. Look-ups under way end by their own limits."""
        self._closed = True
        for key in list(self._idle):
            while (session := self._take_waiting(key)) is not None:
                session.close()

    async def _run(self, key: _Key, timeout_s: float, work: Callable[[Session, float], Awaitable[_R]]) -> _R:
        started = asyncio.get_running_loop().time()
        budget = min(timeout_s, LIMIT_S)
        try:
            async with asyncio.timeout_at(started + budget):
                return await self._attempt(key, started + budget, work)
        except TimeoutError:
            fault = DatabaseFault("timeout", f"no answer within {budget:g} s")
        except DatabaseFault as raised:
            fault = raised
        # Not the reason: it may quote an argument, which is a visitor's.
        ms = round((asyncio.get_running_loop().time() - started) * 1000)
        _log.info("failed", host=key[1].host, kind=fault.kind, ms=ms)
        raise fault from None

    async def _attempt(self, key: _Key, deadline: float, work: Callable[[Session, float], Awaitable[_R]]) -> _R:
        async with self._gate(key):
            while True:
                session = self._take_waiting(key)
                kept = session is not None
                if session is None:
                    session = await self._connect(key, deadline)
                try:
                    outcome = await work(session, _servers_share(_left(deadline)))
                except DatabaseFault as fault:
                    session.close()
                    # The server may have closed a connection that waited. Asking again changes nothing.
                    if not (kept and fault.kind == "unreachable"):
                        raise
                except BaseException:
                    session.close()
                    raise
                else:
                    self._keep(key, session)
                    return outcome

    async def _connect(self, key: _Key, deadline: float) -> Session:
        kind, connection = key
        port = connection.port or DEFAULT_PORTS[kind]
        try:
            address = await self._egress.resolve(connection.host, port, timeout_s=max(0.001, _left(deadline)))
        except EgressError as error:
            raise DatabaseFault(_EGRESS_FAULTS.get(error.kind, "unreachable"), error.message) from None
        return await _CONNECT[kind](connection, address)

    def _gate(self, key: _Key) -> asyncio.Semaphore:
        gate = self._gates.get(key)
        if gate is None:
            gate = self._gates[key] = asyncio.Semaphore(CONNECTIONS)
        return gate

    def _keep(self, key: _Key, session: Session) -> None:
        full = sum(map(len, self._idle.values())) >= IDLE_CONNECTIONS
        if full or self._closed or session.closed:
            session.close()
            return
        expiry = asyncio.get_running_loop().call_later(self._idle_s, self._expire, key, session)
        self._idle.setdefault(key, []).append(_Waiting(session, expiry))

    def _take_waiting(self, key: _Key) -> Session | None:
        """The one that was used last, if any waits."""
        while waiting := self._idle.get(key):
            session, expiry = waiting.pop()
            expiry.cancel()
            if not waiting:
                del self._idle[key]
            if not session.closed:
                return session
            session.close()
        return None

    def _expire(self, key: _Key, session: Session) -> None:
        session.close()
        left = [waiting for waiting in self._idle.pop(key) if waiting.session is not session]
        if left:
            self._idle[key] = left


def _number(value: Any) -> Any:
    """2.0 is an integer to JSON Schema; LIMIT wants it without its point."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value


def _servers_share(left: float) -> float:
    return max(0.001, left - min(_MARGIN_S, left / 4))


def _left(deadline: float) -> float:
    return deadline - asyncio.get_running_loop().time()
