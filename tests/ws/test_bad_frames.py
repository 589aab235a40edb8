"""Every frame of a visitor, and what is wrong with it: the exact answer, the exact close, and nothing changed."""

import asyncio
import json
from collections.abc import Callable, Iterable
from typing import Any, get_args

import msgspec
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from server.protocol import limits
from server.protocol.visitor import (
    Ack,
    Error,
    FromVisitor,
    Hello,
    MessageCompleted,
    MessageSend,
    Nack,
    Ping,
    Welcome,
)
from tests.flows.support import Desk, Tab, use_up
from tests.flows.world import World

Fields = dict[str, Any]
# A frame's fields, or what goes over the wire as it stands; a function where the world's ids are needed.
Given = Fields | str | bytes | Callable[[World], Fields]


class Row(msgspec.Struct, frozen=True):
    """`frame` is sent as the first on a socket when it is a hello, else after one. `code` is the refusal's."""

    frame: str
    what: str
    given: Given
    code: str
    field: str | None = None
    nack: bool = False
    close: int | None = None

    def __str__(self) -> str:
        return f"{self.frame}: {self.what}"


def hello(**fields: Any) -> Callable[[World], Fields]:
    """A hello that would work, but for `fields`; None leaves one out."""

    def build(world: World) -> Fields:
        proof = {"id": world.mine.id, "token": world.mine.token}
        given = {"type": "hello", "v": 1, "key": world.shop.key, "session": proof, **fields}
        return {name: value for name, value in given.items() if value is not None}

    return build


def said(**fields: Any) -> Fields:
    """A message that would be taken, but for `fields`."""
    given = {"type": "message.send", "cid": "bad-1", "text": "Hello", **fields}
    return {name: value for name, value in given.items() if value is not None}


def session_of(whose: str, token: str | None = None) -> Callable[[World], Fields]:
    """A hello in the session of `whose`, with the token of `token`."""

    def build(world: World) -> Fields:
        return hello(session={"id": getattr(world, whose).id, "token": getattr(world, token or whose).token})(world)

    return build


def of(world: World, whose: str) -> str:
    answer: str = getattr(world, whose).answer_id
    return answer


DEEP = "[" * 40 + "]" * 40
SPACES = " \t\r\n\u00a0\u2003\u3000"

