"""A client's MySQL or MariaDB.

A look-up is one round trip of several statements: read only, its limits, the parameters as user variables, PREPARE,
EXECUTE, rollback. The parameters cross the wire in hexadecimal and meet a statement that is parsed already, so that
none of them can become a part of it, whatever the server's SQL mode or character set; and PREPARE takes one statement
and no more. The driver would write them into the text itself.
"""

import asyncio
import math
import os
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Final

import msgspec
from aiomysql.connection import Connection  # type: ignore[import-untyped]  # it has no types
from aiomysql.cursors import SSCursor  # type: ignore[import-untyped]  # nor have these
from pymysql import err  # type: ignore[import-untyped]  # nor have these
from pymysql.constants import CLIENT, FIELD_TYPE  # type: ignore[import-untyped]  # nor have these

from server import log
from server.tools import result
from server.tools.connections.database import DEFAULT_PORTS, DatabaseConnection, Tls
from server.tools.sql.driver import Collector, DatabaseFault, FaultKind, Limits, Rows, distinct
from server.tools.sql.meter import Meter
from server.tools.sql.template import Template

_log = log.get("database")


class _Connection(Connection):  # type: ignore[misc]  # it has no types
    """aiomysql's connection, but it goes to an address, proves a name, and never falls back to less than was asked."""

    def __init__(self, connection: DatabaseConnection, address: str) -> None:
        self._server_name = connection.host
        self._tls = connection.tls
        self._reader: Any = None
        self._writer: Any = None
        super().__init__(
            host=address,
            port=connection.port or DEFAULT_PORTS["mysql_database"],
            user=connection.user,
            # aiomysql sends it in Latin-1; servers compare UTF-8.
            password=connection.password.encode().decode("latin1"),
            db=connection.database,
            charset="utf8mb4",
            ssl=_tls_context(connection.tls, connection.ca),
            local_infile=False,
            autocommit=None,
            program_name="Frontdesk",
            # No converters: text as the server wrote it, see `_plain`.
            conv={},
        )

    async def _request_authentication(self) -> None:
        if self._ssl_context and not self.server_capabilities & CLIENT.SSL:
            raise DatabaseFault("tls", "the server does not support TLS, and tls is not off")
        if not self.server_capabilities & CLIENT.PLUGIN_AUTH:
            raise DatabaseFault("refused", "the server is older than MySQL 5.7 and MariaDB 10")
        self._check_plugin(self._server_auth_plugin)
        # Connected; from here on it is only the name in the certificate.
        self._host = self._server_name
        await super()._request_authentication()

    async def _process_auth(self, plugin_name: bytes, auth_packet: Any) -> Any:
        self._check_plugin(plugin_name.decode("latin1"))
        return await super()._process_auth(plugin_name, auth_packet)

    def _check_plugin(self, plugin: str) -> None:
        """Who does not prove to be the server is not handed the password itself."""
        if plugin == "mysql_old_password" or (plugin == "mysql_clear_password" and self._tls != "verify"):
            raise DatabaseFault("refused", f"the server asks for {plugin}, which would give the password away")

    async def next_result(self) -> int:
        # aiomysql would gather all rows of any result but the first.
        await self._read_query_result(unbuffered=True)
        return int(self._affected_rows)

    def close(self) -> None:
        # A TLS connection that is closed politely waits for the other side.
        writer: asyncio.StreamWriter | None = self._writer
        if writer is not None:
            writer.transport.abort()
        self._reader = self._writer = None

    def fileno(self) -> int:
        writer: asyncio.StreamWriter | None = self._writer
        return -1 if writer is None else int(writer.get_extra_info("socket").fileno())

    @property
    def lost(self) -> bool:
        """Whether it was closed, here or, as far as is known, over there."""
        writer: asyncio.StreamWriter | None = self._writer
        return writer is None or writer.is_closing() or bool(self._reader.at_eof())


