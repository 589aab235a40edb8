"""Postgres is stopped at once again and again, and then stays away, while visitors ask on two instances."""

import asyncio

import msgspec

from server.protocol import codec
from server.protocol.visitor import MessageDelta, MessageSend, Nack
from tests.chaos import weather
from tests.chaos.broken import figures
from tests.chaos.checkers import check_everything
from tests.chaos.health import Health, watched
from tests.chaos.load import Habit, Load, closes, frames, heard, load
from tests.chaos.model import question
from tests.chaos.table import Figure, Row, percentile
from tests.chaos.visitor import Sent, Visitor
from tests.chaos.weather import Spell
from tests.chaos.world import World

INSTANCES = 2
HABIT = Habit(tokens=(5, 25), pace_ms=(20, 80), pause_s=(2.0, 5.0))
# Seconds until an instance has noticed that Postgres is gone: what a unit of work waits for a connection, with room.
NOTICED_S = 3.0
# Seconds until an answer that runs has stopped: its lease is extended every 5 s, and that must fail first.
STOPPED_S = 9.0
# Tokens of an answer that runs when Postgres goes, ten a second: it would not end before it has to stop.
LONG = 130
# A nack comes at the latest so long after its message (seconds).
NACK_S = 5.0


class Size(msgspec.Struct, frozen=True):
    """How much: seconds of both parts, turns of the first, visitors, answers that run when Postgres goes for long."""

    storm_s: float
    every_s: tuple[float, float]
    turns: int
    gone_s: float
    visitors: int
    long_answers: int


FULL = Size(300.0, weather.EVERY_S, 5_000, 300.0, 110, 20)
SMALL = Size(5.0, (1.0, 2.0), 0, 11.0, 12, 4)


async def run(world: World) -> list[Figure]:
    size = world.rounds(FULL, SMALL)
    loop = asyncio.get_running_loop()
    async with (
        world.cluster(INSTANCES, own_services=True) as cluster,
        load(cluster, size.visitors, HABIT) as crowd,
        load(cluster, size.long_answers, HABIT) as patient,
        watched(cluster) as health,
    ):
        assert cluster.postgres is not None
        crowd.begin()
        await cluster.postgres.storm(world.rng, until=loop.time() + size.storm_s, every_s=size.every_s)
        await crowd.until(lambda: crowd.asked >= size.turns, within_s=size.storm_s / 5)
        # Answers that Postgres leaves in the middle.
        asked = (each.say(question(f"{each.name}-long", tokens=LONG, pace_ms=100)) for each in patient.visitors)
        long = await asyncio.gather(*asked)
        await asyncio.gather(*(cluster.model.asked(f"{each.name}-long") for each in patient.visitors))
        async with cluster.postgres.away() as gone:
            await asyncio.sleep(size.gone_s)
        unanswered = await crowd.enough(within_s=90)
        await asyncio.gather(*(_ended(each, sent) for each, sent in zip(patient.visitors, long, strict=True)))
        everybody = [*crowd.visitors, *patient.visitors]
        broken = await check_everything(cluster, everybody)
    sents = [*crowd.sents, *long]
    spells = cluster.postgres.spells
    firsts = [first for spell in spells if (first := _first_ack(sents, spell)) is not None]
    waited = [sent.acked_at - gone.ended for sent in sents if _waits(sent, gone) and sent.acked_at is not None]
    again = sum(len(cluster.model.of(f"{each.name}-long")) > 1 for each in patient.visitors)
    return [
        *figures(broken),
        Figure("without an answer at the end", unanswered, goal=0, promise=True),
        Figure("refused for good", sum(sent.refused is not None for sent in sents), goal=0, promise=True),
        *_while_gone(crowd, patient, health, gone),
        Figure("first ack after a return, the slowest", max(firsts, default=0.0), "s", goal=5.0),
        Figure("/readyz is 200 again after", _ready_after(health, gone), "s", goal=5.0),
        Figure("messages that waited, acked after the return, p99", percentile(waited, 99), "s"),
        Figure("spells without Postgres", len(spells)),
        Figure("turns", crowd.asked + len(long)),
        Figure("turns that visibly failed", len(heard(everybody).failed)),
        Figure("long answers that were asked again", again),
    ]


