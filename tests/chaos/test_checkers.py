"""The checkers find what they are there for: recordings and databases with something wrong in them, one each."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import msgspec
import pytest

from server.protocol import VERSION, codec
from server.protocol.base import Frame
from server.protocol.parts import Limits, LiveAnswer, Message
from server.protocol.visitor import (
    Ack,
    Hello,
    MessageCompleted,
    MessageCreated,
    MessageDelta,
    MessageSend,
    Nack,
    SessionProof,
    Snapshot,
    TurnFailed,
    TurnReset,
    TurnStarted,
    Welcome,
)
from server.repositories.pool import reading
from tests.chaos.broken import Promise, wrong_text
from tests.chaos.checkers import check_database, check_effects, check_everything, check_view
from tests.chaos.cluster import Cluster
from tests.chaos.model import answer, question
from tests.chaos.recordings import check_recording
from tests.chaos.test_chaos import place, world
from tests.chaos.visitor import Line, Recording, Visitor, visiting
from tests.chaos.world import World

__all__ = ["place", "world"]

AT = datetime(2026, 11, 1, tzinfo=UTC)
LIMITS = Limits(message_characters=5000, frame_bytes=65536)


class Tape:
    """Makes a recording, frame by frame."""

    def __init__(self) -> None:
        self.recording = Recording("visitor", [])

    def sent(self, *frames: Frame) -> "Tape":
        self.recording.lines += [Line(0.0, "sent", codec.encode(frame)) for frame in frames]
        return self

    def got(self, *frames: Frame) -> "Tape":
        self.recording.lines += [Line(0.0, "got", codec.encode(frame)) for frame in frames]
        return self

    def opened(self, *, last_seq: int | None = None, resumed: bool = False, head: int = 0) -> "Tape":
        """A connection, its hello and welcome; a snapshot of nothing where there is nothing yet."""
        self.recording.lines.append(Line(0.0, "opened"))
        proof = SessionProof(id="ses_1", token="st_1")
        self.sent(Hello(v=VERSION, key="pk_1", session=proof, epoch="e", last_seq=last_seq))
        self.got(
            Welcome(
                v=VERSION,
                session=proof,
                conversation_id="cnv_1",
                epoch="e",
                head_seq=head,
                resumed=resumed,
                pending={},
                heartbeat_s=25,
                limits=LIMITS,
            )
        )
        return self if resumed else self.got(Snapshot(up_to_seq=0, owner="ai", messages=[]))

    def broken(self) -> set[Promise]:
        return {each.promise for each in check_recording(self.recording)}


def say(number: int, tokens: int = 3) -> MessageSend:
    return MessageSend(cid=f"c{number}", text=question(f"m{number}", tokens=tokens))


def created(seq: int, number: int) -> MessageCreated:
    text = question(f"m{number}", tokens=3)
    return MessageCreated(
        seq=seq, message=Message(id=f"msg_{number}", role="user", text=text, created_at=AT, cid=f"c{number}")
    )


def ack(number: int, seq: int) -> Ack:
    return Ack(cid=f"c{number}", message_id=f"msg_{number}", seq=seq)


def started(seq: int, number: int) -> TurnStarted:
    return TurnStarted(seq=seq, turn_id=f"trn_{number}", message_id=f"ans_{number}", gen=1)


def delta(n: int, text: str, *, gen: int = 1) -> MessageDelta:
    return MessageDelta(turn_id="trn_1", message_id="ans_1", gen=gen, n=n, text=text)


def completed(seq: int, number: int, text: str | None = None) -> MessageCompleted:
    text = answer(f"m{number}", 1, 3) if text is None else text
    message = Message(id=f"ans_{number}", role="assistant", text=text, created_at=AT)
    return MessageCompleted(seq=seq, turn_id=f"trn_{number}", message=message)


def asked() -> Tape:
    """One question, acknowledged, its turn begun."""
    return Tape().opened().sent(say(1)).got(created(1, 1), started(2, 1), ack(1, 1))


def streamed(*texts: str) -> Tape:
    """An answer as it came, and its end."""
    return asked().got(*(delta(n, text) for n, text in enumerate(texts, 1)), completed(3, 1))


def stored(seq: int, number: int) -> MessageCreated:
    """The message of a question, without its cid."""
    frame = created(seq, number)
    return MessageCreated(seq=seq, message=msgspec.structs.replace(frame.message, cid=None))


def test_a_clean_recording_has_nothing_broken() -> None:
    """With a cut, a resume, a takeover in sight, a failure and a snapshot: all of it is as the protocol has it."""
    tape = asked().got(delta(1, "m1:1:0 "), delta(2, "m1:1:1 "))
    tape.opened(last_seq=2, resumed=True, head=2)
    tape.got(TurnReset(turn_id="trn_1", gen=2), delta(1, "m1:2:0 m1:2:1 ", gen=2))
    tape.got(completed(3, 1, answer("m1", 2, 3)))
    tape.sent(say(2)).got(created(4, 2), started(5, 2), ack(2, 4))
    tape.got(TurnFailed(seq=6, turn_id="trn_2", code="attempts", message="Sorry", retryable=True))
    tape.opened()
    assert tape.broken() == set()


@pytest.mark.parametrize(
    ("tape", "promise"),
    [
        pytest.param(lambda: Tape().opened().sent(say(1)).got(ack(1, 1)), "lost", id="acknowledged and never there"),
        pytest.param(asked, "lost", id="never answered"),
        pytest.param(
            lambda: asked().got(completed(3, 1)).sent(say(2)).got(created(4, 2), started(5, 2), ack(2, 4)),
            "lost",
            id="the second one never answered",
        ),
        pytest.param(
            lambda: asked().got(completed(3, 1, answer("m1", 1, 1) + "m1:2:1 m1:2:2 ")), "mixed", id="two asks in one"
        ),
        pytest.param(lambda: streamed("m1:1:0 ", "m1:2:1 "), "mixed", id="mixed as it streams"),
        pytest.param(
            lambda: asked().got(completed(3, 1, answer("m2", 1, 3))).sent(say(2)), "lost", id="another one's answer"
        ),
        pytest.param(lambda: asked().got(completed(3, 1, answer("m1", 1, 2))), "cut", id="an end is missing"),
        pytest.param(lambda: streamed("m1:1:0 ", "m1:1:2 "), "cut", id="a token is missing"),
        pytest.param(lambda: streamed("m1:1:0 ", "m1:1:0 m1:1:1 "), "doubled", id="a token comes twice"),
        pytest.param(lambda: asked().got(completed(3, 1), stored(4, 1)), "doubled", id="a message twice"),
        pytest.param(lambda: asked().got(completed(3, 1), completed(4, 1)), "doubled", id="an answer twice"),
        pytest.param(lambda: asked().got(completed(3, 1), completed(3, 1)), "doubled", id="an event twice"),
        pytest.param(
            lambda: (
                Tape()
                .opened()
                .sent(say(1), say(2))
                .got(created(1, 2), created(2, 1), ack(2, 1), ack(1, 2))
                .got(completed(3, 1), completed(4, 2))
            ),
            "reordered",
            id="in another order than said",
        ),
        pytest.param(lambda: asked().got(completed(4, 1)), "gap", id="an event left out"),
        pytest.param(
            lambda: (
                asked().got(completed(3, 1)).opened(last_seq=2, resumed=True).got(completed(3, 1, answer("m1", 2, 3)))
            ),
            "differs",
            id="an event changes",
        ),
        pytest.param(lambda: asked().got(completed(3, 1), ack(1, 7)), "differs", id="acknowledged as another one"),
        pytest.param(
            lambda: asked().got(completed(3, 1), Nack(cid="c1", code="down", message="")),
            "differs",
            id="refused after its ack",
        ),
        pytest.param(
            lambda: (
                asked()
                .opened(last_seq=2, resumed=True)
                .got(
                    Snapshot(
                        up_to_seq=2,
                        owner="ai",
                        live=LiveAnswer(turn_id="trn_1", message_id="ans_1", gen=2, n=3, text="m1:1:0 m1:2:1 "),
                    )
                )
                .got(completed(3, 1))
            ),
            "mixed",
            id="mixed in a snapshot",
        ),
    ],
)
def test_a_recording_shows_what_was_broken(tape: Callable[[], Tape], promise: Promise) -> None:
    """Each has exactly one thing wrong with it, and it is called by its name."""
    assert tape().broken() == {promise}


@pytest.mark.parametrize(
    ("text", "tokens", "promise"),
    [
        (answer("m", 1, 4), 4, None),
        (answer("m", 1, 4).rstrip(), 4, None),
        ("m:1:0 m:1:1 m:1", None, None),
        ("", None, None),
        ("", 4, "cut"),
        ("m:1:1 ", None, "cut"),
        (answer("m", 1, 5), 4, "doubled"),
        ("m:1:0 n:1:1 ", None, "mixed"),
        ("m:1:0 hello ", None, "mixed"),
    ],
)
def test_a_numbered_text_shows_what_is_wrong_with_it(text: str, tokens: int | None, promise: Promise | None) -> None:
    """The last token may be half where nobody says how many there are."""
    wrong = wrong_text(text, tokens=tokens)
    assert (wrong and wrong[0]) == promise


# Statements with %(c)s for a conversation's row, and what each must show as. The visitor has asked a, b and c.
DAMAGE: list[tuple[str, Promise]] = [
    ("delete from events where conversation_id = %(c)s and seq = 2", "gap"),
    ("update conversations set last_seq = last_seq + 1 where id = %(c)s", "gap"),
    ("update events set gen = 5 where conversation_id = %(c)s and type = 'tool.started'", "stale"),
    ("update events set type = 'x' where conversation_id = %(c)s and type = 'message.completed'", "lost"),
    ("update messages set content = 'a:1:0 a:2:1 a:2:2' where conversation_id = %(c)s and content ~ '^a:'", "mixed"),
    ("update messages set content = 'a:1:0 a:1:1' where conversation_id = %(c)s and content ~ '^a:'", "cut"),
    ("update messages set cid = 'other' where conversation_id = %(c)s and content ~ '^mark=a'", "lost"),
    ("delete from messages where conversation_id = %(c)s and content ~ '^a:'", "lost"),
    (
        "update turns set message_id = message_id - 2 where conversation_id = %(c)s and message_id in (select id from "
        "messages where content ~ '^mark=b')",
        "doubled",
    ),
    (
        "insert into messages (public_id, client_id, conversation_id, role, content, turn_id, seq) select 'again', "
        "client_id, conversation_id, role, content, turn_id, seq from messages "
        "where conversation_id = %(c)s and content ~ '^a:'",
        "doubled",
    ),
]


@pytest.fixture
async def cluster(world: World) -> AsyncIterator[Cluster]:
    """One instance."""
    async with world.cluster(1) as cluster:
        yield cluster


@asynccontextmanager
async def answered(cluster: Cluster, world: World) -> AsyncIterator[Visitor]:
    """Somebody who has been answered three times, twice with a tool, without anything wrong."""
    async with visiting(await cluster.shop(), cluster.some_url, rng=world.rng) as visitor:
        for mark, tool in (("a", None), ("b", "reserve"), ("c", "pay")):
            # Another ask of a mark would be an effect too many.
            cluster.webhook.calls.clear()
            cluster.webhook.items.clear()
            await visitor.answer(await visitor.say(question(mark, tokens=3, tool=tool)))
            assert await check_effects(cluster) == []
        assert check_recording(visitor.recording) == []
        assert await check_view(cluster, visitor) == []
        yield visitor


async def test_a_database_shows_what_was_broken(cluster: Cluster, world: World) -> None:
    """What somebody did to the rows behind the server's back is found, whatever it was."""
    for statement, promise in DAMAGE:
        async with answered(cluster, world) as visitor:
            before = {each.who for each in await check_database(cluster)}
            assert await _new(cluster, visitor, before) == set(), statement
            assert visitor.welcome is not None
            [(conversation,)] = await cluster.rows(
                "select id from conversations where public_id = %s", visitor.welcome.conversation_id
            )
            async with reading(cluster.pool) as conn:
                done = await conn.execute(statement.encode(), {"c": conversation})
                assert done.rowcount > 0, statement
            assert promise in await _new(cluster, visitor, before), statement


