"""Tests of how we come to a client's database: address, TLS, credentials, and nothing else that this machine knows."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import psycopg
import pytest
from psycopg import sql

from server.net.egress import Egress
from server.tools.connections.database import DatabaseConnection, DatabaseKind, Tls
from server.tools.sql.databases import DatabaseFault, Databases
from tests.mariadb import running
from tests.services import with_database
from tests.tools.sql_desk import KINDS, Desk, local
from tests.tools.sql_relay import relaying
from tests.tools.sql_shops import PASSWORD, Shop, make_mysql_shop
from tests.tools.sql_tls import Authority


async def refusal(databases: Databases, connection: DatabaseConnection, kind: DatabaseKind) -> DatabaseFault:
    with pytest.raises(DatabaseFault) as raised:
        await databases.query(connection, kind, statement="select 1", parameters={})
    return raised.value


# The address.


@pytest.mark.parametrize("kind", KINDS)
async def test_a_private_address_is_refused_unless_the_deployment_allows_it(
    kind: DatabaseKind, databases: Databases
) -> None:
    """By name and by number; no connection is made, and the model reads no more than that."""
    strict = Egress(lookup=local)
    careful = Databases(strict)
    reached = asyncio.Event()

    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.set()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        for host in ("db.test", "127.0.0.1", "0x7f000001", "[::1]", "169.254.169.254", "db.test,127.0.0.1", "/tmp"):
            connection = DatabaseConnection(host=host, port=port, database="x", user="x", password="x", tls="off")
            fault = await refusal(careful, connection, kind)
            assert (fault.kind, fault.message) == ("forbidden", "the database's address is not allowed"), host
        assert not reached.is_set()
        # The same, allowed: somebody hears us.
        connection = DatabaseConnection(host="db.test", port=port, database="x", user="x", password="x", tls="off")
        assert (await refusal(databases, connection, kind)).kind in {"unreachable", "refused"}
        assert reached.is_set()
    await careful.close()
    await strict.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_name_that_is_not_found_is_unreachable(kind: DatabaseKind, databases: Databases) -> None:
    """The operator reads which."""
    connection = DatabaseConnection(host="db.nowhere.example", database="x", user="x", password="x")
    fault = await refusal(databases, connection, kind)
    assert fault.kind == "unreachable"
    assert "db.nowhere.example" in fault.reason


# Credentials.


@pytest.mark.parametrize("changed", [{"password": "wrong"}, {"user": "nobody_at_all"}, {"database": "nowhere"}])
async def test_a_refused_login_says_what_the_server_said(desk: Desk, changed: dict[str, str]) -> None:
    """To the operator; the model hears that the database refused. The password is in neither."""
    connection = msgspec.structs.replace(desk.connection, **changed)
    with pytest.raises(DatabaseFault) as raised:
        await desk.databases.query(connection, desk.kind, statement="select 1", parameters={})
    assert (raised.value.kind, raised.value.message) == ("refused", "the database refused the connection")
    assert next(iter(changed.values())) in raised.value.reason or "password" in raised.value.reason
    assert PASSWORD not in str(raised.value)
    assert PASSWORD not in repr(connection)


async def test_a_changed_password_is_a_connection_of_its_own(desk: Desk) -> None:
    """A kept connection is never lent to whoever does not know the same secret."""
    await desk.ask("select 1")
    wrong = msgspec.structs.replace(desk.connection, password="wrong")
    with pytest.raises(DatabaseFault) as raised:
        await desk.databases.query(wrong, desk.kind, statement="select 1", parameters={})
    assert raised.value.kind == "refused"


ADVICE = "give Frontdesk a user that may only read"


async def test_a_user_who_may_write_is_advised_against(desk: Desk) -> None:
    """A test of the connection says what the user could do; for one who may only read it says nothing."""
    test = desk.databases.test
    if desk.kind == "postgres_database":
        assert await test(desk.connection, desk.kind) is None
        said = await test(desk.shop.connection(desk.relay.port, user="postgres"), desk.kind)
        assert said is not None
        assert "postgres is a superuser" in said
    else:
        # `execute` is how the tests' reader tries to write through a function.
        assert "reader has EXECUTE;" in str(await test(desk.connection, desk.kind))
        said = await test(desk.shop.connection(desk.relay.port, user="root", password=""), desk.kind)
        assert said is not None
        assert "ALL PRIVILEGES" in said
    said = await test(desk.shop.connection(desk.relay.port, user=desk.shop.writer), desk.kind)
    assert said is not None
    assert ADVICE in said
    assert "may change 1 table" in said or "has INSERT" in said


async def test_a_test_fails_as_a_look_up_does(desk: Desk) -> None:
    """With the same kinds and reasons."""
    desk.relay.cut()
    await desk.relay.close()
    with pytest.raises(DatabaseFault) as raised:
        await desk.databases.test(desk.connection, desk.kind)
    assert raised.value.kind == "unreachable"


async def test_nothing_comes_from_the_environment(
    postgres_shop: Shop, databases: Databases, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """libpq reads a dozen variables and files of the home directory; for us they do not exist."""
    (tmp_path / ".pgpass").write_text(f"*:*:*:*:{PASSWORD}")
    (tmp_path / ".pgpass").chmod(0o600)
    for name, value in {
        "HOME": str(tmp_path),
        "PGHOST": "elsewhere.test",
        "PGHOSTADDR": "192.0.2.1",
        "PGPORT": "1",
        "PGUSER": "somebody",
        "PGPASSWORD": PASSWORD,
        "PGPASSFILE": str(tmp_path / ".pgpass"),
        "PGDATABASE": "elsewhere",
        "PGOPTIONS": "-c statement_timeout=1 -c search_path=nowhere",
        "PGSSLMODE": "verify-full",
        "PGSSLROOTCERT": "/nowhere",
        "PGSSLNEGOTIATION": "direct",
        "PGREQUIREAUTH": "none",
        "PGCHANNELBINDING": "require",
        "PGTARGETSESSIONATTRS": "standby",
        "PGCLIENTENCODING": "LATIN1",
        "PGAPPNAME": "somebody",
        "PGCONNECT_TIMEOUT": "nonsense",
    }.items():
        monkeypatch.setenv(name, value)
    async with relaying(postgres_shop.target) as relay:
        desk = Desk(postgres_shop, relay, databases)
        rows = await desk.ask("select current_user, current_database(), current_setting('application_name'), 'ä'")
        assert rows.rows == [[postgres_shop.reader, postgres_shop.database, "Frontdesk", "ä"]]
        # Without a password of its own it has none.
        without = msgspec.structs.replace(desk.connection, password="")
        fault = await refusal(databases, without, desk.kind)
        assert (fault.kind, "no password supplied" in fault.reason) == ("refused", True)
        await databases.close()


# TLS.


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="session")
def tls_mariadb_shop(run_dir: Path, worker_id: str, authority: Authority) -> Iterator[Shop]:
    """In a MariaDB that proves to be db.test and takes nobody without TLS."""
    certificate, key = authority.issue("db.test")
    options = (f"--ssl-cert={certificate}", f"--ssl-key={key}", f"--ssl-ca={authority.certificate}")
    with (
        running(run_dir.with_name(f"{run_dir.name}-{worker_id}-mariadb-tls"), *options) as server,
        make_mysql_shop(server) as shop,
    ):
        shop.execute("alter user reader require ssl")
        yield shop


@asynccontextmanager
async def tls_desk(
    kind: DatabaseKind, request: pytest.FixtureRequest, authority: Authority, databases: Databases
) -> AsyncIterator[Desk]:
    """A shop behind TLS: MariaDB's own, or in front of PostgreSQL, whose embedded build has none."""
    if kind == "mysql_database":
        shop: Shop = request.getfixturevalue("tls_mariadb_shop")
        tls = None
    else:
        shop = request.getfixturevalue("postgres_shop")
        tls = authority.context("db.test")
    async with relaying(shop.target, tls=tls) as relay:
        yield Desk(shop, relay, databases)
        await databases.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_tls_is_checked_as_it_is_asked_for(
    kind: DatabaseKind, request: pytest.FixtureRequest, authority: Authority, databases: Databases
) -> None:
    """`verify` wants a trusted certificate of this very name, `require` any; both read the shop."""
    async with tls_desk(kind, request, authority, databases) as desk:

        def tried(tls: Tls, *, host: str = "db.test", ca: str | None = None) -> DatabaseConnection:
            return msgspec.structs.replace(desk.connection, tls=tls, host=host, ca=ca)

        for connection in (tried("require"), tried("verify", ca=authority.pem)):
            rows = await databases.query(connection, kind, statement="select count(*) from products", parameters={})
            assert rows.rows == [[3]]
        for connection in (tried("verify"), tried("verify", host="other.test", ca=authority.pem)):
            fault = await refusal(databases, connection, kind)
            assert (fault.kind, fault.message) == ("tls", "the database cannot be reached over a secure connection")
            assert "certificate" in fault.reason.lower()
        # PostgreSQL's relay is the end of its TLS; MariaDB's carries it on, and sees nothing.
        assert (b"products" in desk.relay.sent) is (kind == "postgres_database")
        assert (desk.shop.reader.encode() in desk.relay.sent) is (kind == "postgres_database")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_kept_connection_that_was_cut_is_replaced_behind_tls_too(
    kind: DatabaseKind, request: pytest.FixtureRequest, authority: Authority, databases: Databases
) -> None:
    """However the end of an encrypted connection is told."""
    async with tls_desk(kind, request, authority, databases) as desk:
        connection = msgspec.structs.replace(desk.connection, tls="verify", ca=authority.pem)
        for round_ in range(3):
            rows = await databases.query(connection, kind, statement="select count(*) from products", parameters={})
            assert rows.rows == [[3]]
            assert desk.relay.opened == round_ + 1
            desk.relay.cut()
            if round_:
                await desk.relay.until(open_connections=0)