HELLO_ROWS = [
    Row("hello", "no version", hello(v=None), "missing", "v"),
    Row("hello", "version as text", hello(v="1"), "invalid", "v"),
    Row("hello", "version as fraction", hello(v=1.5), "invalid", "v"),
    Row("hello", "version too old", hello(v=0), "version", close=4426),
    Row("hello", "version below zero", hello(v=-1), "version", close=4426),
    Row("hello", "no key", hello(key=None), "missing", "key"),
    Row("hello", "key as number", hello(key=5), "invalid", "key"),
    Row("hello", "empty key", hello(key=""), "invalid", "key"),
    Row("hello", "key too long", hello(key="p" * 101), "invalid", "key"),
    Row("hello", "unknown key", hello(key="pk_nobody"), "bad_key", close=4401),
    Row("hello", "key of spaces", hello(key="   "), "bad_key", close=4401),
    Row("hello", "key with NUL", hello(key="pk_\0"), "bad_key", close=4401),
    Row("hello", "the secret key", lambda w: hello(key=w.shop.secret_key)(w), "bad_key", close=4401),
    Row("hello", "key of another website", lambda w: hello(key=w.other_shop.key)(w), "origin_not_allowed", close=4403),
    Row("hello", "suspended client", lambda w: hello(key=w.suspended.key)(w), "client_suspended", close=4403),
    Row("hello", "session as text", hello(session="ses_1"), "invalid", "session"),
    Row("hello", "session without id", hello(session={"token": "t"}), "missing", "session.id"),
    Row("hello", "session without token", hello(session={"id": "i"}), "missing", "session.token"),
    Row("hello", "session id as number", hello(session={"id": 1, "token": "t"}), "invalid", "session.id"),
    Row("hello", "empty session id", hello(session={"id": "", "token": "t"}), "invalid", "session.id"),
    Row("hello", "session id too long", hello(session={"id": "i" * 65, "token": "t"}), "invalid", "session.id"),
    Row("hello", "empty token", hello(session={"id": "i", "token": ""}), "invalid", "session.token"),
    Row("hello", "unknown session", hello(session={"id": "ses_x", "token": "st_x"}), "bad_token", close=4401),
    Row("hello", "session id with NUL", hello(session={"id": "ses_\0", "token": "\0"}), "bad_token", close=4401),
    Row("hello", "my session, a wrong token", session_of("mine", "theirs"), "bad_token", close=4401),
    Row("hello", "their session, my token", session_of("theirs", "mine"), "bad_token", close=4401),
    Row("hello", "a session of another client", session_of("foreign"), "bad_token", close=4401),
    Row("hello", "epoch as number", hello(epoch=1), "invalid", "epoch"),
    Row("hello", "empty epoch", hello(epoch=""), "invalid", "epoch"),
    Row("hello", "epoch too long", hello(epoch="e" * 65), "invalid", "epoch"),
    Row("hello", "last_seq as text", hello(last_seq="3"), "invalid", "last_seq"),
    Row("hello", "last_seq below zero", hello(last_seq=-1), "invalid", "last_seq"),
    Row("hello", "last_seq as fraction", hello(last_seq=1.5), "invalid", "last_seq"),
    Row("hello", "identity as number", hello(identity=1), "invalid", "identity"),
    Row("hello", "identity too long", hello(identity="i" * 8_193), "invalid", "identity"),
    Row("hello", "locale as number", hello(locale=1), "invalid", "locale"),
    Row("hello", "empty locale", hello(locale=""), "invalid", "locale"),
    Row("hello", "locale with an underscore", hello(locale="de_AT"), "invalid", "locale"),
    Row("hello", "locale with NUL", hello(locale="de\0"), "invalid", "locale"),
    Row("hello", "locale too long", hello(locale="d" * 36), "invalid", "locale"),
    Row("hello", "page_url as list", hello(page_url=[]), "invalid", "page_url"),
    Row("hello", "page_url too long", hello(page_url="u" * 2_049), "invalid", "page_url"),
    Row("hello", "pending as text", hello(pending="c1"), "invalid", "pending"),
    Row("hello", "pending of numbers", hello(pending=[1]), "invalid", "pending[0]"),
    Row("hello", "pending with an empty cid", hello(pending=["a", ""]), "invalid", "pending[1]"),
    Row("hello", "too many pending", hello(pending=["c"] * 101), "invalid", "pending"),
    Row("hello", "pending with NUL", hello(pending=["c\0"]), "invalid"),
    Row("hello", "null for a text", '{"type":"hello","v":1,"key":null}', "invalid", "key"),
    Row("hello", "a lone surrogate", '{"type":"hello","v":1,"key":"\\ud800"}', "malformed"),
    Row("hello", "deep", '{"type":"hello","v":1,"key":"k","x":' + DEEP + "}", "too_deep"),
    Row("hello", "too large", hello(x="x" * limits.FRAME_BYTES), "frame_too_large"),
]