class _Cursor(SSCursor):  # type: ignore[misc]  # it has no types
    async def _show_warnings(self, conn: Connection) -> None:
        """A round trip, and a Python warning for every careless comparison in an owner's statement."""


async def connect(connection: DatabaseConnection, address: str) -> "MysqlSession":
    """Logs in at `address`, which `connection.host` was resolved to. Raises DatabaseFault; waits without end."""
    with _faults():
        conn = _Connection(connection, address)
        try:
            await conn._connect()
        except BaseException:
            conn.close()
            raise
        return MysqlSession(conn)


class MysqlSession:
    """One connection."""

    def __init__(self, conn: _Connection) -> None:
        self._conn = conn
        self._meter = Meter(conn.fileno)

    async def select(self, template: Template, parameters: dict[str, Any], limits: Limits) -> Rows:
        collected = Collector(limits)
        with self._meter.watching(), _faults(self._meter):
            cursor = await self._conn.cursor(_Cursor)
            await cursor.execute("; ".join(self._batch(template, parameters, limits)))
            while cursor.description is None:
                if not await cursor.nextset():
                    raise DatabaseFault("statement", "the statement has no rows")
            columns = distinct(str(column[0]) for column in cursor.description)
            types = [int(column[1]) for column in cursor.description]
            seen = 0
            while (row := await cursor.fetchone()) is not None:
                seen += 1
                more = collected.add([_plain(value, code) for value, code in zip(row, types, strict=True)])
                if not more or seen > limits.rows + 1:
                    # Too many bytes, or the statement has a LIMIT of its own, which is above ours. MySQL cannot be
                    # told to stop; it would send the rest first.
                    self.close()
                    return Rows(columns, collected.rows, truncated=True)
            while await cursor.nextset():
                continue
        return Rows(columns, collected.rows, collected.truncated)

    async def powers(self) -> str | None:
        with self._meter.watching(), _faults(self._meter):
            cursor = await self._conn.cursor(_Cursor)
            await cursor.execute("; ".join([*self._begin(5.0), "rollback", "show grants"]))
            while cursor.description is None and await cursor.nextset():
                continue
            grants = [str(row[0]) for row in await cursor.fetchall()]
        found = sorted({power for grant in grants for power in _POWERS.findall(grant.partition(" ON ")[0].upper())})
        return f"has {', '.join(found)}" if found else None

    @property
    def closed(self) -> bool:
        return self._conn.lost

    def close(self) -> None:
        self._conn.close()

    def _batch(self, template: Template, parameters: dict[str, Any], limits: Limits) -> list[str]:
        variables = [f"@frontdesk_{number}" for number in range(len(template.names))]
        values = [_literal(parameters.get(name)) for name in template.names]
        assigned = [f"{variable} = {value}" for variable, value in zip(variables, values, strict=True)]
        return [
            *self._begin(limits.seconds),
            f"set session sql_select_limit = {limits.rows + 1}",
            f"set {', '.join([f'@frontdesk = {_text(template.text)}', *assigned])}",
            "prepare frontdesk from @frontdesk",
            f"execute frontdesk{' using ' if variables else ''}{', '.join(variables)}",
            "rollback",
        ]

    def _begin(self, seconds: float) -> list[str]:
        maria = "mariadb" in self._conn.get_server_info().lower()
        milliseconds = max(1, int(seconds * 1000))
        limit = f"max_statement_time = {seconds:.3f}" if maria else f"max_execution_time = {milliseconds}"
        return [
            f"set session {limit}, session lock_wait_timeout = {max(1, math.ceil(seconds))}",
            # Of all transactions of the session, should anything end this one; then of this one.
            "set session transaction read only",
            "start transaction read only",
        ]


# In and out.


def _text(value: str) -> str:
    return f"convert(x'{value.encode().hex()}' using utf8mb4)"


