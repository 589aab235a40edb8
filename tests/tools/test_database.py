"""Tests of look-ups in clients' databases: a real PostgreSQL and a real MariaDB, behind a wire that can be cut."""

import asyncio
import logging
import time
from typing import Any

import msgspec
import pytest

from server.net.egress import Egress
from server.tools.sql.databases import CONNECTIONS, DatabaseFault, Databases, Rows
from server.tools.sql.driver import Limits
from server.tools.sql.template import Template
from tests.support import PATIENCE_S
from tests.tools.sql_desk import LOOPBACK, Desk, local
from tests.tools.sql_relay import relaying
from tests.tools.sql_shops import Shop

# What is found.


async def test_rows_are_found_by_typed_parameters(desk: Desk) -> None:
    """Text, whole numbers, decimals, dates, booleans and nulls meet columns of their kind."""
    rows = await desk.ask("select id, name from products where name = :name", name="Pizza Pepperoni")
    assert rows == Rows(("id", "name"), [[2, "Pizza Pepperoni"]], truncated=False)
    by = "select id from products where "
    assert (await desk.ask(by + "id = :id", id=1)).rows == [[1]]
    assert (await desk.ask(by + "price <= :most order by id", most=8.75)).rows == [[1]]
    assert (await desk.ask(by + "stock = :stock", stock=9007199254740993)).rows == [[2]]
    assert (await desk.ask(by + "added = :day", day="2024-02-29")).rows == [[1]]
    assert (await desk.ask(by + "sold = :sold", sold=True)).rows == [[2]]
    assert (await desk.ask(by + "id > :id order by id limit :n", id=0, n=2)).rows == [[1], [2]]
    # JSON Schema takes 2.0 for an integer, and so do we.
    assert (await desk.ask(by + "id > :id order by id limit :n", id=1.0, n=1.0)).rows == [[2]]
    either = by + "(:name is null or name = :name) order by id"
    assert (await desk.ask(either)).rows == [[1], [2], [3]]
    assert (await desk.ask(either, name="Pizza Margherita")).rows == [[1]]
    optional = by + "(:day is null or added >= :day) and (:id is null or id = :id) and (:sold is null or sold = :sold)"
    assert (await desk.ask(optional, day="2024-03-01")).rows == [[2]]
    assert (await desk.ask(optional, id=1, sold=False)).rows == [[1]]


async def test_no_rows_still_have_columns(desk: Desk) -> None:
    """Nothing found is an answer, not a fault."""
    rows = await desk.ask("select id, name as title from products where id = :id", id=-1)
    assert rows == Rows(("id", "title"), [], truncated=False)


async def test_columns_of_one_name_are_told_apart(desk: Desk) -> None:
    """A join has two `id`; an object would keep only one."""
    rows = await desk.ask(
        "select a.id, b.id, a.id as id_2, a.name from products a, products b where b.id = 2 and a.id = 1"
    )
    assert rows == Rows(("id", "id_2", "id_2_2", "name"), [[1, 2, 1, "Pizza Margherita"]], truncated=False)