async def test_a_server_without_tls_hears_nothing_but_the_question(desk: Desk) -> None:
    """No fall-back: no user, no password, not even a scrambled one."""
    for tls in ("require", "verify"):
        fault = await refusal(desk.databases, msgspec.structs.replace(desk.connection, tls=tls), desk.kind)
        assert fault.kind == "tls"
        assert "support" in fault.reason
    assert desk.shop.reader.encode() not in desk.relay.sent
    assert len(desk.relay.sent) <= 2 * 8


async def test_the_machines_own_authorities_are_trusted(
    request: pytest.FixtureRequest, authority: Authority, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a `ca` the certificate must be one that this machine trusts, for both drivers."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    from server.tools.sql import mysql as database_mysql

    for kind in KINDS:
        async with tls_desk(kind, request, authority, databases) as desk:
            database_mysql._tls_context.cache_clear()
            connection = msgspec.structs.replace(desk.connection, tls="verify")
            rows = await databases.query(connection, kind, statement="select 1", parameters={})
            assert rows.rows == [[1]]
    database_mysql._tls_context.cache_clear()


def test_a_ca_must_be_one() -> None:
    """It is checked where a connection is configured, and only makes sense where certificates are checked."""
    raw = {"host": "a", "database": "b", "user": "c", "password": "d"}
    for wrong in ({"ca": "no certificate"}, {"ca": "-----BEGIN CERTIFICATE-----"}, {"ca": ""}, {"ca": "ä"}):
        with pytest.raises(msgspec.ValidationError, match="PEM"):
            msgspec.convert(raw | wrong, DatabaseConnection)
    with pytest.raises(msgspec.ValidationError, match="tls = verify"):
        msgspec.convert(raw | {"ca": "x", "tls": "require"}, DatabaseConnection)


# Servers that mean ill.


def greeting(plugin: bytes, *, capabilities: int = 0x000FF7FF) -> bytes:
    """How a MySQL server begins: without TLS unless told otherwise."""
    capabilities &= ~0x0800
    body = (
        b"\x0a8.0.36\0" + (7).to_bytes(4, "little") + b"saltsalt\0" + (capabilities & 0xFFFF).to_bytes(2, "little")
        + b"\x2d\x02\0" + (capabilities >> 16).to_bytes(2, "little") + b"\x15" + b"\0" * 10 + b"saltsaltsalt\0"
        + plugin + b"\0"
    )  # fmt: skip
    return packet(body, 0)


def packet(body: bytes, number: int) -> bytes:
    return len(body).to_bytes(3, "little") + bytes([number]) + body


@asynccontextmanager
async def scripted(*answers: bytes) -> AsyncIterator[tuple[int, bytearray]]:
    """A server that says these things, one after each thing it hears; what it heard."""
    heard = bytearray()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            for answer in answers:
                writer.write(answer)
                data = await reader.read(65_536)
                heard.extend(data)
            await reader.read()
        writer.transport.abort()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1], heard