ROWS = [
    Row("message.send", "no cid", said(cid=None), "missing", "cid"),
    Row("message.send", "cid as number", said(cid=1), "invalid", "cid"),
    Row("message.send", "empty cid", said(cid=""), "invalid", "cid"),
    Row("message.send", "cid too long", said(cid="c" * 65), "invalid", "cid"),
    Row("message.send", "cid with NUL", said(cid="c\0"), "invalid", nack=True),
    Row("message.send", "no text", said(text=None), "missing", "text"),
    Row("message.send", "text as number", said(text=5), "invalid", "text"),
    Row("message.send", "text as list", said(text=["Hello"]), "invalid", "text"),
    Row("message.send", "text null", '{"type":"message.send","cid":"c","text":null}', "invalid", "text"),
    Row("message.send", "empty text", said(text=""), "empty", nack=True),
    Row("message.send", "only spaces", said(text=SPACES), "empty", nack=True),
    Row("message.send", "5,001 characters", said(text="x" * 5_001), "too_long", nack=True),
    Row("message.send", "5,001 emoji", said(text="🙂" * 5_001), "too_long", nack=True),
    Row("message.send", "text with NUL", said(text="a\0b"), "invalid", nack=True),
    Row("message.send", "a lone surrogate", '{"type":"message.send","cid":"c","text":"\\ud800"}', "malformed"),
    Row("message.send", "half a pair", '{"type":"message.send","cid":"c","text":"\\ude00\\ud83d"}', "malformed"),
    Row("message.send", "a used cid", said(cid="taken", text="Other"), "cid_reused", nack=True),
    Row("message.send", "attachments as text", said(attachments="a"), "invalid", "attachments"),
    Row("message.send", "an attachment without id", said(attachments=[{}]), "missing", "attachments[0].id"),
    Row(
        "message.send",
        "an attachment",
        said(attachments=[{"id": "f", "name": "n"}]),
        "attachments_unsupported",
        nack=True,
    ),
    Row("message.send", "11 attachments", said(attachments=[{"id": "f", "name": "n"}] * 11), "invalid", "attachments"),
    Row("message.send", "too large", said(text="x" * limits.FRAME_BYTES), "frame_too_large"),
    Row("message.send", "too large in bytes alone", said(text="🙂" * 17_000), "frame_too_large"),
    Row("message.send", "deep", '{"type":"message.send","cid":"c","text":"t","x":' + DEEP + "}", "too_deep"),
    Row("turn.stop", "no turn", {"type": "turn.stop"}, "missing", "turn_id"),
    Row("turn.stop", "turn as number", {"type": "turn.stop", "turn_id": 1}, "invalid", "turn_id"),
    Row("turn.stop", "empty turn", {"type": "turn.stop", "turn_id": ""}, "invalid", "turn_id"),
    Row("turn.stop", "turn too long", {"type": "turn.stop", "turn_id": "t" * 65}, "invalid", "turn_id"),
    Row("turn.stop", "turn with NUL", {"type": "turn.stop", "turn_id": "trn_\0"}, "invalid"),
    Row("tool.confirm", "no call", {"type": "tool.confirm", "approved": True}, "missing", "call_id"),
    Row("tool.confirm", "no word", {"type": "tool.confirm", "call_id": "c"}, "missing", "approved"),
    Row(
        "tool.confirm", "call as list", {"type": "tool.confirm", "call_id": [], "approved": True}, "invalid", "call_id"
    ),
    Row(
        "tool.confirm",
        "word as text",
        {"type": "tool.confirm", "call_id": "c", "approved": "yes"},
        "invalid",
        "approved",
    ),
    Row(
        "tool.confirm",
        "unknown call",
        {"type": "tool.confirm", "call_id": "c", "approved": True},
        "unknown_call",
        "call_id",
    ),
    Row("feedback.give", "no message", {"type": "feedback.give", "rating": "up"}, "missing", "message_id"),
    Row(
        "feedback.give",
        "no rating",
        lambda w: {"type": "feedback.give", "message_id": of(w, "mine")},
        "missing",
        "rating",
    ),
    Row(
        "feedback.give",
        "message as number",
        {"type": "feedback.give", "message_id": 1, "rating": "up"},
        "invalid",
        "message_id",
    ),
    Row(
        "feedback.give",
        "empty message",
        {"type": "feedback.give", "message_id": "", "rating": "up"},
        "invalid",
        "message_id",
    ),
    Row("feedback.give", "message with NUL", {"type": "feedback.give", "message_id": "m\0", "rating": "up"}, "invalid"),
    Row(
        "feedback.give",
        "another rating",
        lambda w: {"type": "feedback.give", "message_id": of(w, "mine"), "rating": "best"},
        "invalid",
        "rating",
    ),
    Row(
        "feedback.give",
        "comment too long",
        lambda w: {"type": "feedback.give", "message_id": of(w, "mine"), "rating": "up", "comment": "c" * 1_001},
        "invalid",
        "comment",
    ),
    Row(
        "feedback.give",
        "comment with NUL",
        lambda w: {"type": "feedback.give", "message_id": of(w, "mine"), "rating": "up", "comment": "\0"},
        "invalid",
    ),
    Row(
        "feedback.give",
        "an unknown message",
        {"type": "feedback.give", "message_id": "msg_nobody", "rating": "up"},
        "not_found",
        "message_id",
    ),
    Row(
        "feedback.give",
        "another visitor's message",
        lambda w: {"type": "feedback.give", "message_id": of(w, "theirs"), "rating": "up"},
        "not_found",
        "message_id",
    ),
    Row(
        "feedback.give",
        "another client's message",
        lambda w: {"type": "feedback.give", "message_id": of(w, "foreign"), "rating": "down"},
        "not_found",
        "message_id",
    ),
    Row("handoff.request", "reason as number", {"type": "handoff.request", "reason": 1}, "invalid", "reason"),
    Row("handoff.request", "reason too long", {"type": "handoff.request", "reason": "r" * 501}, "invalid", "reason"),
    Row("handoff.request", "reason with NUL", {"type": "handoff.request", "reason": "\0"}, "invalid", "reason"),
    Row("typing.set", "no word", {"type": "typing.set"}, "missing", "on"),
    Row("typing.set", "word as number", {"type": "typing.set", "on": 1}, "invalid", "on"),
    Row("ping", "no time", {"type": "ping"}, "missing", "t"),
    Row("ping", "time as text", {"type": "ping", "t": "now"}, "invalid", "t"),
    Row("ping", "time without bounds", '{"type":"ping","t":1e999}', "invalid", "t"),
    Row("ping", "time not a number", '{"type":"ping","t":NaN}', "malformed"),
]