async def test_values_become_json_digit_by_digit(desk: Desk) -> None:
    """Decimals, dates and times are text as the database wrote it, and the whole is JSON."""
    rows = await desk.ask("select price, weight, added, changed, stock, name from products order by id")
    assert rows.rows[:2] == [
        ["8.50", 0.25, "2024-02-29", "2024-03-01T12:30:00", 12, "Pizza Margherita"],
        ["9.00", 0.5, "2024-03-01", "2024-03-01T12:30:01", 9007199254740993, "Pizza Pepperoni"],
    ]
    assert rows.rows[2] == [None, None, None, None, None, 'O\'Brien "best" 100%']
    assert msgspec.json.decode(msgspec.json.encode(rows.rows)) == rows.rows


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("'infinity'::date", "infinity"),
        ("'0044-03-15 BC'::date", "0044-03-15 BC"),
        ("'2024-01-01 00:00:00+00'::timestamptz at time zone 'utc'", "2024-01-01T00:00:00"),
        ("interval '1 month 2 days'", "P1M2D"),
        ("time '12:30'", "12:30:00"),
        ("'NaN'::float8", "NaN"),
        ("'NaN'::numeric", "NaN"),
        ("12345678901234567890.10::numeric", "12345678901234567890.10"),
        ("'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ("'\\x00ff10'::bytea", "<3 bytes>"),
        ("array[1, null, 3]", [1, None, 3]),
        ("array['a b', 'c']", ["a b", "c"]),
        ("array[1.50, 2.0]", ["1.50", "2.0"]),
        ("""'{"a": [1, {"b": null}]}'::jsonb""", {"a": [1, {"b": None}]}),
        ("'[1, 2'::json::text", None),
        ("row(1, 'a')", "(1,a)"),
        ("'[1,5)'::int4range", "[1,5)"),
        ("'192.168.0.1'::inet", "192.168.0.1"),
        ("point(1, 2)", "(1,2)"),
        ("true", True),
        ("null", None),
    ],
)
async def test_every_type_of_postgres_has_a_value(
    postgres_shop: Shop, databases: Databases, expression: str, value: Any
) -> None:
    """Also what Python has no words for: infinite dates, years before Christ, a month as an interval."""
    async with relaying(postgres_shop.target) as relay:
        desk = Desk(postgres_shop, relay, databases)
        if "[1, 2" in expression:
            assert (await desk.fault(f"select {expression}")).kind == "argument"
        else:
            assert (await desk.ask(f"select {expression}")).rows == [[value]]
        await databases.close()


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("date('2024-01-01')", "2024-01-01"),
        ("cast('-12:30:00' as time)", "-12:30:00"),
        ("cast('2024-01-01 10:00:00.5' as datetime(1))", "2024-01-01T10:00:00.5"),
        ("cast(12345678901234567890.10 as decimal(30, 2))", "12345678901234567890.10"),
        ("18446744073709551615", 18446744073709551615),
        ("0xff00", "<2 bytes>"),
        ("b'101'", "<1 bytes>"),
        ("1.5e0", 1.5),
        ("json_object('a', json_array(1, null))", '{"a": [1, null]}'),
        ("_latin1 0xe9", "é"),
        ("cast('Pizza' as binary)", "<5 bytes>"),
        ("true", 1),
        ("null", None),
    ],
)
async def test_every_type_of_mariadb_has_a_value(
    mariadb_shop: Shop, databases: Databases, expression: str, value: Any
) -> None:
    """MariaDB keeps JSON as text and has no booleans."""
    async with relaying(mariadb_shop.target) as relay:
        assert (await Desk(mariadb_shop, relay, databases).ask(f"select {expression}")).rows == [[value]]
        await databases.close()


async def test_a_parameter_finds_text_of_an_older_character_set(mariadb_shop: Shop, databases: Databases) -> None:
    """A Latin-1 column compares with UTF-8 as with a literal; a character that it lacks is the argument's fault."""
    mariadb_shop.execute(
        "create table cities (name varchar(50) character set latin1 collate latin1_german1_ci primary key);"
        "insert into cities values ('Zürich'), ('Genève'); grant select on cities to reader"
    )
    async with relaying(mariadb_shop.target) as relay:
        desk = Desk(mariadb_shop, relay, databases)
        assert (await desk.ask("select name from cities where name = :name", name="Zürich")).rows == [["Zürich"]]
        assert (await desk.ask("select name from cities where name like :name", name="%nève")).rows == [["Genève"]]
        fault = await desk.fault("select name from cities where name = :name", name="日本")
        assert (fault.kind, "Illegal mix of collations" in fault.reason) == ("argument", True)
        await databases.close()
    mariadb_shop.execute("drop table cities")


async def test_lists_are_arrays_in_postgres_and_json_in_mysql(desk: Desk) -> None:
    """Each in the way its statements can use."""
    if desk.kind == "postgres_database":
        some = "select id from products where id = any(:ids) order by id"
        assert (await desk.ask(some, ids=[1, 3])).rows == [[1], [3]]
        assert (await desk.ask("select :doc::jsonb -> 'a' as a", doc={"a": [1, {"b": 2}]})).rows == [[[1, {"b": 2}]]]
        assert (await desk.ask("select jsonb_array_length(:doc) as n", doc=[1, "a", None])).rows == [[3]]
    else:
        some = "select id from products where json_contains(:ids, id) order by id"
        assert (await desk.ask(some, ids=[1, 3])).rows == [[1], [3]]


