"""The parts that count a turn's round trips and that make a database old. Nothing is timed here."""

import asyncio
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import uvloop
from psycopg.conninfo import conninfo_to_dict
from redis import Redis

from bench import growth, history, round_trips, turns, upstream, wiretap
from bench.history import Shops, Size
from bench.report import OURS, Figure, Row
from bench.rig import Rig
from bench.round_trips import Turn
from bench.servers import free_port, process, split_cores
from bench.turn_cost import Sample, by_turns, crowd
from bench.wiretap import Dialect, Tap, Trip, tapping, trips
from bench.world import frontdesk_world
from server.net.signing import Keyring


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A quick one, whose files are this test's."""
    home, port = tmp_path_factory.mktemp("turns"), free_port()
    command = [sys.executable, "-m", "bench.upstream", str(port)]
    with (
        process("upstream", command, port, cores=split_cores().others, log=home / "upstream.log", environ={}) as model,
        frontdesk_world(home / "data", port) as frontdesk,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        rig = Rig(split_cores(), model, frontdesk, runner, quick=True)
        rig.output = home
        yield rig


@pytest.fixture(scope="module")
def postgres(rig: Rig) -> Iterator[Tap]:
    """A tap before the rig's PostgreSQL."""
    host = str(conninfo_to_dict(rig.frontdesk.environ["DATABASE_URL"])["host"])
    with tapping(postgres=Path(host) / ".s.PGSQL.5432") as taps:
        yield taps["postgres"]


def _connect(tap: Tap, **options: str) -> psycopg.Connection:
    url = f"postgresql://postgres@127.0.0.1:{tap.port}/frontdesk?sslmode=disable"
    return psycopg.connect(url, autocommit=True, **options)  # type: ignore[arg-type]  # libpq's own, all of them text


def _since(tap: Tap, before: int) -> list[Trip]:
    return trips(tap, wiretap.Postgres)[before:]


def test_statements_that_travel_together_are_one_round_trip(postgres: Tap) -> None:
    """One by one they are one each; preparing one is another, and it is still known by its words afterwards."""
    with _connect(postgres) as conn:
        before = len(trips(postgres, wiretap.Postgres))
        for number in range(3):
            conn.execute("select %s::int\n  + 1", [number], prepare=True)
        with conn.pipeline():
            conn.execute("select 1")
            conn.execute("select %s::int\n  + 1", [5], prepare=True)
            conn.execute("select 3")
        conn.execute("select 4; select 5")
    made = _since(postgres, before)
    plus = "select $1::int + 1"
    assert [trip.statements for trip in made] == [
        [f"prepare {plus}"],
        [plus],
        [plus],
        [plus],
        ["select 1", plus, "select 3"],
        ["select 4; select 5"],
    ]
    assert [trip.asks for trip in made[:3]] == [1, 1, 1]
    assert made == sorted(made, key=lambda trip: trip.at)


def test_asking_for_an_answer_within_a_pipeline_is_a_round_trip(postgres: Tap) -> None:
    """What is read before more is sent had to be waited for."""
    with _connect(postgres) as conn:
        before = len(trips(postgres, wiretap.Postgres))
        with conn.pipeline():
            row = conn.execute("select 1").fetchone()
            conn.execute("select 2")
    assert row == (1,)
    assert [trip.statements for trip in _since(postgres, before)] == [["select 1"], ["select 2"]]


def test_a_refused_request_for_tls_is_no_statement(postgres: Tap) -> None:
    """A client that would like to be encrypted, and goes on without."""
    wire = len(postgres.wires)
    url = f"postgresql://postgres@127.0.0.1:{postgres.port}/frontdesk?sslmode=prefer"
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("select 6")
    assert b"user\0" not in postgres.wires[wire][0].data
    assert trips(postgres, wiretap.Postgres)[-1].statements == ["select 6"]


def test_what_is_said_unasked_is_no_round_trip(postgres: Tap) -> None:
    """A notice comes on a connection that listens."""
    with _connect(postgres) as ears, _connect(postgres) as mouth:
        ears.execute("listen bench")
        before = len(trips(postgres, wiretap.Postgres))
        mouth.execute("notify bench, 'x'")
        assert [notice.payload for notice in ears.notifies(timeout=10, stop_after=1)] == ["x"]
        assert [trip.statements for trip in _since(postgres, before)] == [["notify bench, 'x'"]]


def test_redis_is_read_by_commands_and_kinds_of_keys(rig: Rig) -> None:
    """Ids in keys are left out, the commands of a pipeline are one round trip."""
    path = Path(rig.frontdesk.environ["REDIS_URL"].removeprefix("unix://").partition("?")[0])
    with (
        tapping(redis=path) as taps,
        Redis(host="127.0.0.1", port=taps["redis"].port, protocol=2) as redis,
    ):
        redis.ping()
        before = len(trips(taps["redis"], wiretap.Redis))
        redis.set("live:trn_1:1", b"\r\n$5\r\n")
        script = redis.register_script("return redis.call('incr', KEYS[1])")
        script(keys=["rate_limit:1:7"])
        redis.pipeline(transaction=False).publish("c:cnv_1", "x").delete("live:trn_1:1", "rate_limit:1:7").execute()
        made = trips(taps["redis"], wiretap.Redis)[before:]
    assert made[0].statements == ["SET live:"]
    assert ["EVALSHA rate_limit:"] in [trip.statements for trip in made]
    assert made[-1].statements == ["PUBLISH c:", "DEL live:"]
    assert made[-1].asks == 2


_POSTGRES = b"\0\0\0\x08\0\3\0\0" + b"P\0\0\0\x11a\0select 9\0\0\0" + b"B\0\0\0\x07\0a\0" + b"S\0\0\0\4"
_REDIS = b"*2\r\n$3\r\nGET\r\n$5\r\na:b\r\n\r\n" + b"*1\r\n$4\r\nPING\r\n"


@pytest.mark.parametrize(
    ("dialect", "said", "statements"),
    [
        pytest.param(wiretap.Postgres, _POSTGRES, ["prepare select 9", "select 9", None], id="postgres"),
        pytest.param(wiretap.Redis, _REDIS, ["GET a:", "PING"], id="redis"),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 5])
def test_messages_in_pieces(dialect: type[Dialect], said: bytes, statements: list[str | None], size: int) -> None:
    """What the network makes of them changes nothing."""
    whole, pieces = dialect(), dialect()
    found = [each for at in range(0, len(said), size) for each in pieces.read(said[at : at + size])]
    assert found == whole.read(said)
    assert [each.statement for each in found] == statements


def test_a_target_that_is_away(tmp_path: Path) -> None:
    """Whoever connects is hung up on, as by the target itself."""
    with tapping(postgres=tmp_path / "nobody") as taps, pytest.raises(psycopg.OperationalError):
        _connect(taps["postgres"])


def test_round_trips_of_turns(rig: Rig) -> None:
    """Each kind of turn is there; what is written before the model is asked is told from what is written afterwards,
    and nothing of the instance's own jobs is in it."""
    counted = round_trips.count(rig)
    assert [len(counted.plain), len(counted.paused), len(counted.tool)] == [3, 1, 3]
    for turn in (*counted.plain, *counted.paused, *counted.tool):
        before, during, after = turn.phases(turn.postgres)
        assert [*before, *during, *after] == turn.postgres
        assert _writes(before) == _writes(during + after) == 1
        assert all("pg_locks" not in statement for trip in turn.postgres for statement in trip.statements)
        assert any("EVALSHA rate_limit:" in trip.statements for trip in turn.phases(turn.redis)[0])
    assert len(counted.paused[0].postgres) > len(counted.plain[-1].postgres)
    assert any("insert into tool_executions" in words for words in _statements(counted.tool[-1]))
    described = round_trips.describe(counted.plain[-1])
    assert re.search(r"^PostgreSQL, before the model, 1 \(\d x asked for an answer\)$", described, re.MULTILINE)
    rows = turns.trip_rows(counted)
    assert [goal.limit for row in rows for goal in row.goals] == [2, 4]


def _statements(turn: Turn) -> list[str]:
    return [statement for trip in turn.postgres for statement in trip.statements]


def _writes(made: list[Trip]) -> int:
    return sum(statement.startswith("insert into messages") for trip in made for statement in trip.statements)


@pytest.fixture(scope="module")
def shops(rig: Rig) -> Shops:
    """A database for old conversations, empty."""
    environ = rig.frontdesk.environ
    return history.create(environ["DATABASE_URL"], "bench_empty", Keyring((environ["FRONTDESK_SECRET_KEYS"],)))


def test_old_conversations(rig: Rig, shops: Shops, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every row has its parents, every conversation its numbers, every index is back, and whoever was there before can
    come back and is answered. An answer that lost its text ends the run."""
    keyring = Keyring((rig.frontdesk.environ["FRONTDESK_SECRET_KEYS"],))
    cores = os.sched_getaffinity(0)
    old = history.copied(shops, "bench_test")
    indexes = "select indexdef from pg_indexes where schemaname = 'public' order by 1"
    with psycopg.connect(old.url) as conn:
        before = conn.execute(indexes).fetchall()
    history.fill(old, Size(60, 4), keyring, talks=1, cores=cores)
    size = Size(10, 24)
    talks = history.fill(old, size, keyring, talks=4, cores=cores)
    with psycopg.connect(old.url) as conn:
        assert conn.execute(indexes).fetchall() == before
        assert _one(conn, "select count(*), sum(total_messages) from conversations") == (70, 60 * 4 + 10 * 24)
        assert _one(conn, _ODD) == (0,)
        for table, parents in _PARENTS.items():
            assert _one(conn, f"select count(*) from {table} where not ({parents})".encode()) == (0,)
        assert _one(conn, "select count(*) from conversations where summary is not null") == (10,)
        assert _one(conn, _UNCOVERED) == (10, 10)
    with rig.serving(name="old", environ={"DATABASE_URL": old.url}) as server:
        case = growth.Case(server, old, growth.Backends(old.url), size, talks)
        other = growth.Case(server, old, case.backends, size, [])
        samples = [rig.run(crowd([case.old(2, 0)], growth.QUESTIONS, case.meter))]
        sides = [case.old(2, 1), other.new(2)]
        samples += rig.run(by_turns(sides, growth.QUESTIONS, [case.meter, other.meter]))
        case.check()
        monkeypatch.setattr(upstream, "answer", lambda tokens: ["something else"] * tokens)
        with pytest.raises(RuntimeError, match="arrived with"):
            rig.run(crowd([case.new(1)], 1, case.meter))
    assert [len(sample.firsts) for sample in samples] == [8, 8, 8]
    assert all(sample.server > 0 and sample.postgres > 0 for sample in samples)
    with pytest.raises(RuntimeError, match="should have 34 messages"):
        growth.Case(server, old, case.backends, Size(10, 26), talks).check()


def _one(conn: psycopg.Connection, statement: str | bytes) -> tuple[object, ...] | None:
    return conn.execute(statement if isinstance(statement, bytes) else statement.encode()).fetchone()


# Conversations whose messages or events are not numbered as they say.
_ODD = """
select count(*) from conversations c
where (select count(*) from messages m where m.conversation_id = c.id and m.client_id = c.client_id)
      <> c.total_messages
   or (select array_agg(e.seq order by e.seq) from events e where e.conversation_id = c.id)
      <> array(select generate_series(1, c.last_seq))
   or exists (
       select from messages m where m.conversation_id = c.id and not exists (
           select from events e
           where e.conversation_id = c.id and e.seq = m.seq and e.payload #>> '{message,id}' = m.public_id
             and e.payload #>> '{message,text}' = m.content
       )
   )
"""
_UNCOVERED = """
select min(left_over), max(left_over) from (
    select (select count(*) from messages m where m.conversation_id = c.id and m.id > c.summary_through) as left_over
    from conversations c where c.summary is not null
) each
"""
_PARENTS = {
    "messages": "turn_id is null or exists (select from turns t where t.id = turn_id "
    "and t.answer_id = messages.public_id and t.conversation_id = messages.conversation_id "
    "and t.client_id = messages.client_id)",
    "turns": "exists (select from messages m where m.id = message_id and m.client_id = turns.client_id "
    "and m.conversation_id = turns.conversation_id and m.role = 'user')",
    "events": "turn_id is null or exists (select from turns t where t.id = turn_id and t.client_id = events.client_id)",
    "conversations": "exists (select from clients k where k.id = client_id)",
}


def test_too_few_old_conversations(rig: Rig, shops: Shops) -> None:
    """Every visitor comes back to one of their own."""
    keyring = Keyring((rig.frontdesk.environ["FRONTDESK_SECRET_KEYS"],))
    with pytest.raises(ValueError, match="6 conversations are the first client's"):
        history.fill(shops, Size(12, 2), keyring, talks=7, cores=os.sched_getaffinity(0))


def _sample(server: float, postgres: float, firsts: list[float]) -> Sample:
    return Sample(server=server, postgres=postgres, redis=1, per_s=100, firsts=firsts)


def _rounded(row: Row) -> tuple[float, ...]:
    figure = row.figures[OURS]
    return tuple(round(value, 6) for value in (figure.median, figure.least, figure.most))


def test_the_fullest_table_is_held_against_the_emptiest() -> None:
    """Round by round, so that what the machine did meanwhile is in both."""
    rounds = {10: [_sample(60, 40, []), _sample(120, 80, [])], 1_000: [_sample(70, 50, []), _sample(100, 80, [])]}
    held, *cpu = turns.table_rows({"new visitors": rounds})
    assert _rounded(held) == (1.05, 0.9, 1.2)
    assert [goal.limit for goal in held.goals] == [1.1]
    assert [row.figures[OURS].median for row in cpu] == [150, 150]


def test_the_first_token_is_what_is_added() -> None:
    """The model's own is taken off, the median is that of all turns."""
    rounds = [_sample(1, 2, [0.004, 0.005, 0.012]), _sample(3, 4, [0.006, 0.007, 0.008])]
    cpu, added = turns.length_rows({10: rounds}, [0.001, 0.001, 0.5])
    assert cpu.figures[OURS] == Figure(5, 3, 7)
    assert _rounded(added) == (5.5, 4, 6)
    by_length, by_table = turns.curves({10: rounds}, {"new visitors": {10: rounds, 1_000: rounds}})
    assert [point.x for point in by_length.series[OURS]] == [10]
    assert [point.figure.median for point in by_table.series["its PostgreSQL, new visitors"]] == [3, 3]
