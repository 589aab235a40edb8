"""What a turn costs besides its tokens, and whether that grows: round trips, turns a second, old conversations, full
tables.

- Round trips: `round_trips` says how they are counted. A turn's own are those from the question until nothing is said
  any more. "After a pause": the client's row and its tools are kept for three seconds, and then read anew.
- Turns a second: 20 visitors at once, whose answers are one token that the model gives at once. CPU is that of the
  server's process, of all of PostgreSQL's and of Redis', over the turns; opening sockets is not part of it. They are
  one client's, whose turns of a day are counted in one row: a commit of one waits for that of another.
- Old conversations: visitors come back to conversations of 10, 100 and 1,000 messages, one question at a time, four
  each; the first of the four finds nothing in Redis. A conversation of more than 20 messages has its summary. CPU of
  the server's process and of its database's connections. The first token is what it takes beyond the upstream's own.
- Full tables: the same visitors, and as many new ones, on databases of the same PostgreSQL that hold 10^4, 10^5 and
  10^6 messages with their turns and events (`history`); a server for each, and one question to each in turn, so that
  what the machine does meanwhile hits all of them. The ratio is that of each round.
"""

from collections.abc import Callable, Sequence
from statistics import median

import msgspec

from bench import round_trips
from bench.growth import Growth
from bench.report import OURS, Curve, Figure, Goal, Point, Row, Section
from bench.rig import Rig
from bench.round_trips import Counted, Turn
from bench.speakers import FrontdeskSite
from bench.turn_cost import Meter, Sample, crowd
from bench.wiretap import Trip

_LANES = 20
# Questions of one visitor in the crowd: below a minute's limit, and below the length that is summarised.
_CROWD_QUESTIONS = 8


class Plan(msgspec.Struct, frozen=True):
    """How much is measured. `crowd`: visitors one after the other in each lane. `visitors`: of each case in a round."""

    crowd: int
    visitors: int
    lengths: tuple[int, ...]
    tables: tuple[int, ...]


WHOLE = Plan(crowd=3, visitors=8, lengths=(10, 100, 1_000), tables=(10_000, 100_000, 1_000_000))
QUICK = Plan(crowd=2, visitors=3, lengths=(10, 100), tables=(1_000, 10_000))


def section(rig: Rig) -> Section:
    """Raises RuntimeError when an answer is not word for word what the model said, or was not kept."""
    plan = QUICK if rig.quick else WHOLE
    rig.say("turns: round trips")
    counted = round_trips.count(rig)
    statements = rig.output / "turn-statements.txt"
    statements.write_text(_statements(counted))
    crowds = _crowds(rig, plan)
    growth = Growth(rig, plan.visitors)
    lengths, own = growth.of_lengths(plan.lengths)
    tables = growth.of_tables(plan.tables)
    rows = [*trip_rows(counted), *crowd_rows(crowds), *length_rows(lengths, own), *table_rows(tables)]
    return Section("A turn", rows, curves(lengths, tables), _notes(counted))


# --- turns a second


def _crowds(rig: Rig, plan: Plan) -> list[Sample]:
    found: list[Sample] = []
    with rig.serving(name="frontdesk-turns") as server:
        site = FrontdeskSite(server, rig.frontdesk.public_key)
        meter = Meter(server.cpu_s, rig.frontdesk.postgres.cpu_s, rig.frontdesk.redis.cpu_s)
        for number in range(-1, rig.rounds):  # the first one warms
            rig.say(f"turns: {_LANES} visitors at once, round {number + 1} of {rig.rounds}")
            lanes = [[site] * plan.crowd for _ in range(_LANES)]
            sample = rig.run(crowd(lanes, _CROWD_QUESTIONS, meter))
            if number >= 0:
                found.append(sample)
    return found


# --- the table


def _of(samples: Sequence[Sample], value: Callable[[Sample], float]) -> Figure:
    return Figure.of([value(sample) for sample in samples])


def _ours(name: str, unit: str, figure: Figure, *goals: Goal, decimals: int = 0) -> Row:
    return Row(name, unit, {OURS: figure}, goals, decimals)


def _trips(turns: Sequence[Turn], value: Callable[[Turn], int]) -> Figure:
    return Figure.of([value(turn) for turn in turns])


def trip_rows(counted: Counted) -> list[Row]:
    """Of each kind of turn."""

    def before(turn: Turn) -> int:
        return len(turn.phases(turn.postgres)[0])

    def postgres(turn: Turn) -> int:
        return len(turn.postgres)

    def redis(turn: Turn) -> int:
        return len(turn.redis)

    unit = "round trips"
    return [
        _ours("PostgreSQL before the model is called", unit, _trips(counted.plain, before), Goal(2)),
        _ours("PostgreSQL, a turn without tools", unit, _trips(counted.plain, postgres), Goal(4)),
        _ours("PostgreSQL before the model is called, after a pause", unit, _trips(counted.paused, before)),
        _ours("PostgreSQL, a turn without tools, after a pause", unit, _trips(counted.paused, postgres)),
        _ours("PostgreSQL, a turn with one tool", unit, _trips(counted.tool, postgres)),
        _ours("Redis, a turn without tools", unit, _trips(counted.plain, redis)),
        _ours("Redis, a turn with one tool", unit, _trips(counted.tool, redis)),
    ]