# Frames of no kind at all.
NONSENSE = [
    Row("", "nothing", "", "malformed"),
    Row("", "not JSON", "hello", "malformed"),
    Row("", "half an object", '{"type":"ping","t":1', "malformed"),
    Row("", "two objects", '{"type":"ping","t":1}{"type":"ping","t":2}', "malformed"),
    Row("", "a list", "[]", "invalid"),
    Row("", "a number", "5", "invalid"),
    Row("", "null", "null", "invalid"),
    Row("", "a bomb of brackets", "[" * 60_000, "too_deep"),
    Row("", "a bomb of objects", '{"a":' * 10_000, "too_deep"),
    Row("", "no type", {}, "missing", "type"),
    Row("", "type as number", {"type": 5}, "invalid", "type"),
    Row("", "an unknown type", {"type": "message.shout"}, "unknown_type", "type"),
    Row("", "a frame of the server", {"type": "ack", "cid": "c", "message_id": "m", "seq": 1}, "unknown_type", "type"),
    Row("", "a frame of an operator", {"type": "conversation.take", "conversation_id": "c"}, "unknown_type", "type"),
    Row("", "a type in capitals", {"type": "PING", "t": 1}, "unknown_type", "type"),
    Row("", "a control character", '{"type":"ping\n","t":1}', "malformed"),
    Row("", "a byte order mark", '\ufeff{"type":"ping","t":1}', "malformed"),
]


async def send(tab: Tab, row: Row, world: World) -> None:
    given = row.given(world) if callable(row.given) else row.given
    await tab.raw(given if isinstance(given, str | bytes) else json.dumps(given, ensure_ascii=False))


async def refused(tab: Tab, row: Row) -> None:
    """The row's answer has come, and the close where there is one."""
    if row.nack:
        nack = await tab.next(Nack)
        assert nack.code == row.code and nack.message
        return
    error = await tab.next(Error)
    assert (error.code, error.field) == (row.code, row.field)
    assert error.message and not error.temporary
    if row.close is not None:
        assert await tab.closed() == row.close


@pytest.mark.parametrize("row", HELLO_ROWS, ids=str)
async def test_a_bad_hello(world: World, row: Row) -> None:
    """It is answered with its error; where there is no close, a good one still works; nothing changed."""
    before = await world.desk.fingerprint()
    async with world.desk.tab(world.shop) as tab:
        await send(tab, row, world)
        await refused(tab, row)
        assert tab.of(Welcome) == []
        if row.close is None:
            await tab.hello(proof=world.mine.proof)
            await tab.settle()
    assert await world.desk.fingerprint() == before


