"""Every frame of an operator, and what is wrong with it: the exact answer, the exact close, and nothing changed."""

import json
from typing import Any, get_args

import msgspec
import pytest

from server.protocol import limits
from server.protocol.operator import (
    FromOperator,
    OperatorAck,
    OperatorError,
    OperatorHello,
    OperatorMessageSend,
    OperatorNack,
    OperatorWelcome,
)
from server.protocol.visitor import Ping
from server.turns.handover import OPERATOR_COMMANDS
from server.ws.operator import WATCHES
from tests.flows.console import Console, console, dialled, staff_of
from tests.flows.support import use_up
from tests.flows.world import World

Fields = dict[str, Any]
DEEP = "[" * 40 + "]" * 40
# Stands for the public id of a conversation that the operator serves.
MINE = "{mine}"


class Row(msgspec.Struct, frozen=True):
    """`given` is sent as it stands if it is text. `nack`: refused by one."""

    frame: str
    what: str
    given: Fields | str
    code: str
    field: str | None = None
    nack: bool = False
    close: int | None = None

    def __str__(self) -> str:
        return f"{self.frame}: {self.what}"


def bad(frame: str, what: str, code: str, field: str | None = None, *, nack: bool = False, **fields: Any) -> Row:
    """A frame with these fields besides the conversation."""
    given = {"type": frame, "conversation_id": MINE, **fields}
    return Row(frame, what, {key: value for key, value in given.items() if value is not ...}, code, field, nack=nack)


def no_conversation(frame: str, **fields: Any) -> list[Row]:
    """What may be wrong with the conversation of any frame that names one."""
    return [
        bad(frame, "no conversation", "missing", "conversation_id", conversation_id=..., **fields),
        bad(frame, "conversation as number", "invalid", "conversation_id", conversation_id=7, **fields),
        bad(frame, "empty conversation", "invalid", "conversation_id", conversation_id="", **fields),
        bad(frame, "conversation too long", "invalid", "conversation_id", conversation_id="c" * 65, **fields),
        bad(frame, "conversation null", "invalid", "conversation_id", conversation_id=None, **fields),
    ]


HELLO_ROWS = [
    Row("hello", "no version", {"type": "hello", "ticket": "t"}, "missing", "v"),
    Row("hello", "version as text", {"type": "hello", "v": "1", "ticket": "t"}, "invalid", "v"),
    Row("hello", "version too old", {"type": "hello", "v": 0, "ticket": "t"}, "version", close=4426),
    Row("hello", "no ticket", {"type": "hello", "v": 1}, "missing", "ticket"),
    Row("hello", "ticket as number", {"type": "hello", "v": 1, "ticket": 5}, "invalid", "ticket"),
    Row("hello", "empty ticket", {"type": "hello", "v": 1, "ticket": ""}, "invalid", "ticket"),
    Row("hello", "ticket too long", {"type": "hello", "v": 1, "ticket": "t" * 101}, "invalid", "ticket"),
    Row("hello", "made-up ticket", {"type": "hello", "v": 1, "ticket": "wst_x"}, "bad_ticket", close=4401),
    Row("hello", "ticket with NUL", {"type": "hello", "v": 1, "ticket": "\0"}, "bad_ticket", close=4401),
    Row("hello", "a visitor's hello", {"type": "hello", "v": 1, "key": "pk_x"}, "missing", "ticket"),
    Row("hello", "deep", '{"type":"hello","v":1,"ticket":"t","x":' + DEEP + "}", "too_deep"),
    Row("hello", "too large", {"type": "hello", "v": 1, "ticket": "t", "x": "x" * 65_536}, "frame_too_large"),
]