def _literal(value: Any) -> str:
    """A parameter as SQL. Nothing but digits and hexadecimal comes of it. Lists and objects are JSON in text."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float() if math.isfinite(value):
            return repr(value)
        case str():
            return _text(value)
        case list() | dict():
            return _text(msgspec.json.encode(value).decode())
        case _:
            raise DatabaseFault("argument", f"a {type(value).__name__} cannot be a parameter")


_INTEGERS: Final = {
    FIELD_TYPE.TINY, FIELD_TYPE.SHORT, FIELD_TYPE.LONG, FIELD_TYPE.LONGLONG, FIELD_TYPE.INT24, FIELD_TYPE.YEAR,
}  # fmt: skip


def _plain(value: str | bytes | None, code: int) -> Any:
    """A value that JSON can say, of the server's text and the type of its column."""
    if value is None:
        return None
    if isinstance(value, bytes):
        return int.from_bytes(value) if code == FIELD_TYPE.BIT else f"<{len(value)} bytes>"
    if code in _INTEGERS:
        return int(value)
    if code in {FIELD_TYPE.FLOAT, FIELD_TYPE.DOUBLE}:
        return float(value)
    if code in {FIELD_TYPE.TIMESTAMP, FIELD_TYPE.DATETIME}:
        return value.replace(" ", "T", 1)
    if code == FIELD_TYPE.JSON:
        try:
            return result.parsed(value)
        except ValueError:
            return value
    return value


@lru_cache(maxsize=64)
def _tls_context(tls: Tls, ca: str | None) -> ssl.SSLContext | None:
    # Cached, because reading the machine's authorities takes 10 ms.
    if tls == "off":
        return None
    context = ssl.create_default_context(cadata=ca)
    if tls == "require":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


_POWERS: Final = re.compile(
    r"ALL PRIVILEGES|INSERT|UPDATE|DELETE(?! HISTORY)|DROP|ALTER|CREATE|INDEX|TRIGGER|EVENT|EXECUTE|FILE|SUPER"
)

# Faults.
_BY_CODE: Final[dict[int, FaultKind]] = {
    # Password, host, plugin, database, too many connections.
    **dict.fromkeys((1045, 1698, 1130, 1251, 1524, 2059, 1044, 1049, 1040, 1203, 1226, 1129, 4151), "refused"),
    # Not granted, or it would write.
    **dict.fromkeys((1142, 1143, 1227, 1290, 1370, 1792), "permission"),
    **dict.fromkeys((1969, 3024, 1205, 1317), "timeout"),
    **dict.fromkeys((2003, 2006, 2013, 1053, 1927), "unreachable"),
    **dict.fromkeys((1210, 1264, 1292, 1366, 1411, 1525), "argument"),
}  # fmt: skip


@contextmanager
def _faults(meter: Meter | None = None) -> Iterator[None]:
    try:
        yield
    except DatabaseFault:
        raise
    except Exception as error:  # noqa: BLE001  # whatever a hostile server makes of aiomysql's decoder
        if meter is not None and meter.exceeded is not None:
            raise DatabaseFault("statement", meter.exceeded) from None
        raise _fault(error) from None


def _fault(error: Exception) -> DatabaseFault:
    cause = error.__cause__
    if isinstance(error, ssl.SSLError) or isinstance(cause, ssl.SSLError):
        return DatabaseFault("tls", str(cause or error))
    if isinstance(error, err.Error) and error.args and isinstance(error.args[0], int):
        code = error.args[0]
        reason = str(error.args[-1])
        if code == 2003 and isinstance(cause, OSError):
            reason = os.strerror(cause.errno) if cause.errno else str(cause)
        kind = _BY_CODE.get(code, "statement")
        if code == 1267 and "COERCIBLE" in reason:
            # What is compared is not two columns: a parameter has a character that a column cannot have.
            kind = "argument"
        return DatabaseFault(kind, f"{reason} ({code})")
    if isinstance(error, UnicodeEncodeError):
        return DatabaseFault("argument", str(error))
    if isinstance(error, OSError):
        return DatabaseFault("unreachable", str(error))
    _log.warning("a database answered with something else than its protocol", error=repr(error))
    return DatabaseFault("broken", repr(error))