@pytest.mark.parametrize("row", [*ROWS, *NONSENSE], ids=str)
async def test_a_bad_frame(world: World, row: Row) -> None:
    """It is answered with its error, the socket goes on, nothing changed and no model was asked."""
    before, asked = await world.desk.fingerprint(), len(world.model.requests)
    async with world.desk.visit(world.shop, proof=world.mine.proof) as (tab, _):
        await send(tab, row, world)
        await refused(tab, row)
        await tab.settle()
        assert len(tab.of(Error)) + len(tab.of(Nack)) == 1
    assert await world.desk.fingerprint() == before
    assert len(world.model.requests) == asked


def tags() -> set[str]:
    return {str(kind.__struct_config__.tag) for kind in get_args(FromVisitor)}


def test_every_frame_has_rows() -> None:
    """A frame that is added to the protocol fails here until somebody says what is wrong with it."""
    assert {row.frame for row in (*HELLO_ROWS, *ROWS)} == tags()


GOOD: dict[str, Fields] = {
    "message.send": said(),
    "turn.stop": {"type": "turn.stop", "turn_id": "t"},
    "tool.confirm": {"type": "tool.confirm", "call_id": "c", "approved": True},
    "feedback.give": {"type": "feedback.give", "message_id": "m", "rating": "up"},
    "handoff.request": {"type": "handoff.request"},
    "typing.set": {"type": "typing.set", "on": True},
    "ping": {"type": "ping", "t": 1},
}


@pytest.mark.parametrize("tag", sorted(tags() - {"hello"}))
async def test_nothing_comes_before_hello(world: World, tag: str) -> None:
    """Any other frame first ends the socket, and what was sent right behind it is not heard."""
    before = await world.desk.fingerprint()
    async with world.desk.tab(world.shop) as tab:
        await tab.raw(json.dumps(GOOD[tag]))
        await tab.send(Hello(v=1, key=world.shop.key))
        refusal = await tab.next(Error)
        assert refusal.code == "hello_first"
        assert await tab.closed() == 4400
        assert tab.of(Welcome) == []
    assert await world.desk.fingerprint() == before


async def test_no_hello_in_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket that says nothing is closed, and may come back: its network may have been stuck. One that said hello
    stays past the limit."""
    monkeypatch.setattr(limits, "HELLO_S", 0.2)
    async with world.desk.visit(world.shop, proof=world.mine.proof) as (polite, _), world.desk.tab(world.shop) as tab:
        assert await tab.closed() == 4002
        await polite.settle()


async def test_a_hello_that_we_are_slow_with(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time is the visitor's to say hello, not ours to look at it."""
    monkeypatch.setattr(limits, "HELLO_S", 0.2)
    async with world.desk.pool.connection() as other, world.desk.tab(world.shop) as tab:
        async with other.transaction():
            await other.execute("lock table conversations in access exclusive mode")
            await tab.send(Hello(v=1, key=world.shop.key, session=world.mine.proof))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await tab.next(Welcome)
        await tab.next(Welcome)
        await tab.settle()