ROWS = [
    Row("inbox.watch", "client as text", {"type": "inbox.watch", "client_id": "1"}, "invalid", "client_id"),
    Row("inbox.watch", "client below zero", {"type": "inbox.watch", "client_id": -1}, "invalid", "client_id"),
    Row("inbox.watch", "client as fraction", {"type": "inbox.watch", "client_id": 1.5}, "invalid", "client_id"),
    Row("inbox.watch", "no such client", {"type": "inbox.watch", "client_id": 10**30}, "not_found", "client_id"),
    *no_conversation("conversation.watch"),
    bad("conversation.watch", "seq as text", "invalid", "last_seq", last_seq="1"),
    bad("conversation.watch", "seq below zero", "invalid", "last_seq", last_seq=-1),
    bad("conversation.watch", "epoch as number", "invalid", "epoch", epoch=1),
    bad("conversation.watch", "empty epoch", "invalid", "epoch", epoch=""),
    *no_conversation("conversation.unwatch"),
    *no_conversation("conversation.take"),
    *no_conversation("conversation.release"),
    *no_conversation("conversation.close"),
    *no_conversation("message.send", cid="c", text="t"),
    bad("message.send", "no cid", "missing", "cid", text="t"),
    bad("message.send", "empty cid", "invalid", "cid", cid="", text="t"),
    bad("message.send", "cid too long", "invalid", "cid", cid="c" * 65, text="t"),
    bad("message.send", "cid with NUL", "invalid", nack=True, cid="c\0", text="t"),
    bad("message.send", "no text", "missing", "text", cid="c"),
    bad("message.send", "text as list", "invalid", "text", cid="c", text=["t"]),
    bad("message.send", "empty text", "empty", nack=True, cid="c", text=""),
    bad("message.send", "only spaces", "empty", nack=True, cid="c", text=" \t\u3000"),
    bad("message.send", "5,001 characters", "too_long", nack=True, cid="c", text="x" * 5_001),
    bad("message.send", "text with NUL", "invalid", nack=True, cid="c", text="\0"),
    bad("message.send", "not taken", "not_yours", nack=True, cid="c", text="t"),
    bad("message.send", "a visitor's cid", "cid_reused", nack=True, cid="taken", text="t"),
    *no_conversation("whisper.send", text="t"),
    bad("whisper.send", "no text", "missing", "text"),
    bad("whisper.send", "text as number", "invalid", "text", text=5),
    bad("whisper.send", "empty text", "empty", "text", text=" "),
    bad("whisper.send", "5,001 characters", "too_long", "text", text="x" * 5_001),
    bad("whisper.send", "text with NUL", "invalid", "text", text="\0"),
    *no_conversation("turn.stop", turn_id="t"),
    bad("turn.stop", "no turn", "missing", "turn_id"),
    bad("turn.stop", "turn too long", "invalid", "turn_id", turn_id="t" * 65),
    bad("turn.stop", "turn with NUL", "invalid", turn_id="t\0"),
    *no_conversation("tool.approve", call_id="c", approved=True),
    bad("tool.approve", "no call", "missing", "call_id", approved=True),
    bad("tool.approve", "no word", "missing", "approved", call_id="c"),
    bad("tool.approve", "word as text", "invalid", "approved", call_id="c", approved="yes"),
    bad("tool.approve", "unknown call", "unknown_call", "call_id", call_id="c", approved=True),
    *no_conversation("typing.set", on=True),
    bad("typing.set", "no word", "missing", "on"),
    bad("typing.set", "not taken", "not_yours", on=True),
    Row("ping", "no time", {"type": "ping"}, "missing", "t"),
    Row("ping", "time as text", {"type": "ping", "t": "now"}, "invalid", "t"),
]

NONSENSE = [
    Row("", "nothing", "", "malformed"),
    Row("", "not JSON", "hello", "malformed"),
    Row("", "a list", "[]", "invalid"),
    Row("", "a bomb of brackets", "[" * 60_000, "too_deep"),
    Row("", "no type", {}, "missing", "type"),
    Row("", "type as number", {"type": 5}, "invalid", "type"),
    Row("", "an unknown type", {"type": "conversation.steal"}, "unknown_type", "type"),
    Row("", "a frame of a visitor", {"type": "feedback.give"}, "unknown_type", "type"),
    Row("", "a frame of the server", {"type": "inbox.page", "rows": [], "more": False}, "unknown_type", "type"),
    Row("", "a lone surrogate", '{"type":"ping","t":1,"x":"\\ud800"}', "malformed"),
]