OK = b"\0\0\0\x02\0\0\0"


@pytest.mark.parametrize(
    "answers",
    [
        [greeting(b"mysql_clear_password")],
        [greeting(b"mysql_native_password"), packet(b"\xfemysql_clear_password\0", 2)],
        [greeting(b"mysql_native_password"), packet(b"\xfemysql_old_password\0salt", 2)],
        [greeting(b"mysql_native_password", capabilities=0x0000F7FF)],
    ],
)
async def test_a_server_that_asks_for_the_password_itself_does_not_get_it(
    answers: list[bytes], databases: Databases
) -> None:
    """Neither at once nor by switching the method later; nor one from before there were methods."""
    async with scripted(*answers) as (port, heard):
        connection = DatabaseConnection(host="db.test", port=port, database="x", user="x", password="secret", tls="off")
        assert (await refusal(databases, connection, "mysql_database")).kind == "refused"
        assert b"secret" not in heard


async def test_a_postgres_that_asks_for_the_password_itself_does_not_get_it(databases: Databases) -> None:
    """Not without a certificate that was checked."""
    async with scripted(b"", b"R" + (8).to_bytes(4) + (3).to_bytes(4)) as (port, heard):
        connection = DatabaseConnection(host="db.test", port=port, database="x", user="x", password="secret", tls="off")
        fault = await refusal(databases, connection, "postgres_database")
        assert fault.kind == "refused"
        assert b"secret" not in heard