HOSTILE = [
    "' or '1'='1",
    "'; delete from products; --",
    "\\'; delete from products; -- ",
    "\\",
    "\\\\' or 1=1 #",
    '" or ""="',
    "`",
    "/*! or 1=1 */",
    "%s %(a)s {} :name $1 ? @frontdesk @frontdesk_0",
    "\u00bf' or 1=1 -- ",
    "\u0000' or 1=1",
    "日本語 🍕 \u0131 \u017f",
    "\x1b\r\n\t\x7f",
    "$$; delete from products; $$",
    "x'; commit; drop table products",
]


@pytest.mark.parametrize("text", HOSTILE)
async def test_a_parameter_is_never_a_part_of_the_statement(desk: Desk, text: str) -> None:
    """Whatever a model puts in comes back as it was, finds nothing it should not, and changes nothing."""
    before = desk.shop.names()
    if "\0" in text and desk.kind == "postgres_database":
        fault = await desk.fault("select id from products where name = :name", name=text)
        assert fault.kind == "argument"
        assert "NUL" in fault.reason
    else:
        assert (await desk.ask("select id from products where name = :name", name=text)).rows == []
        echo = (
            "select :name::text as a, :name::text as b" if desk.kind == "postgres_database" else "select :name, :name"
        )
        assert (await desk.ask(echo, name=text)).rows == [[text, text]]
    assert desk.shop.names() == before


@pytest.mark.parametrize("value", ["\ud83d", "a\udfff"])
async def test_half_an_emoji_is_the_arguments_fault(desk: Desk, value: str) -> None:
    """A model can write it in JSON; no database can hold it."""
    assert (await desk.fault("select id from products where name = :name", name=value)).kind == "argument"


async def test_an_argument_of_the_wrong_kind_is_told_so(postgres_shop: Shop, databases: Databases) -> None:
    """The model reads that its argument does not fit, the operator what the database said."""
    async with relaying(postgres_shop.target) as relay:
        desk = Desk(postgres_shop, relay, databases)
        for statement, value in (
            ("select id from products where id = :x", "abc"),
            ("select id from products where added = :x", "yesterday-ish"),
            ("select id from products where id = :x::integer", 2**40),
            ("select :x::uuid", "1"),
        ):
            fault = await desk.fault(statement, x=value)
            assert (fault.kind, fault.message) == (
                "argument",
                "an argument is not of the kind that the database expects",
            )
            assert "invalid input syntax" in fault.reason or "out of range" in fault.reason
        await databases.close()


# Where it ends.

MANY = {
    "postgres_database": "select n, 'row ' || n as name from generate_series(1, 1000000) n",
    "mysql_database": "select a.n, concat('row ', b.n) from numbers a, numbers b",
}


async def test_of_a_million_rows_only_the_first_are_taken(desk: Desk) -> None:
    """They are not even sent: the wire stays quiet, and the connection is good for the next question."""
    rows = await desk.ask(MANY[desk.kind], max_rows=10)
    assert len(rows.rows) == 10
    assert rows.truncated
    assert desk.relay.received < 20_000
    assert not (await desk.ask("select id from products", max_rows=3)).truncated
    assert desk.relay.opened == 1


async def test_a_limit_of_its_own_does_not_bring_a_million_rows(desk: Desk) -> None:
    """MySQL obeys the statement's LIMIT before ours, so that connection is given up after the first rows."""
    rows = await desk.ask(f"{MANY[desk.kind]} limit 1000000", max_rows=10)
    assert len(rows.rows) == 10
    assert rows.truncated
    await desk.relay.until(open_connections=0 if desk.kind == "mysql_database" else 1)
    assert (await desk.ask("select count(*) from products")).rows == [[3]]


