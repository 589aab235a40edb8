"""A client's PostgreSQL.

A look-up is one round trip: begin read only, its limits, a cursor with the parameters bound by the server, the first
rows of it, rollback. A cursor takes nothing but a SELECT, and a million rows stay where they are. Nothing outlives the
transaction, so a pooler in between (pgbouncer) never carries our settings to somebody else.
"""

import os
import re
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import certifi
import psycopg
from psycopg import pq
from psycopg.abc import Buffer
from psycopg.adapt import AdaptersMap, Loader
from psycopg.conninfo import make_conninfo
from psycopg.types.json import Jsonb

from server.tools import result
from server.tools.connections.database import DEFAULT_PORTS, DatabaseConnection, Tls
from server.tools.sql.driver import Collector, DatabaseFault, FaultKind, Limits, Rows, distinct
from server.tools.sql.meter import Meter
from server.tools.sql.template import Template

# A path that is never there: libpq takes "" for "look in the home directory".
_NO_FILE: Final = f"{os.devnull}/none"
_SSL_MODES: Final[dict[Tls, str]] = {"off": "disable", "require": "require", "verify": "verify-full"}
# Who does not prove to be the server is not handed the password itself.
_AUTH: Final[dict[Tls, str]] = {
    "off": "scram-sha-256,md5,none",
    "require": "scram-sha-256,md5,none",
    "verify": "scram-sha-256,md5,password,none",
}


class _Connection(psycopg.AsyncConnection[tuple[Any, ...]]):
    """Whoever stops waiting hangs up. `statement_timeout` ends the query on the other side."""

    async def _try_cancel(self, *, timeout: float = 5.0) -> None:  # noqa: ASYNC109  # psycopg's signature
        # psycopg would ask the server to cancel and wait for up to 10 s; a visitor has left by then.
        self.pgconn.finish()
        raise psycopg.errors.QueryCanceled  # what psycopg expects to come of it


async def connect(connection: DatabaseConnection, address: str) -> "PostgresSession":
    """Logs in at `address`, which `connection.host` was resolved to. Raises DatabaseFault; waits without end."""
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as authorities, _connect_faults():
        if connection.ca is not None:
            authorities.write(connection.ca)
            authorities.flush()
        options = _every_option(connection, address, authorities.name if connection.ca is not None else _bundle())
        conn = await _Connection.connect(
            autocommit=True,
            prepare_threshold=None,
            cursor_factory=psycopg.AsyncRawCursor,
            context=_ADAPTATION,
            conninfo=make_conninfo("", **options),
        )
    return PostgresSession(conn)


class PostgresSession:
    """One connection."""

    def __init__(self, conn: _Connection) -> None:
        self._conn = conn
        self._meter = Meter(lambda: -1 if conn.closed else conn.fileno())

    async def select(self, template: Template, parameters: dict[str, Any], limits: Limits) -> Rows:
        values = [_bindable(parameters.get(name)) for name in template.names]
        with self._meter.watching(), self._faults():
            async with self._conn.pipeline():
                await self._begin(limits.seconds)
                await self._conn.execute(b"declare looked_up no scroll cursor for " + template.text.encode(), values)
                found = await self._conn.execute(f"fetch forward {limits.rows + 1} from looked_up".encode())
                await self._conn.execute("rollback")
            columns = distinct(column.name for column in found.description or ())
            collected = Collector(limits)
            while (row := await found.fetchone()) is not None and collected.add(list(row)):
                continue
        return Rows(columns, collected.rows, collected.truncated)

    async def powers(self) -> str | None:
        with self._meter.watching(), self._faults():
            async with self._conn.pipeline():
                await self._begin(5.0)
                found = await self._conn.execute(_POWERS)
                await self._conn.execute("rollback")
            superuser, tables = await found.fetchone() or (False, 0)
        if superuser:
            return "is a superuser"
        return f"may change {tables} table{'s' * (tables != 1)}" if tables else None

    @property
    def closed(self) -> bool:
        return self._conn.closed

    def close(self) -> None:
        self._conn.pgconn.finish()

    async def _begin(self, seconds: float) -> None:
        await self._conn.execute("begin read only")
        await self._conn.execute(
            "select set_config('statement_timeout', $1, true), set_config('lock_timeout', $1, true),"
            " set_config('idle_in_transaction_session_timeout', $1, true),"
            # With it off a backslash would escape, which `sql_template` does not reckon with.
            " set_config('standard_conforming_strings', 'on', true),"
            " set_config('datestyle', 'ISO', true), set_config('intervalstyle', 'iso_8601', true),"
            " set_config('bytea_output', 'hex', true)",
            [str(max(1, int(seconds * 1000)))],
        )

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except (psycopg.Error, UnicodeError, ValueError) as error:
            if self._meter.exceeded is not None:
                raise DatabaseFault("statement", self._meter.exceeded) from None
            raise _fault(error) from None


