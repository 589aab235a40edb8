"""The schema: up, all the way down, up again, from many sides at once, and what it promises."""

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from server import errors
from server.assets import migrations_path
from server.repositories import migrations

# What yoyo keeps for itself in the database; they stay when everything of ours is gone.
YOYO = {"_yoyo_log", "_yoyo_migration", "_yoyo_version", "yoyo_lock"}


def _names() -> list[str]:
    return sorted(path.stem for path in migrations_path().glob("*.sql") if ".rollback" not in path.name)


def _left(database_url: str) -> set[str]:
    """Tables, indexes, sequences, types, functions and extensions, but for yoyo's tables and what belongs to them."""
    with psycopg.connect(database_url) as conn:
        rows = conn.execute(
            """
            select relname from pg_class where relnamespace = 'public'::regnamespace
            union select typname from pg_type where typnamespace = 'public'::regnamespace
            union select proname from pg_proc where pronamespace = 'public'::regnamespace
            union select extname from pg_extension where extname <> 'plpgsql'
            """
        ).fetchall()
    return {name for (name,) in rows if not any(table in name for table in YOYO)}


def _shape(database_url: str) -> list[str]:
    """Columns, constraints and indexes, as text."""
    with psycopg.connect(database_url) as conn:
        rows = conn.execute(
            """
            select format('%s.%s %s %s %s', table_name, column_name, data_type, is_nullable, column_default)
            from information_schema.columns where table_schema = 'public'
            union all
            select conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid) from pg_constraint
            where connamespace = 'public'::regnamespace
            union all
            select indexdef from pg_indexes where schemaname = 'public'
            order by 1
            """
        ).fetchall()
    return [line for (line,) in rows]


def test_up_down_and_up_again(empty_database_url: str) -> None:
    """Everything is applied in order, everything is undone but yoyo's own tables, and the second time is the same."""
    assert migrations.upgrade(empty_database_url) == _names()
    first = _shape(empty_database_url)
    assert migrations.upgrade(empty_database_url) == []
    assert migrations.downgrade(empty_database_url, all=True) == _names()[::-1]
    assert _left(empty_database_url) == set()
    assert migrations.downgrade(empty_database_url, all=True) == []
    assert migrations.upgrade(empty_database_url) == _names()
    assert _shape(empty_database_url) == first


def test_every_single_step_can_be_undone(empty_database_url: str) -> None:
    """Down one by one, each rollback undoes something; from any depth the way up leads to the same schema."""
    migrations.upgrade(empty_database_url)
    whole = _shape(empty_database_url)
    for depth, name in enumerate(reversed(_names())):
        before = _shape(empty_database_url)
        assert migrations.downgrade(empty_database_url) == [name]
        assert _shape(empty_database_url) != before
        if depth in (0, 9, 16):
            assert migrations.upgrade(empty_database_url) == _names()[len(_names()) - depth - 1 :]
            assert _shape(empty_database_url) == whole
            for _ in range(depth + 1):
                migrations.downgrade(empty_database_url)
    assert _left(empty_database_url) == set()


def test_status(empty_database_url: str) -> None:
    """Before, between and after; asking writes nothing."""
    assert [(row.name, row.applied_at) for row in migrations.status(empty_database_url)] == [
        (name, None) for name in _names()
    ]
    with psycopg.connect(empty_database_url) as conn:
        assert conn.execute("select from pg_class where relname like '%yoyo%'").fetchall() == []
    started = datetime.now(UTC)
    migrations.upgrade(empty_database_url)
    migrations.downgrade(empty_database_url)
    *applied, last = migrations.status(empty_database_url)
    assert last.applied_at is None
    for row in applied:
        assert row.applied_at is not None
        assert abs((row.applied_at - started).total_seconds()) < 60


def test_instances_that_start_at_once(empty_database_url: str) -> None:
    """Four upgrades at the same moment: each migration is applied by exactly one, and nobody fails."""
    with ThreadPoolExecutor(4) as threads:
        done = [task.result() for task in [threads.submit(migrations.upgrade, empty_database_url) for _ in range(4)]]
    assert sorted(name for names in done for name in names) == _names()


def test_a_killed_migration_blocks_nobody(empty_database_url: str) -> None:
    """yoyo's lock row of a process that died is not waited for."""
    migrations.upgrade(empty_database_url)
    migrations.downgrade(empty_database_url)
    with psycopg.connect(empty_database_url, autocommit=True) as conn:
        conn.execute("insert into yoyo_lock (locked, ctime, pid) values (1, now(), 1)")
    assert migrations.upgrade(empty_database_url) == _names()[-1:]


def test_a_migration_that_fails_leaves_nothing_half_done(empty_database_url: str) -> None:
    """A table in the way: the error surfaces, what came before stays applied, and afterwards it goes on."""
    with psycopg.connect(empty_database_url, autocommit=True) as conn:
        conn.execute("create table messages (id int)")
    with pytest.raises(psycopg.errors.DuplicateTable):
        migrations.upgrade(empty_database_url)
    todo = [row.name for row in migrations.status(empty_database_url) if row.applied_at is None]
    assert todo[0].endswith(".messages")
    with psycopg.connect(empty_database_url, autocommit=True) as conn:
        conn.execute("drop table messages")
    assert migrations.upgrade(empty_database_url) == todo


def test_no_server_is_unavailable() -> None:
    """Postgres not there is said as such."""
    with pytest.raises(errors.Unavailable):
        migrations.upgrade("postgresql:///x?host=/nowhere")