async def _new(cluster: Cluster, visitor: Visitor, known: set[str]) -> set[Promise]:
    """What is broken that was not before."""
    return {each.promise for each in await check_database(cluster, [visitor]) if each.who not in known}


async def test_views_and_effects_that_are_wrong_are_found(cluster: Cluster, world: World) -> None:
    """Other words than a new reader sees; done twice under one key; done, on record, and never done."""
    webhook = cluster.webhook
    async with answered(cluster, world) as visitor:
        assert await check_everything(cluster, [visitor]) == []
        webhook.items["b"] = 2
        assert {each.promise for each in await check_effects(cluster)} == set(), "of a call that is not there"
        webhook.calls += [msgspec.structs.replace(call, item="b", tool="reserve") for call in webhook.calls]
        assert {each.promise for each in await check_effects(cluster)} == {"doubled"}
        webhook.calls[:] = [msgspec.structs.replace(call, item="c", tool="pay") for call in webhook.calls]
        assert {each.promise for each in await check_effects(cluster)} == {"doubled"}
        webhook.calls.clear()
        webhook.effects.clear()
        assert {each.promise for each in await check_effects(cluster)} == {"lost"}
        await cluster.rows("update messages set content = 'something else' where content ~ '^a:'")
        assert {each.promise for each in await check_view(cluster, visitor)} == {"differs"}