async def test_rows_are_taken_up_to_a_megabyte(desk: Desk) -> None:
    """Fewer rows than asked for, and it says so."""
    rows = await desk.ask("select repeat('x', 60000) as text from numbers limit 50")
    assert 10 < len(rows.rows) < 20
    assert rows.truncated
    assert len(msgspec.json.encode(rows.rows)) < 1_100_000


async def test_one_huge_value_is_cut_off_on_the_wire(desk: Desk) -> None:
    """A value can have as much as the server likes; it is told that there is too much, and nothing is kept."""
    fault = await desk.fault("select repeat('x', 16000000) as a, repeat('y', 16000000) as b")
    assert (fault.kind, "8 MB" in fault.reason) == ("statement", True)
    await desk.relay.until(open_connections=0)


SLOW = "select count(*) from numbers a, numbers b, numbers c, numbers d where a.n + b.n + c.n + d.n = 0"


def running_statements(shop: Shop) -> int:
    if shop.kind == "postgres_database":
        found = shop.execute(
            f"select count(*) from pg_stat_activity where usename = '{shop.reader}' and state = 'active'"
        )
    else:
        found = shop.execute(
            "select count(*) from information_schema.processlist where user = 'reader' and command = 'Query'"
        )
    count = found[0][0]
    assert isinstance(count, int)
    return count


async def until_running(shop: Shop, count: int) -> None:
    """Waits until the server runs so many statements of ours."""
    async with asyncio.timeout(PATIENCE_S):
        while await asyncio.to_thread(running_statements, shop) != count:
            continue


async def test_a_slow_statement_ends_in_time_on_both_sides(desk: Desk) -> None:
    """The caller hears it after its seconds, and the shop's server is not left with the work."""
    started = time.monotonic()
    fault = await desk.fault(SLOW, timeout_s=0.6)
    assert fault.kind == "timeout"
    assert time.monotonic() - started < 2.5
    await until_running(desk.shop, 0)
    assert (await desk.ask("select count(*) from products")).rows == [[3]]


