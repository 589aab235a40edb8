"""The fixtures every other test stands on: databases and Redis that no other test sees."""

import psycopg
import pytest
import redis

from tests.services import with_database


@pytest.mark.parametrize("_round", [1, 2])
def test_every_test_has_a_database_of_its_own(database_url: str, _round: int) -> None:
    """It is migrated and has none of the rows that the other round committed."""
    with psycopg.connect(database_url) as connection:
        assert connection.execute("select count(*) from clients").fetchone() == (0,)
        connection.execute("create table mine (a int)")


def test_an_empty_database_has_no_tables(empty_database_url: str) -> None:
    """Tests of the migrations start from nothing."""
    with psycopg.connect(empty_database_url) as connection:
        row = connection.execute("select count(*) from pg_tables where schemaname = 'public'").fetchone()
    assert row == (0,)


@pytest.mark.parametrize("_round", [1, 2])
def test_every_test_has_an_empty_redis(redis_url: str, _round: int) -> None:
    """Nothing of the other round is there."""
    with redis.Redis.from_url(redis_url) as connection:
        assert connection.dbsize() == 0
        connection.set("mine", "1")


def test_a_database_is_named_in_a_url() -> None:
    """Only the name changes; the socket and the port stay."""
    assert with_database("postgresql://p@/a?host=/s&port=1", "b") == "postgresql://p@/b?host=/s&port=1"