def _every_option(connection: DatabaseConnection, address: str, authorities: str) -> dict[str, str]:
    """All that libpq would else take from the environment, a service file or the home directory."""
    known = {option.keyword.decode(): (option.compiled or b"").decode() for option in _ENVIRONMENT}
    return known | {
        "host": connection.host,
        "hostaddr": address,
        "port": str(connection.port or DEFAULT_PORTS["postgres_database"]),
        "dbname": connection.database,
        "user": connection.user,
        "password": connection.password,
        "passfile": _NO_FILE,
        # Ours is asyncio's; psycopg wants a number.
        "connect_timeout": "60",
        "client_encoding": "UTF8",
        "application_name": "Frontdesk",
        "sslmode": _SSL_MODES[connection.tls],
        "sslrootcert": authorities if connection.tls == "verify" else _NO_FILE,
        "sslcrl": _NO_FILE,
        "sslcertmode": "disable",
        "gssencmode": "disable",
        "min_protocol_version": "3.0",
        "max_protocol_version": "3.0",
        "require_auth": _AUTH[connection.tls],
    }


# "service" can only be left out. It fills in options that are not given, and all of them are.
_ENVIRONMENT: Final = [each for each in pq.Conninfo.get_defaults() if each.envvar and each.keyword != b"service"]


def _bundle() -> str:
    """A file of the authorities that this machine trusts. The libpq of psycopg's wheels does not know where it is."""
    return ssl.get_default_verify_paths().cafile or certifi.where()


# In and out.


def _bindable(value: Any) -> Any:
    """Text is of the type the statement needs, as a literal is; a list of one kind is an array, all else jsonb."""
    match value:
        case list() if len({type(item) for item in value}) <= 1 and not any(
            isinstance(item, (list, dict)) for item in value
        ):
            return value
        case list() | dict():
            return Jsonb(value)
        case _:
            return value


class _Text(Loader):
    def load(self, data: Buffer) -> Any:
        return bytes(data).decode()


class _Moment(_Text):
    def load(self, data: Buffer) -> Any:
        return super().load(data).replace(" ", "T", 1)


class _Float(_Text):
    def load(self, data: Buffer) -> Any:
        text = super().load(data)
        return text if text in {"NaN", "Infinity", "-Infinity"} else float(text)


class _Json(_Text):
    def load(self, data: Buffer) -> Any:
        text = super().load(data)
        try:
            return result.parsed(text)
        except ValueError:
            return text


class _Size(_Text):
    def load(self, data: Buffer) -> Any:
        return f"<{max(0, len(data) - 2) // 2} bytes>"  # "\x" and two digits a byte