async def test_bad_hellos_do_not_buy_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a hello that is taken stops the clock."""
    monkeypatch.setattr(limits, "HELLO_S", 0.3)
    async with world.desk.tab(world.shop) as tab:
        await tab.raw('{"type":"hello"}')
        assert await tab.closed() == 4400
        assert [error.field for error in tab.of(Error)] == ["v"]


async def test_too_many_bad_frames(world: World) -> None:
    """As many as allowed are answered, one more ends it; a message behind it is not taken."""
    before = await world.desk.fingerprint()
    async with world.desk.visit(world.shop, proof=world.mine.proof) as (tab, _):
        for _ in range(limits.BAD_FRAMES):
            await tab.raw("nonsense")
            await tab.next(Error)
        await tab.settle()
        await tab.raw("nonsense")
        await tab.send(MessageSend(cid="late", text="Hello"))
        assert await tab.closed() == 4400
        assert len(tab.of(Error)) == limits.BAD_FRAMES + 1 and tab.of(Ack) == []
    assert await world.desk.fingerprint() == before


async def test_refused_messages_are_no_bad_frames(world: World) -> None:
    """A widget that lets somebody send an empty message again and again is told so each time."""
    async with world.desk.visit(world.shop, proof=world.mine.proof) as (tab, _):
        for number in range(limits.BAD_FRAMES + 5):
            await tab.send(MessageSend(cid=f"c{number}", text=" "))
            assert (await tab.next(Nack)).cid == f"c{number}"
        await tab.settle()


async def test_a_binary_frame(world: World) -> None:
    """It is refused, even if a good frame is in it."""
    async with world.desk.visit(world.shop, proof=world.mine.proof) as (tab, _):
        await tab.socket.send(b'{"type":"ping","t":1}', text=False)
        assert (await tab.next(Error)).code == "not_text"
        await tab.settle()


@pytest.mark.parametrize("data", [b"\xff\xfe", b'{"type":"ping","t":1,"x":"\xc3"}', b"\xed\xa0\x80"])
async def test_text_that_is_not_utf8(world: World, data: bytes) -> None:
    """The WebSocket protocol itself ends such a socket, with 1007."""
    before = await world.desk.fingerprint()
    async with world.desk.visit(world.shop, proof=world.mine.proof) as (tab, _):
        await tab.raw(data)
        assert await tab.closed() == 1007
    assert await world.desk.fingerprint() == before


async def test_a_frame_far_over_the_limit(world: World) -> None:
    """It is not even read: the WebSocket protocol ends such a socket, with 1009."""
    async with world.desk.visit(world.shop, proof=world.mine.proof) as (tab, _):
        await ended_by_size(tab, "x" * (3 * limits.FRAME_BYTES))


async def ended_by_size(tab: Tab, data: str | Iterable[str]) -> None:
    """The server hangs up while data is on its way, so its close frame may be lost with the connection."""
    with pytest.raises(ConnectionClosed) as gone:
        await tab.socket.send(data, text=True)
        while True:
            await tab.read()
    assert gone.value.rcvd is None or gone.value.rcvd.code == 1009


async def test_a_frame_in_a_thousand_pieces(world: World) -> None:
    """Fragments make one frame, and count as one against the limit."""
    async with world.desk.visit(world.shop, proof=world.mine.proof) as (tab, _):
        await tab.socket.send(iter([*'{"type":"ping",', *(" " * 1_000), *'"t":1}']), text=True)
        await tab.settle()
        await ended_by_size(tab, iter(["x" * 10_000] * 30))


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://{host}", "https://{host}:8443", "https://www.{host}", "https://"]
)
async def test_a_page_of_nobody(world: World, origin: str) -> None:
    """An origin that no client allows gets no socket at all."""
    host = world.shop.origin.removeprefix("https://")
    with pytest.raises(InvalidStatus) as refusal:
        async with world.desk.tab(world.shop, origin=origin.format(host=host)):
            pass
    assert refusal.value.response.status_code == 403


async def test_no_origin_at_all(world: World) -> None:
    """A program that is no browser gets none either."""
    with pytest.raises(InvalidStatus) as refusal:
        async with world.desk.tab(world.shop, origin=""):
            pass
    assert refusal.value.response.status_code == 403


async def test_the_page_of_a_suspended_client(world: World) -> None:
    """Its origin is nobody's while it is suspended."""
    with pytest.raises(InvalidStatus) as refusal:
        async with world.desk.tab(world.suspended):
            pass
    assert refusal.value.response.status_code == 403


async def test_a_socket_where_there_is_none(world: World) -> None:
    """Other paths take no WebSocket."""
    for path in ("/api/v1/chat", "/nope", "/api/v1/ws/more"):
        with pytest.raises(InvalidStatus) as refusal:
            await connect(world.desk.instances[0].ws_url.replace("/api/v1/ws", path), proxy=None)
        assert refusal.value.response.status_code in {403, 404}


async def test_too_many_hellos(world: World) -> None:
    """Over the minute's limit a hello ends with 4029, after which a widget may come back."""
    before = await world.desk.fingerprint()
    await use_up(world.desk, f"{world.shop.id}:ip:127.0.0.1", 120)
    async with world.desk.tab(world.shop) as tab:
        await tab.send(Hello(v=1, key=world.shop.key))
        error = await tab.next(Error)
        assert (error.code, error.temporary) == ("rate_limited_address", True)
        assert await tab.closed() == 4029
    assert await world.desk.fingerprint() == before