async def _ended(visitor: Visitor, sent: Sent) -> None:
    await visitor.answer(sent, within_s=120)


def _ready_after(health: Health, gone: Spell) -> float:
    """Seconds from the return until every instance says that it is ready, of those that said so."""
    first: dict[str, float] = {}
    for pulse in health.pulses:
        if pulse.at >= gone.ended and pulse.ready == 200:
            first.setdefault(pulse.instance, pulse.at - gone.ended)
    return max(first.values()) if len(first) == INSTANCES else float("inf")


def _waits(sent: Sent, spell: Spell) -> bool:
    """Whether the message was on its way when Postgres came back."""
    return sent.sent_at < spell.ended and (sent.acked_at is None or sent.acked_at >= spell.ended)


def _first_ack(sents: list[Sent], spell: Spell) -> float | None:
    """Seconds from the return to the first ack of what waited for it; None where nothing did."""
    waiting = [sent.acked_at for sent in sents if _waits(sent, spell) and sent.acked_at is not None]
    return min(waiting) - spell.ended if waiting else None


def _while_gone(crowd: Load, patient: Load, health: Health, gone: Spell) -> list[Figure]:
    """How instances behave in the long spell, once they have noticed it."""
    since, until = gone.began + NOTICED_S, gone.ended
    everybody = [*crowd.visitors, *patient.visitors]
    said = heard(everybody, since, until)
    pulses = health.between(since, until - NOTICED_S)
    late = [
        at for at, frame in frames(patient.visitors, gone.began + STOPPED_S, until) if isinstance(frame, MessageDelta)
    ]
    return [
        Figure("acks while it is gone", said.acks, goal=0, promise=True),
        Figure("nacks while it is gone", len(said.nacks), goal=1, least=True, promise=True),
        Figure(
            "of these without retry_after_ms",
            sum(each.retry_after_ms is None for each in said.nacks),
            goal=0,
            promise=True,
        ),
        Figure("messages that got no nack meanwhile", _ignored(everybody, since, until - NACK_S), goal=0, promise=True),
        Figure("sockets closed meanwhile", len(closes(everybody, since, until)), goal=0, promise=True),
        Figure("turns failed meanwhile", len(said.failed), goal=0, promise=True),
        Figure("/healthz not 200 meanwhile", sum(each.alive != 200 for each in pulses), goal=0, promise=True),
        Figure("/readyz not 503 meanwhile", sum(each.ready != 503 for each in pulses), goal=0, promise=True),
        Figure("looks at them", len(pulses), goal=2, least=True, promise=True),
        Figure(f"words shown later than {STOPPED_S:.0f} s into it", len(late), goal=0),
    ]


def _ignored(visitors: list[Visitor], since: float, until: float) -> int:
    """How many messages sent in that time were not nacked within NACK_S."""
    ignored = 0
    for visitor in visitors:
        open_: dict[str, float] = {}
        for line in visitor.recording.lines:
            if line.what == "sent" and since <= line.at < until:
                frame = codec.decode_from_visitor(line.raw.decode())
                if isinstance(frame, MessageSend):
                    open_[frame.cid] = line.at
            elif line.what == "got" and isinstance(nack := codec.decode_to_visitor(line.raw), Nack):
                ignored += line.at - open_.pop(nack.cid, line.at) > NACK_S
        ignored += len(open_)
    return ignored


POSTGRES = Row(
    name="postgres",
    what="Postgres stopped at once every 5 to 40 s under 5,000 turns, then gone for 5 minutes",
    goal="0 lost after ack, 0 doubled; first ack <= 5 s after return",
    run=run,
)