def _notes(counted: Counted) -> list[str]:
    """What a round trip was made of."""

    def asks(turn: Turn) -> int:
        return sum(trip.asks for trip in turn.postgres)

    def phases(turns: Sequence[Turn], made: Callable[[Turn], list[Trip]]) -> str:
        parts = zip(*(map(len, turn.phases(made(turn))) for turn in turns), strict=True)
        return " + ".join(f"{median(part):g}" for part in parts)

    plain, tool = counted.plain, counted.tool
    return [
        "Round trips before + during + after the model's answer: PostgreSQL "
        f"{phases(plain, lambda turn: turn.postgres)}, with one tool {phases(tool, lambda turn: turn.postgres)}; Redis "
        f"{phases(plain, lambda turn: turn.redis)}, with one tool {phases(tool, lambda turn: turn.redis)}.",
        f"A turn without tools sends {median(map(asks, plain)):g} Sync, Flush and Query messages to PostgreSQL: a unit "
        "of work ends with a Sync and a Flush in one burst, and is answered once.",
        "After 3 s without a question of its client, a turn reads the client's row and its tools anew; the prices of "
        "models once in 60 s. The statements of one turn each are written to `bench/output/turn-statements.txt`.",
    ]


def _statements(counted: Counted) -> str:
    kinds = {"without tools": counted.plain, "without tools, after a pause": counted.paused, "one tool": counted.tool}
    return "\n\n".join(f"A turn {kind}\n\n{round_trips.describe(turns[-1])}" for kind, turns in kinds.items()) + "\n"


def crowd_rows(samples: list[Sample]) -> list[Row]:
    """Of a sample of each round."""
    many = f"{_LANES} visitors at once"
    return [
        _ours(f"turns a second of one core, {many}", "1/s", _of(samples, lambda sample: sample.per_s)),
        _ours(f"CPU a turn, {many}", "us", _of(samples, lambda sample: sample.server)),
        _ours("of PostgreSQL besides, a turn", "us", _of(samples, lambda sample: sample.postgres)),
        _ours("of Redis besides, a turn", "us", _of(samples, lambda sample: sample.redis)),
    ]


def length_rows(lengths: dict[int, list[Sample]], own: list[float]) -> list[Row]:
    """By the messages of the conversation; `own` are the seconds to the first tokens of the model alone."""
    rows: list[Row] = []
    for messages, samples in lengths.items():
        cpu = _of(samples, lambda sample: sample.whole)
        rows.append(_ours(f"CPU a turn of server and PostgreSQL, after {messages:,} messages", "us", cpu))
    for messages, samples in lengths.items():
        rounds = [[(first - median(own)) * 1e3 for first in sample.firsts] for sample in samples]
        added = Figure.over([median(each) for each in rounds], median([first for each in rounds for first in each]))
        rows.append(_ours(f"added to the first token, after {messages:,} messages, p50", "ms", added, decimals=1))
    return rows


def table_rows(tables: dict[str, dict[int, list[Sample]]]) -> list[Row]:
    """For either kind of visitors, by the messages of the table. The fullest is held against the emptiest."""
    rows: list[Row] = []
    for kind, samples in tables.items():
        least, most = min(samples), max(samples)
        ratios = [large.whole / small.whole for small, large in zip(samples[least], samples[most], strict=True)]
        name = f"cost of a turn with {most:,} messages in the table over {least:,}, {kind}"
        rows.append(_ours(name, "x", Figure.of(ratios), Goal(1.1), decimals=2))
    for kind, samples in tables.items():
        for messages, rounds in samples.items():
            name = f"CPU a turn of server and PostgreSQL, {messages:,} messages in the table, {kind}"
            rows.append(_ours(name, "us", _of(rounds, lambda sample: sample.whole)))
    return rows


def curves(lengths: dict[int, list[Sample]], tables: dict[str, dict[int, list[Sample]]]) -> list[Curve]:
    """Over the messages of a conversation, and of the table."""

    def points(samples: dict[int, list[Sample]], value: Callable[[Sample], float]) -> list[Point]:
        return [Point(messages, _of(rounds, value)) for messages, rounds in samples.items()]

    parts: dict[str, Callable[[Sample], float]] = {
        OURS: lambda sample: sample.server,
        "its PostgreSQL": lambda sample: sample.postgres,
    }
    by_length = {part: points(lengths, value) for part, value in parts.items()}
    by_table = {f"{part}, {kind}": points(of, value) for kind, of in tables.items() for part, value in parts.items()}
    y = "CPU a turn, us"
    return [
        Curve("turn-history", "A turn after so many messages of its conversation", "messages before it", y, by_length),
        Curve("turn-table", "A turn with so many messages in the table", "messages in the table", y, by_table),
    ]