def tags() -> set[str]:
    return {str(kind.__struct_config__.tag) for kind in get_args(FromOperator)}


def test_every_frame_has_rows() -> None:
    """A frame that is added to the protocol fails here until somebody says what is wrong with it."""
    assert {row.frame for row in (*HELLO_ROWS, *ROWS)} == tags()


async def send(desk: Console, row: Row, world: World) -> None:
    given = row.given if isinstance(row.given, str) else json.dumps(row.given, ensure_ascii=False)
    await desk.raw(given.replace(MINE, world.mine.conversation_id))


async def refused(desk: Console, row: Row) -> None:
    """The row's answer has come, and the close where there is one."""
    if row.nack:
        nack = await desk.next(OperatorNack)
        assert nack.code == row.code and nack.message
        return
    error = await desk.next(OperatorError)
    assert (error.code, error.field) == (row.code, row.field)
    assert error.message and not error.temporary
    if row.close is not None:
        assert await desk.closed() == row.close


@pytest.mark.parametrize("row", HELLO_ROWS, ids=str)
async def test_a_bad_hello(world: World, row: Row) -> None:
    """It is answered with its error; where there is no close, a good one still works."""
    staff = await staff_of(world.desk, world.shop)
    async with dialled(staff) as desk:
        await send(desk, row, world)
        await refused(desk, row)
        assert desk.of(OperatorWelcome) == []
        if row.close is None:
            await desk.send(OperatorHello(v=1, ticket=await staff.ticket()))
            await desk.next(OperatorWelcome)
            await desk.settle()


@pytest.mark.parametrize("row", [*ROWS, *NONSENSE], ids=str)
async def test_a_bad_frame(world: World, row: Row) -> None:
    """It is answered with its error, the socket goes on, nothing changed and no model was asked."""
    async with console(await staff_of(world.desk, world.shop)) as desk:
        before, asked = await world.desk.fingerprint(), len(world.model.requests)
        await send(desk, row, world)
        await refused(desk, row)
        await desk.settle()
        assert len(desk.of(OperatorError)) + len(desk.of(OperatorNack)) == 1
        assert await world.desk.fingerprint() == before
        assert len(world.model.requests) == asked


@pytest.mark.parametrize("tag", sorted(tags() - {"hello"}))
async def test_nothing_comes_before_hello(world: World, tag: str) -> None:
    """Any other frame first ends the socket, and a good hello behind it is not heard."""
    staff = await staff_of(world.desk, world.shop)
    good: dict[str, Fields] = {
        "message.send": {"cid": "c", "text": "t"},
        "whisper.send": {"text": "t"},
        "turn.stop": {"turn_id": "t"},
        "tool.approve": {"call_id": "c", "approved": True},
        "typing.set": {"on": True},
        "ping": {"t": 1},
    }
    async with dialled(staff) as desk:
        ticket = await staff.ticket()
        frame = {"type": tag, "conversation_id": world.mine.conversation_id, **good.get(tag, {})}
        await desk.raw(json.dumps(frame))
        await desk.send(OperatorHello(v=1, ticket=ticket))
        if tag == "message.send":
            assert (await desk.next(OperatorNack)).code == "hello_first"
        else:
            assert (await desk.next(OperatorError)).code == "hello_first"
        assert await desk.closed() == 4400
        assert await staff.staff.redeem(ticket), "the ticket was not used"