# Python has no words for 'infinity', for years before Christ, or for a month as an interval; text has. Types that are
# not listed are text anyhow; integers, booleans and arrays are psycopg's own.
_LOADERS: Final[dict[type[_Text], tuple[str, ...]]] = {
    _Text: (
        "text", "varchar", "bpchar", "name", "numeric", "date", "time", "timetz", "interval", "uuid", "inet", "cidr",
        "int4range", "int8range", "numrange", "daterange", "tsrange", "tstzrange", "int4multirange", "int8multirange",
        "nummultirange", "datemultirange", "tsmultirange", "tstzmultirange", "record", '"char"',
    ),
    _Moment: ("timestamp", "timestamptz"),
    _Float: ("float4", "float8"),
    _Json: ("json", "jsonb"),
    _Size: ("bytea",),
}  # fmt: skip


class _Adaptation:
    """What psycopg asks of a context of adaptation."""

    def __init__(self) -> None:
        self.adapters = AdaptersMap(psycopg.adapters)
        self.connection = None
        for loader, names in _LOADERS.items():
            for name in names:
                self.adapters.register_loader(name, loader)
        # Of types that this server does not know.
        self.adapters.register_loader(0, _Text)


_ADAPTATION: Final = _Adaptation()

_POWERS: Final = """
    select rolsuper, (
        select count(*) from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where c.relkind in ('r', 'p', 'f', 'v') and n.nspname <> 'information_schema' and n.nspname !~ '^pg_'
            and has_table_privilege(c.oid, 'insert, update, delete, truncate')
    )
    from pg_roles where rolname = current_user
"""

# Faults.
_BY_STATE: Final[dict[str, FaultKind]] = {
    "57014": "timeout",  # statement_timeout
    "55P03": "timeout",  # lock_timeout
    "25P03": "timeout",  # idle in transaction
    "42501": "permission",
    "25006": "permission",  # it would write
    # Text that is no number, date, uuid; out of range; a character that the database does not have.
    "22P02": "argument", "22007": "argument", "22008": "argument", "22003": "argument", "22P05": "argument",
    "22023": "argument",
    "57P01": "unreachable", "57P02": "unreachable", "57P03": "unreachable", "57P05": "unreachable",
    "53300": "refused", "3D000": "refused",
}  # fmt: skip


def _fault(error: Exception) -> DatabaseFault:
    if not isinstance(error, psycopg.Error):
        # Half a surrogate pair in an argument, or bytes in an answer that are no text.
        kind: FaultKind = "argument" if isinstance(error, UnicodeEncodeError) else "broken"
        return DatabaseFault(kind, str(error))
    state = error.sqlstate
    if state is not None:
        kind = _BY_STATE.get(state) or ("unreachable" if state.startswith("08") else "statement")
        return DatabaseFault(kind, error.diag.message_primary or str(error))
    # Without a state it is psycopg or libpq that speaks.
    if isinstance(error, (psycopg.DataError, psycopg.ProgrammingError)):
        return DatabaseFault("argument", str(error))
    return DatabaseFault("unreachable", str(error))


_OWN_WORDS: Final = re.compile(
    r"refused|timeout expired|unreachable|no route|closed the connection|could not (?:connect|receive|send)"
    r"|reset by peer|broken pipe|timed out|EOF",
    re.IGNORECASE,
)
_TLS_WORDS: Final = re.compile(r"\bSSL\b|\bTLS\b|certificate", re.IGNORECASE)


@contextmanager
def _connect_faults() -> Iterator[None]:
    """libpq gives no code while it connects. Its own sentences are known; what is left was said by the server."""
    try:
        yield
    except (psycopg.Error, UnicodeError, ValueError) as error:
        reason = re.sub(r"\Aconnection failed: |connection to server at .*? failed: ", "", str(error))
        if _TLS_WORDS.search(reason) and "FATAL" not in reason:
            raise DatabaseFault("tls", reason) from None
        if _OWN_WORDS.search(reason) and "FATAL" not in reason:
            raise DatabaseFault("unreachable", reason) from None
        raise DatabaseFault("refused", reason) from None
