"""Tests of the statements of endpoints: what is taken, how it is turned, and what is refused with which words."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from server.errors import Invalid
from server.tools.connections.database import DatabaseKind
from server.tools.sql.template import MAX_LENGTH, Template, check_statement, parse

PG: DatabaseKind = "postgres_database"
MY: DatabaseKind = "mysql_database"

TURNED: list[tuple[DatabaseKind, str, str, str]] = [
    (PG, "select a from t where n = :number", "select a from t where n =  $1", "number"),
    (PG, "select :x, :y, :x;\n ", "select  $1 ,  $2 ,  $1", "x y"),
    (PG, "select :x::uuid, :y :: text", "select  $1 ::uuid,  $2  :: text", "x y"),
    (PG, "select :x is null or a = :x", "select  $1::text  is null or a =  $2", "x x"),
    (PG, "select a = :x and :x  IS NOT\nNULL", "select a =  $1  and  $2::text   IS NOT\nNULL", "x x"),
    (MY, "select :x is null", "select  ?  is null", "x"),
    (PG, "select x:a", "select x $1", "a"),
    (PG, """select "odd ""name" :x""", """select "odd ""name"  $1""", "x"),
    (PG, "select make_interval(days := :d)", "select make_interval(days :=  $1 )", "d"),
    (
        MY,
        "select a from t where a = :x or b = :x limit :n",
        "select a from t where a =  ?  or b =  ?  limit  ?",
        "x x n",
    ),
    (MY, "select a <=> :a && b || !c", "select a <=>  ?  && b || !c", "a"),
]


@pytest.mark.parametrize(("kind", "statement", "text", "names"), TURNED)
def test_parameters_become_placeholders(kind: DatabaseKind, statement: str, text: str, names: str) -> None:
    """One a name for Postgres, one a place for MySQL, apart from what stands beside them."""
    assert parse(kind, statement) == Template(text, tuple(names.split()))


TAKEN: list[tuple[DatabaseKind, str]] = [
    *(
        (kind, statement)
        for kind in (PG, MY)
        for statement in (
            "SELECT 1.5e3, .5, 1.",
            "select 'eine; zwei -- drei /* vier', 'it''s', ':no', '$1'",
            "with t as (select 1 as n), u as (select 2) select * from t, u",
            "select replace(upper(replace(n, 'a', 'b')), 'c', '') from t",
            "select substring(n from 1 for 3), insert(n, 1, 1, ''), preis as größe from t",
            "select 1 union all select 2 order by 1 limit 3",
        )
    ),
    (PG, "select a::text, b[1:2] from t"),
    (PG, "select E'it\\'s :no', 'back\\'"),
    (PG, "select j #>> '{a,b}', j @> '{}', j ? 'k', -1, a - -1, a # 1"),
    (PG, "with recursive t as materialized (select 1) search depth first by n set s select * from t"),
    (PG, 'select "into", pg_typeof(n) from t'),
    (MY, 'select `a``b`, "it\'s", 0xff, `into` from t'),
    (MY, "select doc->>'$.a', upper(insert(n, 1, 1, '')) from t"),
]


@pytest.mark.parametrize(("kind", "statement"), TAKEN)
def test_a_select_stays_as_it_was_written(kind: DatabaseKind, statement: str) -> None:
    """What looks like a parameter, a comment or an end within quotes is text."""
    assert parse(kind, statement) == Template(statement, ())


REFUSED_BY_BOTH = [
    "", "   ", ";", "selec 1", "insert into t values (1)", "update t set a = 1", "delete from t", "drop table t",
    "call p()", "show tables", "explain select 1", "set role admin", "begin", "values (1)", "table t", "do sleep(1)",
    "select 1; select 2", "select 1; drop table t", "select 1;;", "; select 1", "(select 1)", "copy t to stdout",
    "select 1 -- comment", "select 1 /* comment */", "select /*! 1 */ 1", "select /*+ hint */ 1", "select 1 --",
    "select 1 into t", "select a INTO outfile '/tmp/x' from t", "select 1 into dumpfile '/tmp/x'",
    "select * from t for update", "select * from t FOR  SHARE", "select * from t for no key update",
    "with x as (select 1) delete from t", "with x as (select 1) insert into t select * from x",
    "with x as (select 1) update t set a = 1", "with x as (select 1) replace into t select * from x",
    "with delete as (select 1) delete from t", "with x as (values (1)) table x", "with x as (select 1)",
    "select (1", "select 1)", "select 1) union (select 2", "select ')' from (t",
    "select 'open", "select 'a''", "select \x00", "select 'a\x00b'", "select '\x1b'", "select '\ud800'",
    "select 1e0union select 2", "select 1.union select 2", "select 1into t", "select 12abc", "select \\g",
    "select :ñ", "select {fn now()}", "select \u200b;select",
]  # fmt: skip

REFUSED: list[tuple[DatabaseKind, str, str]] = [
    *((kind, statement, "") for kind in (PG, MY) for statement in REFUSED_BY_BOTH),
    (PG, "with x as (delete from t returning *) select * from x", "DELETE"),
    (PG, "with x as materialized ( update t set a = 1 returning a) select * from x", "UPDATE"),
    (PG, "with x as (insert into t values (1) returning a) select * from x", "INSERT"),
    (PG, "with x as (merge into t using u on a = b when matched then delete returning 1) select * from x", "MERGE"),
    (PG, "with a as (select 1), b as (\n\tDeLeTe from t returning 1) select * from b", "DELETE"),
    (PG, "select $$a$$", "$"),
    (PG, "select $tag$ ' $tag$", "$"),
    (PG, "select $1", "$"),
    (PG, "select U&'d\\0061t'", "U&"),
    (PG, 'select u&"d\\0061t"', "U&"),
    (PG, "select `a`", "`"),
    (PG, "select E'a\\'", "'"),
    (PG, "select pg_sleep(9)", "pg_sleep()"),
    (PG, "select PG_SLEEP (9)", "pg_sleep()"),
    (PG, "select pg_catalog . pg_sleep\n(9)", "pg_sleep()"),
    (PG, 'select "pg_sleep"(9)', "pg_sleep()"),
    (PG, "select pg_read_file('/etc/passwd')", "pg_read_file()"),
    (PG, "select lo_import('/etc/passwd')", "lo_import()"),
    (PG, "select * from dblink('host=a', 'select 1') as t(a int)", "dblink()"),
    (PG, "select * from dblink_exec('x', 'y')", "dblink_exec()"),
    (PG, "select query_to_xml('delete from t', true, true, '')", "query_to_xml()"),
    (PG, "select set_config('transaction_read_only', 'off', false)", "set_config()"),
    (PG, "select nextval('s')", "nextval()"),
    (PG, "select * from crosstab('select 1')", "crosstab()"),
    (PG, "select pg_terminate_backend(1), 1", "pg_terminate_backend()"),
    (PG, "select net.http_get('http://a')", "http_get()"),
    (MY, "select 1 # comment", "#"),
    (MY, "select 1 as a where 'x' = 'a\\' or 1=1 -- '", "backslash"),
    (MY, 'select "a\\" or 1=1"', "backslash"),
    (MY, "select @@version", "variable"),
    (MY, "select @a := 1", "variable"),
    (MY, "select a from t where b = ?", "?"),
    (MY, "select 'a' into @x", "variable"),
    (MY, "select * from t lock in share mode", "LOCK IN SHARE MODE"),
    (MY, "select sleep(9)", "sleep()"),
    (MY, "select `sleep` (9)", "sleep()"),
    (MY, "select Benchmark(1e9, 1)", "benchmark()"),
    (MY, "select load_file('/etc/passwd')", "load_file()"),
    (MY, "select get_lock('a', 1)", "get_lock()"),
    (MY, "select \u017fleep(9)", "ASCII"),
    (MY, "select sys_exec('id')", "sys_exec()"),
]


@pytest.mark.parametrize(("kind", "statement", "word"), REFUSED)
def test_everything_but_one_harmless_select_is_refused(kind: DatabaseKind, statement: str, word: str) -> None:
    """The error names the field and what is wrong with the statement."""
    with pytest.raises(Invalid) as refused:
        parse(kind, statement, field="endpoint_url")
    assert refused.value.field == "endpoint_url"
    assert refused.value.message.startswith("endpoint_url ")
    assert word in refused.value.message


@pytest.mark.parametrize("kind", [PG, MY])
def test_parameters_and_schema_are_of_one_mind(kind: DatabaseKind) -> None:
    """A parameter that the schema lacks is named, so is a property that the statement never uses."""
    schema = {"type": "object", "properties": {"number": {"type": "string"}}}
    check_statement(kind, "select 1 from orders where number = :number", schema)
    with pytest.raises(Invalid, match=r":nummer.*it has number"):
        check_statement(kind, "select 1 from orders where number = :nummer and number = :number", schema)
    with pytest.raises(Invalid, match=r"never uses :number"):
        check_statement(kind, "select 1 from orders where number = ':number'", schema)
    with pytest.raises(Invalid, match=r":a.*it has no properties"):
        check_statement(kind, "select :a", {"type": "object"})


def test_a_statement_has_an_end() -> None:
    """Length and number of parameters are limited, and the error says to what."""
    with pytest.raises(Invalid, match=str(MAX_LENGTH)):
        parse(PG, f"select '{'a' * MAX_LENGTH}'")
    with pytest.raises(Invalid, match="101 parameters"):
        parse(PG, f"select {', '.join(f':p{n}' for n in range(101))}")


@given(st.text(max_size=200))
@example("select '" * 40)
def test_no_text_ends_in_anything_but_a_template_or_an_error(text: str) -> None:
    """Whatever is typed in: a clear answer, and never a semicolon or a comment outside of quotes."""
    for kind in (PG, MY):
        for statement in (text, f"select {text}", f"select 1 from t where a = :a {text}"):
            try:
                template = parse(kind, statement)
            except Invalid:
                continue
            assert template.text.lower().startswith(("select", "with"))


_PIECES = st.sampled_from(
    [*"'\"`\\#;$()\n a1", "select", "--", "/*", "*/", "$$", ":a", "::", "E'", "''"]
)  # fmt: skip


@given(st.lists(_PIECES, max_size=30).map("".join))
def test_what_is_taken_has_no_statement_behind_its_quotes(text: str) -> None:
    """With a plain reader of quotes beside ours: outside of them there is no semicolon, comment or dollar."""
    for kind in (PG, MY):
        try:
            parse(kind, f"select {text}")
        except Invalid:
            continue
        outside, quote, position = "", "", 0
        body = f"select {text}".rstrip().removesuffix(";")
        while position < len(body):
            char = body[position]
            escapes = quote == "'" and kind == PG and re.search(r"(?<![a-z0-9_$])e\Z", outside, re.IGNORECASE)
            if quote and char == "\\" and escapes:
                position += 1
            elif quote and char == quote:
                quote = ""
            elif not quote and char in "'\"`":
                quote = char
            elif not quote:
                outside += char
            position += 1
        assert not quote
        assert not any(mark in outside for mark in (";", "--", "/*", "$"))
