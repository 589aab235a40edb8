"""The rig's weather does what rows count on: services that go and come back, and a wire that is cut around a COMMIT."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from random import Random

import psycopg
import pytest
import redis.asyncio
from redis.exceptions import RedisError

from server.errors import Unavailable
from server.repositories.pool import open_pool, reading, unit_of_work
from tests.chaos import weather
from tests.chaos.commit_cutter import WEIGHTS, CommitCutter, Cut, Messages, cutting

NOTE = "insert into plans (name, monthly_messages, requests_per_minute) values ('cut', null, 1)"


@pytest.fixture
def place() -> Iterator[Path]:
    """A short path that PostgreSQL's own user may enter."""
    with tempfile.TemporaryDirectory(prefix="frontdesk-weather-") as name:
        Path(name).chmod(0o711)
        yield Path(name)


@pytest.fixture
async def postgres(place: Path) -> AsyncIterator[weather.Service]:
    async with weather.postgres(place / "postgres") as service:
        yield service


async def committed(database_url: str) -> int:
    """How often the note is there."""
    async with await psycopg.AsyncConnection.connect(database_url) as conn:
        cursor = await conn.execute("select count(*) from plans where name = 'cut'")
        row = await cursor.fetchone()
    return row[0] if row else 0


async def test_postgres_keeps_what_it_committed(postgres: weather.Service) -> None:
    """Stopped at once, it comes back at the same address with every commit; in between nobody is there."""
    url = postgres.url
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as conn:
        await conn.execute("create table kept (id int)")
        await conn.execute("insert into kept values (1)")
        async with postgres.away() as spell:
            assert spell.ended == float("inf")
            with pytest.raises(psycopg.OperationalError):
                await conn.execute("select 1")
            with pytest.raises(psycopg.OperationalError):
                await psycopg.AsyncConnection.connect(url)
    assert postgres.url == url and spell.began < spell.ended < float("inf")
    async with await psycopg.AsyncConnection.connect(url) as conn:
        cursor = await conn.execute("select id from kept")
        assert await cursor.fetchall() == [(1,)]


async def test_a_frozen_postgres_says_nothing(postgres: weather.Service) -> None:
    """Its connections stay; the question is answered when it thaws, and not before."""
    async with await psycopg.AsyncConnection.connect(postgres.url, autocommit=True) as conn:
        postgres.freeze()
        asked = asyncio.create_task(conn.execute("select 1"))
        done, _ = await asyncio.wait([asked], timeout=0.3)
        postgres.thaw()
        assert not done
        async with asyncio.timeout(10):
            assert await (await asked).fetchone() == (1,)
    [spell] = postgres.spells
    assert spell.kind == "frozen" and spell.ended - spell.began >= 0.3


async def test_redis_forgets(place: Path) -> None:
    """Killed, it comes back at the same address and empty."""
    async with weather.redis(place / "redis") as service, redis.asyncio.Redis.from_url(service.url) as client:
        await client.set("key", "value")
        async with service.away():
            with pytest.raises(RedisError):
                await client.ping()
        assert await client.get("key") is None


async def test_a_storm_comes_and_goes(place: Path) -> None:
    """It restarts the service several times, leaves it running, and a seed repeats its order."""
    kinds = []
    for number in range(2):
        async with weather.redis(place / f"redis{number}") as service:
            until = asyncio.get_running_loop().time() + 2.0
            await service.storm(Random(5), until=until, every_s=(0.01, 0.05), down_s=0.02)
            async with redis.asyncio.Redis.from_url(service.url) as client:
                assert await client.ping()
            assert len(service.spells) >= 4 and all(spell.ended < float("inf") for spell in service.spells)
            kinds.append([spell.kind for spell in service.spells[:4]])
    assert kinds[0] == kinds[1]


@pytest.mark.parametrize("kind", WEIGHTS)
async def test_a_cut_commit(kind: Cut, database_url: str, place: Path) -> None:
    """Whoever committed in a pipeline cannot know; what became of it is what the kind of the cut says."""
    cutter = CommitCutter(Random(1), share=1.0, weights={kind: 1})
    async with cutting(database_url, place, cutter) as url:
        pool = await open_pool(url, max_size=1, application_name="test")
        try:
            with pytest.raises(Unavailable):
                async with unit_of_work(pool) as conn:
                    await conn.execute(NOTE)
            assert cutter.cuts[kind] == 1 and cutter.commits == 1
            cutter.share = 0.0
            async with reading(pool) as conn:
                await conn.execute("select 1")
        finally:
            await pool.close()
    count = await settled(database_url)
    assert count == (0 if kind == "before" else 1) or kind == "both"


async def settled(database_url: str) -> int:
    """The count, once nobody is in the middle of a transaction that could still change it."""
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as conn, asyncio.timeout(10):
        while True:
            cursor = await conn.execute(
                "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
            )
            if await cursor.fetchone() == (0,):
                return await committed(database_url)


async def test_a_prepared_commit_is_seen(database_url: str, place: Path) -> None:
    """After some uses psycopg prepares its COMMIT: its name alone goes over the wire then."""
    cutter = CommitCutter(Random(1), share=0.0)
    async with cutting(database_url, place, cutter) as url:
        pool = await open_pool(url, max_size=1, application_name="test")
        try:
            for _ in range(12):
                async with unit_of_work(pool) as conn:
                    await conn.execute("select 1")
            async with reading(pool) as conn:
                await conn.execute("begin")
                await conn.execute("commit")
        finally:
            await pool.close()
    assert cutter.commits == 13 and cutter.after == 0


def test_messages_in_pieces() -> None:
    """However a stream is cut, the messages are the same."""
    stream = b"\0\0\0\x08\0\x03\0\0" + b"Q\0\0\0\x0bcommit\0" + b"S\0\0\0\x04"
    whole = [*Messages(startup=True).feed(stream)]
    assert [kind for kind, _ in whole] == [b"", b"Q", b"S"] and b"".join(message for _, message in whole) == stream
    for size in range(1, len(stream)):
        parser = Messages(startup=True)
        pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
        assert [message for piece in pieces for message in parser.feed(piece)] == whole