async def test_time_that_runs_out_is_no_news_in_the_log(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """One line of ours; the drivers do not complain of a connection that we gave up ourselves."""
    await desk.ask("select 1")
    desk.relay.stop()
    with caplog.at_level(logging.INFO):
        await desk.fault("select 1", timeout_s=0.1)
    assert [record.message for record in caplog.records if record.name != "database"] == []


async def test_nobody_waits_longer_than_five_seconds(desk: Desk) -> None:
    """Whatever a caller asks for."""
    started = time.monotonic()
    assert (await desk.fault(SLOW, timeout_s=60)).kind == "timeout"
    assert 4 < time.monotonic() - started < 7


async def test_a_wire_that_falls_silent_ends_in_time(desk: Desk) -> None:
    """No reset, no end: nothing. During a statement, and during the login."""
    await desk.ask("select 1")
    desk.relay.stop()
    for _ in range(2):
        started = time.monotonic()
        fault = await desk.fault("select count(*) from products", timeout_s=0.4)
        assert (fault.kind, fault.reason) == ("timeout", "no answer within 0.4 s")
        assert time.monotonic() - started < 2.0


async def test_who_stops_waiting_is_let_go_at_once(desk: Desk) -> None:
    """A turn that is stopped does not wait for the database, and leaves no connection behind."""
    asking = asyncio.create_task(desk.ask(SLOW, timeout_s=3))
    await until_running(desk.shop, 1)
    started = time.monotonic()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert time.monotonic() - started < 1
    await desk.relay.until(open_connections=0)
    await until_running(desk.shop, 0)


# When it is gone.


async def test_a_database_that_is_not_there_is_unreachable(desk: Desk) -> None:
    """Refused at once."""
    await desk.relay.close()
    started = time.monotonic()
    fault = await desk.fault("select 1")
    assert (fault.kind, fault.message) == ("unreachable", "the database cannot be reached")
    assert "refused" in fault.reason.lower()
    assert time.monotonic() - started < 2


async def test_a_wire_cut_in_the_middle_is_unreachable(desk: Desk) -> None:
    """While the statement runs; it is not run again, because the connection was new."""
    asking = asyncio.create_task(desk.fault(SLOW, timeout_s=4))
    await until_running(desk.shop, 1)
    desk.relay.cut()
    assert (await asking).kind == "unreachable"
    assert desk.relay.opened == 1


async def test_a_connection_that_waited_and_was_closed_is_replaced(desk: Desk) -> None:
    """Servers and firewalls close idle connections; nobody notices."""
    assert (await desk.ask("select count(*) from products")).rows == [[3]]
    desk.relay.cut()
    assert (await desk.ask("select count(*) from products")).rows == [[3]]
    assert desk.relay.opened == 2


async def test_connections_are_kept_a_moment_and_shared_by_few(database_shop: Shop) -> None:
    """Many questions at once share a handful; the last ones are closed when nobody asks."""
    egress = Egress(LOOPBACK, lookup=local)
    databases = Databases(egress, idle_s=0.05)
    async with relaying(database_shop.target) as relay:
        desk = Desk(database_shop, relay, databases)
        found = await asyncio.gather(*(desk.ask("select id from products where id = :id", id=1) for _ in range(20)))
        assert [rows.rows for rows in found] == [[[1]]] * 20
        assert 1 <= relay.most_open <= CONNECTIONS
        await relay.until(open_connections=0)
        assert (await desk.ask("select count(*) from products")).rows == [[3]]
        await databases.close()
        await relay.until(open_connections=0)
    await egress.close()


# Who may.


async def test_what_was_not_granted_is_not_allowed(desk: Desk) -> None:
    """The user of the connection may read two tables, and this is not one of them."""
    fault = await desk.fault("select * from margins")
    assert (fault.kind, fault.message) == ("permission", "the database does not allow this look-up")
    assert "margins" in fault.reason


async def test_a_statement_that_the_database_refuses_is_the_owners(desk: Desk) -> None:
    """A table or a column that does not exist, a sentence that is none."""
    for statement in ("select id from produkts", "select nix from products", "select from where"):
        fault = await desk.fault(statement)
        assert fault.kind in {"statement", "permission"}
        assert fault.reason


async def test_a_refused_statement_never_reaches_the_database(desk: Desk) -> None:
    """A definition that was stored before the rules is checked again when it runs."""
    fault = await desk.fault("delete from products")
    assert fault.kind == "statement"
    assert "must be one SELECT" in fault.reason
    assert desk.relay.opened == 0


WRITING = [
    "insert into products (id) values (99)",
    "delete from products",
    "select sell(1)",
    "create table loot (a integer)",
    "select 1; delete from products",
    "drop table products",
    "select * from products for update",
]
WRITING_POSTGRES = [
    "with gone as (delete from products returning id) select * from gone",
    "select set_config('transaction_read_only', 'off', false)",
    "select 1; commit; delete from products",
    "select 1 into loot",
    "select lo_create(0)",
]
WRITING_MYSQL = ["call clear_out()", "commit", "select 1 into outfile '/tmp/loot'", "set global max_connections = 1"]


async def test_without_the_check_the_database_still_refuses_to_write(
    database_shop: Shop, databases: Databases, subtests: pytest.Subtests
) -> None:
    """A read-only transaction, as an administrator: the wall behind the check of statements."""
    shop = database_shop
    extra = WRITING_POSTGRES if shop.kind == "postgres_database" else WRITING_MYSQL
    before = shop.names()
    async with relaying(shop.target) as relay:
        superuser = "postgres" if shop.kind == "postgres_database" else "root"
        connection = shop.connection(relay.port, user=superuser, password="")
        for statement in [*WRITING, *extra]:
            with subtests.test(statement=statement):
                session = await databases._connect((shop.kind, connection), asyncio.get_running_loop().time() + 5)
                try:
                    await session.select(Template(statement, ()), {}, Limits(seconds=3.0, rows=10, bytes=1000))
                except DatabaseFault as fault:
                    assert fault.kind in {"permission", "statement"}, fault
                else:
                    assert statement.endswith("for update"), "it was run"
                finally:
                    session.close()
                assert shop.names() == before