async def test_a_server_that_asks_for_a_file_gets_none(databases: Databases) -> None:
    """A MySQL server may answer a statement with "send me /etc/passwd"."""
    wish = packet(b"\xfb/etc/passwd", 1)
    async with scripted(greeting(b"mysql_native_password"), packet(OK, 2), wish) as (port, heard):
        connection = DatabaseConnection(host="db.test", port=port, database="x", user="x", password="x", tls="off")
        assert (await refusal(databases, connection, "mysql_database")).kind == "broken"
        assert b"root:" not in heard


@pytest.mark.parametrize(
    "noise",
    [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x00" * 400, b"\xff" * 400, greeting(b"x")[:40], os.urandom(4000)],
)
@pytest.mark.parametrize("kind", KINDS)
async def test_a_server_of_another_kind_is_a_fault_and_no_more(
    kind: DatabaseKind, noise: bytes, databases: Databases
) -> None:
    """A web server, zeros, noise: an answer within the time, whatever comes."""
    async with scripted(b"" if kind == "postgres_database" else noise, noise) as (port, _):
        connection = DatabaseConnection(host="db.test", port=port, database="x", user="x", password="x", tls="off")
        with pytest.raises(DatabaseFault) as raised:
            await databases.query(connection, kind, statement="select 1", parameters={}, timeout_s=0.5)
        assert raised.value.kind in {"broken", "refused", "unreachable", "timeout", "statement", "tls"}


# Text of other times.


@asynccontextmanager
async def old_database(
    encoding: str, url: str, admin: psycopg.Connection, shop: Shop, databases: Databases
) -> AsyncIterator[tuple[Desk, DatabaseConnection]]:
    """One with `notes` in an encoding from before UTF-8: "caf\\xe9"."""
    name = f"{shop.database}_{encoding.lower()}"
    admin.execute(
        sql.SQL("create database {} encoding {} locale_provider libc locale 'C' template template0").format(
            sql.Identifier(name), encoding
        )
    )
    with psycopg.connect(with_database(url, name), autocommit=True, client_encoding=encoding) as conn:
        conn.execute(b"create table notes (note text); insert into notes values (e'caf\\xe9')")
        conn.execute(sql.SQL("grant select on notes to {}").format(sql.Identifier(shop.reader)))
    async with relaying(shop.target) as relay:
        yield Desk(shop, relay, databases), msgspec.structs.replace(shop.connection(relay.port), database=name)
        await databases.close()
    admin.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


async def test_an_older_encoding_is_translated_by_the_server(
    postgres_url: str, admin: psycopg.Connection, databases: Databases, postgres_shop: Shop
) -> None:
    """Both ways. A character that it does not have is the argument's fault."""
    async with old_database("LATIN1", postgres_url, admin, postgres_shop, databases) as (desk, connection):
        statement = "select note from notes where note = :note"
        rows = await databases.query(connection, desk.kind, statement=statement, parameters={"note": "café"})
        assert rows.rows == [["café"]]
        with pytest.raises(DatabaseFault) as raised:
            await databases.query(connection, desk.kind, statement=statement, parameters={"note": "🍕"})
        assert raised.value.kind == "argument"


async def test_bytes_that_are_no_text_are_the_owners_to_explain(
    postgres_url: str, admin: psycopg.Connection, databases: Databases, postgres_shop: Shop
) -> None:
    """A database in SQL_ASCII keeps whatever it was given; the reason says so, and a statement can say what it is."""
    async with old_database("SQL_ASCII", postgres_url, admin, postgres_shop, databases) as (desk, connection):
        with pytest.raises(DatabaseFault) as raised:
            await databases.query(connection, desk.kind, statement="select note from notes", parameters={})
        assert (raised.value.kind, "0xe9" in raised.value.reason) == ("statement", True)
        statement = "select convert_from(convert(note::bytea, 'LATIN1', 'UTF8'), 'SQL_ASCII') as note from notes"
        rows = await databases.query(connection, desk.kind, statement=statement, parameters={})
        assert rows.rows == [["café"]]