async def test_too_much_feedback(world: World) -> None:
    """It counts as a message does: refused for a while, and the socket stays."""
    before = await world.desk.fingerprint()
    async with world.desk.visit(world.shop, proof=world.mine.proof) as (tab, _):
        await use_up(world.desk, f"{world.shop.id}:visitor:{world.mine.id}", 20)
        await tab.raw(json.dumps({"type": "feedback.give", "message_id": world.mine.answer_id, "rating": "up"}))
        error = await tab.next(Error)
        assert (error.code, error.temporary) == ("rate_limited_visitor", True)
        await tab.settle()
    assert await world.desk.fingerprint() == before


async def test_unknown_fields_are_ignored(world: World) -> None:
    """A newer widget may say more than this server knows."""
    async with world.desk.tab(world.shop) as tab:
        await tab.raw(json.dumps({**hello()(world), "mood": {"a": [1]}, "v": 99}))
        assert (await tab.next(Welcome)).v == 1
        await tab.raw(json.dumps({**GOOD["ping"], "t": 7, "extra": None}))
        await tab.raw(json.dumps(GOOD["typing.set"]))
        await tab.settle()
        assert tab.of(Error) == []


async def test_the_longest_messages_are_taken(desk: Desk) -> None:
    """5,000 characters, of one byte or of four, escaped or not, spaces around them not counted."""
    shop = await desk.shop()
    async with desk.visit(shop) as (tab, _):
        for number, text in enumerate(("x" * 5_000, "🙂" * 5_000, "  " + "é" * 5_000 + "\n")):
            for ascii_only in (False, True):
                cid = f"c{number}{ascii_only}"
                frame = json.dumps(said(cid=cid, text=text), ensure_ascii=ascii_only)
                assert len(frame.encode()) <= limits.FRAME_BYTES
                await tab.raw(frame)
                await tab.next(Ack, lambda ack, cid=cid: ack.cid == cid)  # type: ignore[misc]
                completed = await tab.next(MessageCompleted)
                assert completed.message.text == f"You said: {text.strip()}"
    assert await desk.rows("select distinct length(content) from messages where role = 'user'") == [(5_000,)]


async def test_an_identity_is_not_taken_for_verified(world: World) -> None:
    """Where the client has no identity secret, one that is given is said to be unused, and the visitor chats on."""
    before = await world.desk.fingerprint()
    async with world.desk.visit(world.shop, proof=world.mine.proof, identity="e30.e30.x") as (tab, _):
        error = await tab.next(Error)
        assert (error.code, error.field, error.temporary) == ("identity_off", "identity", False)
        await tab.settle()
    assert await world.desk.fingerprint() == before


async def test_a_bug_costs_a_frame_and_not_the_socket(desk: Desk) -> None:
    """What nobody foresaw (a table is gone) is answered without a word of the reason, and the socket goes on."""
    shop = await desk.shop()
    async with desk.visit(shop) as (tab, _):
        await desk.rows("alter table turns rename to gone")
        await tab.send(MessageSend(cid="c1", text="Hello"))
        error = await tab.next(Error)
        assert (error.code, error.temporary, error.field) == ("internal", True, None)
        assert "gone" not in error.message and "turns" not in error.message
        await desk.rows("alter table gone rename to turns")
        await tab.say("Hello", cid="c1")
        await tab.end()
    assert await desk.rows("select count(*) from messages where role = 'user'") == [(1,)]


async def test_garbage_before_the_handshake(world: World) -> None:
    """Bytes that are no HTTP get a 400 and a closed connection, and the next visitor is served."""
    host, port = world.desk.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200))
    assert (await reader.readline()).startswith(b"HTTP/1.1 400")
    await reader.read()
    writer.close()
    await writer.wait_closed()
    async with world.desk.visit(world.shop, proof=world.mine.proof) as (tab, _):
        await tab.send(Ping(t=1))
        await tab.settle()