def test_a_role_that_may_not_create_extensions(admin: psycopg.Connection, empty_database_url: str) -> None:
    """Without pgvector the schema is whole but for the embeddings, and goes down and up again."""
    name = empty_database_url.rpartition("/test_")[2].partition("?")[0]
    role = f"plain_{name}"
    admin.execute(sql.SQL("create role {} login").format(sql.Identifier(role)))
    try:
        with psycopg.connect(empty_database_url, autocommit=True) as conn:
            conn.execute(sql.SQL("grant all on schema public to {}").format(sql.Identifier(role)))
        url = re.sub(r"^postgresql://[^/]*@", f"postgresql://{role}@", empty_database_url)
        assert migrations.upgrade(url) == _names()
        with psycopg.connect(url) as conn:
            columns = conn.execute(
                "select column_name from information_schema.columns where table_name = 'knowledge_chunks'"
            ).fetchall()
            assert ("search",) in columns and ("embedding",) not in columns
        migrations.downgrade(url, all=True)
        assert migrations.upgrade(url) == _names()
        migrations.downgrade(url, all=True)
        with psycopg.connect(empty_database_url, autocommit=True) as conn:
            conn.execute(sql.SQL("drop owned by {}").format(sql.Identifier(role)))
    finally:
        admin.execute(sql.SQL("drop role if exists {}").format(sql.Identifier(role)))


def test_an_extension_of_somebody_else_stays(empty_database_url: str) -> None:
    """pgvector that was there before is used, and not dropped on the way down."""
    with psycopg.connect(empty_database_url, autocommit=True) as conn:
        conn.execute("create extension vector")
    migrations.upgrade(empty_database_url)
    migrations.downgrade(empty_database_url, all=True)
    with psycopg.connect(empty_database_url) as conn:
        assert conn.execute("select extname from pg_extension where extname = 'vector'").fetchone() is not None


def test_every_foreign_key_has_an_index(database_url: str) -> None:
    """Deleting a parent looks its children up by index. client_id adds nothing beside the parent's own id."""
    with psycopg.connect(database_url) as conn:
        keys = conn.execute(
            """
            select c.conname, c.conrelid::regclass::text, array(
                select a.attname from unnest(c.conkey) k join pg_attribute a on a.attrelid = c.conrelid and a.attnum = k
            ) from pg_constraint c where c.contype = 'f' and c.connamespace = 'public'::regnamespace
            """
        ).fetchall()
        indexes = conn.execute(
            """
            select x.indrelid::regclass::text, array(
                select a.attname from unnest(x.indkey) with ordinality k (attnum, n)
                join pg_attribute a on a.attrelid = x.indrelid and a.attnum = k.attnum order by n
            ) from pg_index x
            """
        ).fetchall()
    assert len(keys) > 25
    for name, table, columns in keys:
        wanted = set(columns) - {"client_id"} or {"client_id"}
        leading = [set(index[: len(wanted)]) for of, index in indexes if of == table]
        with_client = [set(index[: len(columns)]) for of, index in indexes if of == table]
        assert wanted in leading or set(columns) in with_client, name


def test_foreign_keys_between_clients_rows_carry_the_client(database_url: str) -> None:
    """Where both tables have a client_id the key names it, but for operators, who may belong to no client."""
    with psycopg.connect(database_url) as conn:
        keys = conn.execute(
            """
            select c.conname, c.confrelid::regclass::text, array(
                select a.attname from unnest(c.conkey) k join pg_attribute a on a.attrelid = c.conrelid and a.attnum = k
            )
            from pg_constraint c
            where c.contype = 'f' and c.connamespace = 'public'::regnamespace
              and exists (select from pg_attribute a where a.attrelid = c.conrelid and a.attname = 'client_id')
              and exists (select from pg_attribute a where a.attrelid = c.confrelid and a.attname = 'client_id')
            """
        ).fetchall()
    assert len(keys) > 12
    assert {name for name, parent, columns in keys if "client_id" not in columns and parent != "operators"} == set()


def test_types(database_url: str) -> None:
    """Times carry their zone, money is numeric(20,10), JSON is jsonb but for the bytes of events, keys are bigint."""
    with psycopg.connect(database_url) as conn:
        columns = conn.execute(
            """
            select table_name, column_name, data_type, numeric_precision, numeric_scale, is_identity
            from information_schema.columns
            where table_schema = 'public' and table_name !~ 'yoyo'
            """
        ).fetchall()
    types = {(table, column): kind for table, column, kind, *_ in columns}
    assert "timestamp without time zone" not in types.values()
    assert {"real", "double precision", "money"}.isdisjoint(types.values())
    assert [key for key, kind in types.items() if kind == "json"] == [("events", "payload")]
    assert {(p, s) for _, _, kind, p, s, _ in columns if kind == "numeric"} == {(20, 10)}
    identities = {table: (kind, identity) for table, column, kind, _, _, identity in columns if column == "id"}
    assert set(identities.values()) == {("bigint", "YES")}
    assert {table for table, _ in types} - set(identities) == {"events"}


def test_every_migration_has_a_rollback_and_says_what_it_follows() -> None:
    """A chain of plain SQL files, one change each, numbered without gaps."""
    names = _names()
    assert [int(name[:4]) for name in names] == list(range(1, len(names) + 1))
    for before, name in zip([None, *names], names, strict=False):
        text = (migrations_path() / f"{name}.sql").read_text()
        assert re.findall(r"^-- depends: (.*)$", text, re.M) == ([] if before is None else [before])
        assert Path(migrations_path() / f"{name}.rollback.sql").read_text().strip()