async def test_no_hello_in_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket that says nothing is closed; one that said hello stays past the limit."""
    monkeypatch.setattr(limits, "HELLO_S", 0.2)
    staff = await staff_of(world.desk, world.shop)
    async with console(staff) as polite, dialled(staff) as silent:
        assert await silent.closed() == 4002
        await polite.settle()


async def test_too_many_bad_frames(world: World) -> None:
    """As many as allowed are answered, one more ends it; a message behind it is not taken."""
    async with console(await staff_of(world.desk, world.shop)) as desk:
        for _ in range(limits.BAD_FRAMES):
            await desk.raw("nonsense")
            await desk.next(OperatorError)
        await desk.settle()
        await desk.raw("nonsense")
        await desk.send(OperatorMessageSend(conversation_id=world.mine.conversation_id, cid="late", text="Hello"))
        assert await desk.closed() == 4400
        assert len(desk.of(OperatorError)) == limits.BAD_FRAMES + 1 and desk.of(OperatorAck) == []


async def test_who_was_too_late_did_nothing_wrong(world: World) -> None:
    """A conversation that is another's is refused again and again; the socket stays."""
    async with console(await staff_of(world.desk, world.shop)) as desk:
        for number in range(limits.BAD_FRAMES + 5):
            await desk.send(
                OperatorMessageSend(conversation_id=world.mine.conversation_id, cid=f"c{number}", text="Hello")
            )
            assert (await desk.next(OperatorNack)).code == "not_yours"
        await desk.settle()


async def test_a_binary_frame(world: World) -> None:
    """It is refused, even if a good frame is in it."""
    async with console(await staff_of(world.desk, world.shop)) as desk:
        await desk.socket.send(b'{"type":"ping","t":1}', text=False)
        assert (await desk.next(OperatorError)).code == "not_text"
        await desk.settle()


async def test_commands_a_minute(world: World) -> None:
    """Over all sockets of one operator; a ping still works, and another operator's commands do."""
    staff, other = await staff_of(world.desk, world.shop), await staff_of(world.desk, world.shop)
    await use_up(world.desk, f"operator:{staff.operator.id}", OPERATOR_COMMANDS)
    async with console(staff) as desk, console(other) as theirs:
        for _ in range(limits.BAD_FRAMES + 2):
            await desk.raw('{"type":"inbox.watch"}')
            error = await desk.next(OperatorError)
            assert (error.code, error.temporary) == ("rate_limited_operator", True)
            assert error.retry_after_ms is not None and 0 < error.retry_after_ms <= 60_001
        await desk.settle()
        await theirs.watch(world.mine.conversation_id)


async def test_hellos_a_minute_from_one_address(world: World) -> None:
    """Tickets are not to be guessed: past the limit a good one is refused too, and is good for later."""
    staff = await staff_of(world.desk, world.shop)
    await use_up(world.desk, "operators:ip:127.0.0.1", 120)
    async with dialled(staff) as desk:
        ticket = await staff.ticket()
        await desk.send(OperatorHello(v=1, ticket=ticket))
        assert (await desk.next(OperatorError)).code == "rate_limited_address"
        assert await desk.closed() == 4029
    assert await staff.staff.redeem(ticket)


async def test_conversations_at_once(world: World) -> None:
    """A socket watches so many; watching one of them again is none more, and letting go makes room."""
    staff = await staff_of(world.desk, world.shop)
    async with console(staff) as desk:
        ids = [f"cnv_many_{number}" for number in range(WATCHES + 1)]
        await world.desk.rows(
            """
            insert into conversations (public_id, client_id, session_id, session_token_hash, channel, locale, epoch)
            select each, %s, each, each::bytea, 'widget', 'en', 'ep_1' from unnest(%s::text[]) each
            """,
            world.shop.id,
            ids,
        )
        for each in ids[:WATCHES]:
            await desk.watch(each)
        await desk.watch(ids[0])
        await desk.raw(json.dumps({"type": "conversation.watch", "conversation_id": ids[-1]}))
        error = await desk.next(OperatorError)
        assert (error.code, error.conversation_id) == ("too_many_watched", ids[-1])
        await desk.raw(json.dumps({"type": "conversation.unwatch", "conversation_id": ids[0]}))
        await desk.watch(ids[-1])
        await desk.send(Ping(t=0.5))
        assert len((await desk.settle()).heads) == WATCHES
    await world.desk.rows("delete from conversations where public_id = any(%s)", ids)
