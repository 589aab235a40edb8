"""Every frame of an operator x every role x whose conversation it names: what works, and what tells nothing.

A frame that is added to the protocol and not to `OWN` fails here.
"""

import json
from collections.abc import Callable
from typing import Any, get_args

import msgspec
import pytest

from server import ids
from server.protocol.operator import (
    CommandDone,
    ConversationWatched,
    FromOperator,
    InboxPage,
    OfConversation,
    OperatorAck,
    OperatorError,
    OperatorNack,
    OperatorPong,
    Presence,
    ToOperator,
)
from server.ws import operator
from tests.flows.console import Console, Sign, console, staff_of
from tests.flows.world import World

# Role, and whether it belongs to one client.
ROLES = [("owner", False), ("admin", False), ("admin", True), ("operator", True)]

# What each frame about a conversation is answered with in a conversation of one's own that is the AI's, by its kind or
# by the code of its refusal. The fields are those besides the conversation.
OWN: dict[str, tuple[dict[str, Any], type[ToOperator], str | None]] = {
    "conversation.watch": ({}, ConversationWatched, None),
    "conversation.unwatch": ({}, CommandDone, None),
    "conversation.take": ({}, CommandDone, None),
    "conversation.release": ({}, CommandDone, None),
    "conversation.close": ({}, CommandDone, None),
    "message.send": ({"cid": "c1", "text": "Hello"}, OperatorNack, "not_yours"),
    "whisper.send": ({"text": "Be kind."}, CommandDone, None),
    "turn.stop": ({"turn_id": "trn_over"}, CommandDone, None),
    "tool.approve": ({"call_id": "trn_x:1", "approved": True}, OperatorError, "unknown_call"),
    "typing.set": ({"on": True}, OperatorError, "not_yours"),
}
# Frames about no conversation: their tests are below.
OTHERS = {"hello", "inbox.watch", "ping"}
# What is answered without a look at whose it is: letting go of what one does not watch.
BLIND = {"conversation.unwatch"}


def tags(*, of_conversation: bool | None = None) -> set[str]:
    return {
        str(kind.__struct_config__.tag)
        for kind in get_args(FromOperator)
        if of_conversation is None or issubclass(kind, OfConversation) is of_conversation
    }


def test_every_frame_is_in_the_matrix() -> None:
    """By introspection of the protocol, so that none is forgotten."""
    assert set(OWN) == tags(of_conversation=True)
    assert tags(of_conversation=False) == OTHERS


async def sign(world: World, role: str, *, client: bool) -> Sign:
    return await staff_of(world.desk, world.shop if client else None, role=role)


async def answer(desk: Console, frame: dict[str, Any]) -> ToOperator:
    """What a frame is answered with."""
    before = len(desk.frames)
    await desk.raw(json.dumps(frame))
    await desk.settle()
    kinds = (CommandDone, ConversationWatched, InboxPage, OperatorAck, OperatorError, OperatorNack)
    [came] = [each for each in desk.frames[before:] if isinstance(each, kinds)]
    return came


@pytest.mark.parametrize(("role", "client"), ROLES)
@pytest.mark.parametrize("tag", sorted(OWN))
async def test_in_a_conversation_of_ones_own(world: World, tag: str, role: str, client: bool) -> None:
    """All of the staff may do all that a conversation takes; what the answer is about is said in it."""
    fields, kind, code = OWN[tag]
    async with (
        world.desk.visit(world.shop) as (_, welcome),
        console(await sign(world, role, client=client)) as desk,
    ):
        at = welcome.conversation_id
        got = await answer(desk, {"type": tag, "conversation_id": at, **fields})
        assert type(got) is kind and getattr(got, "code", None) == code
        assert at == getattr(got, "conversation_id", None)
        if isinstance(got, CommandDone | OperatorError):
            assert got.command == tag


@pytest.mark.parametrize("tag", sorted(OWN))
@pytest.mark.parametrize(("role", "client"), [each for each in ROLES if each[1]])
async def test_in_a_conversation_of_another_client(
    world: World, monkeypatch: pytest.MonkeyPatch, tag: str, role: str, client: bool
) -> None:
    """The same answer as for one that never was, nothing changed, nothing is told to its visitor or to who watches."""
    monkeypatch.setattr(operator, "TYPING_S", 0.0)  # each of them is looked at
    fields, _, _ = OWN[tag]
    theirs = await staff_of(world.desk, world.other_shop)
    async with (
        world.desk.visit(world.other_shop, proof=world.foreign.proof) as (visitor, _),
        console(theirs) as watching,
        console(await sign(world, role, client=client)) as desk,
    ):
        await watching.watch(world.foreign.conversation_id)
        await watching.next(Presence, lambda frame: frame.visitor_online is True)
        await visitor.settle()
        heard, seen = len(visitor.frames), len(watching.frames)
        before = await world.desk.fingerprint()
        answers = []
        for at in (world.foreign.conversation_id, ids.conversation_id(), "nonsense", "cnv_\0"):
            got = await answer(desk, {"type": tag, "conversation_id": at, **fields})
            answers.append(msgspec.to_builtins(msgspec.structs.replace(got, conversation_id="the one named")))
        assert all(each == answers[0] for each in answers)
        assert tag in BLIND or answers[0]["code"] == "not_found"
        assert await world.desk.fingerprint() == before
        await visitor.settle()
        await watching.settle()
        assert len(visitor.frames) == heard + 1 and len(watching.frames) == seen + 1, "each heard its pong alone"


@pytest.mark.parametrize(("role", "client"), ROLES)
async def test_who_serves_all_finds_every_conversation(world: World, role: str, client: bool) -> None:
    """Two clients' conversations over one socket: by whom no client is named, and by nobody else."""
    async with console(await sign(world, role, client=client)) as desk:
        for visitor, found in ((world.mine, True), (world.foreign, not client)):
            got = await answer(desk, {"type": "conversation.watch", "conversation_id": visitor.conversation_id})
            assert isinstance(got, ConversationWatched) is found


@pytest.mark.parametrize(("role", "client"), ROLES)
async def test_the_inbox_of_each_role(world: World, role: str, client: bool) -> None:
    """One's own clients' rows and no others; another's inbox and that of nobody are the same to who serves one."""
    async with console(await sign(world, role, client=client)) as desk:
        page = await answer(desk, {"type": "inbox.watch"})
        assert isinstance(page, InboxPage)
        clients = {row.client_id for row in page.rows}
        assert clients == {world.shop.id} if client else clients >= {world.shop.id, world.other_shop.id}
        others: list[Callable[[], int]] = [lambda: world.other_shop.id, lambda: 2**62]
        got = [await answer(desk, {"type": "inbox.watch", "client_id": each()}) for each in others]
        if client:
            assert got[0] == got[1] and isinstance(got[0], OperatorError) and got[0].code == "not_found"
        else:
            assert isinstance(got[0], InboxPage) and {row.client_id for row in got[0].rows} == {world.other_shop.id}
            assert isinstance(got[1], InboxPage) and got[1].rows == []


@pytest.mark.parametrize(("role", "client"), ROLES)
async def test_one_hello_a_socket_and_any_number_of_pings(world: World, role: str, client: bool) -> None:
    """A second ticket is not even looked at: it still opens another socket."""
    staff = await sign(world, role, client=client)
    async with console(staff) as desk:
        ticket = await staff.ticket()
        again = await answer(desk, {"type": "hello", "v": 1, "ticket": ticket})
        assert isinstance(again, OperatorError) and again.code == "hello_again"
        assert isinstance(await desk.settle(), OperatorPong)
        assert await staff.staff.redeem(ticket)
