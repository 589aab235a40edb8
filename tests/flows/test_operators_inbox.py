"""The inbox of an operator: its page, each row as it changes, whose it is, who is there, a slow reader, no Redis."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

from server.fanout import channels
from server.protocol import codec
from server.protocol.operator import (
    ConversationWatch,
    InboxPage,
    InboxRow,
    InboxUpdated,
    InboxWatch,
    OperatorError,
    Presence,
    ToolTrace,
)
from server.protocol.visitor import HandoffRequest, MessageCreated, OwnerChanged, Snapshot, TypingSet
from server.settings import Settings
from server.ws import operator
from tests.flows.console import Console, console, staff_of
from tests.flows.support import Desk
from tests.flows.test_outages import redis_behind_a_cable
from tests.wire_servers import WireServer


async def inbox(desk: Console, **fields: Any) -> list[InboxRow]:
    """Watches it; its first page."""
    await desk.send(InboxWatch(**fields))
    return (await desk.next(InboxPage)).rows


async def row(desk: Console, preview: str | None) -> InboxRow:
    """Reads on to the row with this preview."""
    updated = await desk.next(InboxUpdated, lambda frame: frame.rows[0].preview == preview)
    [row] = updated.rows
    return row


async def test_rows_as_they_change(two: Desk, model: WireServer) -> None:
    """What was said last, whose it is, who waits for a person: live, and the same in the page that is read later."""
    shop = await two.shop()
    ana = await staff_of(two, shop, name="Ana")
    async with two.visit(shop) as (tab, welcome), console(ana, on=1) as hers:
        assert await inbox(hers) == []
        at = welcome.conversation_id
        await tab.say("x" * 300)
        asked = await row(hers, "x" * 200)
        assert (asked.conversation_id, asked.client_id, asked.owner, asked.seq) == (at, shop.id, "ai", 2)
        assert asked.operator is None and asked.waiting_since is None
        answered = await row(hers, f"You said: {'x' * 190}")
        assert answered.seq == 3 and answered.last_activity_at > asked.last_activity_at
        await tab.send(HandoffRequest())
        queued = await row(hers, None)
        assert queued.owner == "queued" and queued.waiting_since is not None
        await hers.take(at)
        taken = [frame.rows[0] for frame in hers.of(InboxUpdated)][-1]
        if taken.owner != "human":
            taken = await row(hers, None)
        assert taken.operator is not None and taken.operator.name == "Ana"
        assert taken.waiting_since == queued.waiting_since, "nobody has answered yet"
        await hers.say(at, "I am here.")
        replied = [frame.rows[0] for frame in hers.of(InboxUpdated)][-1]
        if replied.preview != "I am here.":
            replied = await row(hers, "I am here.")
        assert replied.waiting_since is None and replied.owner == "human"
        assert replied.operator == taken.operator
        async with console(ana) as late:
            assert await inbox(late) == [replied]


async def test_everybody_sees_their_own_clients(two: Desk) -> None:
    """An operator the client's, the owner all or one of them; another client's and an unknown one are the same."""
    shop, other = await two.shop(), await two.shop()
    ana, ben = await staff_of(two, shop), await staff_of(two, other)
    owner = await staff_of(two, None, role="owner")
    async with (
        two.visit(shop) as (tab, mine),
        two.visit(other, on=1) as (foreign_tab, foreign),
        console(ana, on=1) as hers,
        console(ben) as his,
        console(owner) as whole,
        console(owner, on=1) as one,
    ):
        for each in (hers, his, whole):
            await inbox(each)
        await inbox(one, client_id=other.id)
        await asyncio.gather(tab.say("In the first shop"), foreign_tab.say("In the second shop"))
        await asyncio.gather(tab.end(), foreign_tab.end())
        said = {
            (hers, mine.conversation_id): "You said: In the first shop",
            (his, foreign.conversation_id): "You said: In the second shop",
            (one, foreign.conversation_id): "You said: In the second shop",
        }
        for (each, at), preview in said.items():
            assert (await row(each, preview)).conversation_id == at
            await each.settle()
            assert {row.conversation_id for frame in each.of(InboxUpdated) for row in frame.rows} == {at}
        while len({frame.rows[0].preview for frame in whole.of(InboxUpdated)}) < 4:
            await whole.read()
        assert {row.conversation_id for row in await inbox(whole)} == {mine.conversation_id, foreign.conversation_id}
        refused = []
        for client_id in (other.id, 999_999):
            await hers.send(InboxWatch(client_id=client_id))
            refused.append(await hers.next(OperatorError))
        assert refused[0] == refused[1] and refused[0].code == "not_found"


async def test_who_is_there(two: Desk) -> None:
    """A visitor's tabs and the operators who watch, on whichever instance they are."""
    shop = await two.shop()
    ana, ben = await staff_of(two, shop, name="Ana"), await staff_of(two, shop, name="Ben")
    async with two.visit(shop) as (tab, welcome), console(ana, on=1) as hers:
        at = welcome.conversation_id
        await hers.watch(at)
        await hers.next(Presence, lambda frame: frame.visitor_online is True)
        async with console(ben) as his:
            await his.watch(at)
            both = await hers.next(Presence, lambda frame: len(frame.operators) == 2)
            assert [each.name for each in both.operators] == ["Ana", "Ben"]
            await his.next(Presence, lambda frame: frame.visitor_online is True and len(frame.operators) == 2)
        await hers.next(Presence, lambda frame: len(frame.operators) == 1)
        await tab.settle()
        tab.cut()
        await hers.next(Presence, lambda frame: frame.visitor_online is False)
        async with two.visit(shop, proof=welcome.session) as (again, _):
            await hers.next(Presence, lambda frame: frame.visitor_online is True)
            await again.settle()


async def test_a_visitor_who_types_alone_sends_nothing(two: Desk) -> None:
    """Where no operator watches, typing does not leave the instance."""
    shop = await two.shop()
    async with two.visit(shop) as (tab, welcome), redis.asyncio.Redis.from_url(two.settings.redis_url) as cache:
        heard = cache.pubsub()
        await heard.subscribe(channels.operators(welcome.conversation_id))
        assert (await heard.get_message(timeout=5.0) or {})["type"] == "subscribe"
        await tab.send(TypingSet(on=True))
        await tab.say("Hello")
        await tab.end()
        # The turn's trace is the first that anybody there would hear.
        message = await heard.get_message(timeout=5.0)
        assert message is not None and b"turn.trace" in message["data"]
        await heard.aclose()  # type: ignore[no-untyped-call]  # redis-py leaves it untyped


async def test_a_slow_operator_is_brought_up_to_date(two: Desk) -> None:
    """Who does not read loses what is live; every event comes once they read again, each once and in order."""
    shop = await two.shop()
    sign = await staff_of(two, shop)
    async with (
        two.visit(shop) as (tab, welcome),
        console(sign) as hers,
        redis.asyncio.Redis.from_url(two.settings.redis_url) as cache,
    ):
        at = welcome.conversation_id
        await hers.watch(at)
        await hers.sees(at, Snapshot)
        live = codec.encode(
            ToolTrace(conversation_id=at, turn_id="trn_x", call_id="call_x", name="x", arguments={"x": "x" * 4_000})
        )
        behind = await _behind(two)
        while await _behind(two) == behind:
            async with cache.pipeline(transaction=False) as pipeline:
                # Few at a time: what is on its way must not fill the queue a second time.
                for _ in range(10):
                    pipeline.publish(channels.operators(at), b"ins_other 0 " + live)
                await pipeline.execute()
        await tab.say("While nobody reads")
        await tab.end()
        await hers.sees(at, MessageCreated)
        await tab.say("And after")
        await tab.end()
        while len(hers.of_conversation[at].events()) < 6:
            await hers.read()
        assert hers.of_conversation[at].events() == tab.events()


async def _behind(desk: Desk) -> float:
    """How many queues this process has dropped."""
    text = (await desk.http.get(f"{desk.url}/metrics")).text
    [line] = [line for line in text.splitlines() if line.startswith("frontdesk_sockets_behind_total ")]
    return float(line.split()[1])


async def test_the_inbox_without_redis(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of the other instance are read instead of heard; once more when Redis is back, and live from then on."""
    monkeypatch.setattr(operator, "STILL_S", 0.2)
    async with redis_behind_a_cable(settings, tmp_path, instances=2) as (desk, cable):
        shop = await desk.shop()
        sign = await staff_of(desk, shop)
        async with desk.visit(shop) as (tab, welcome), console(sign, on=1) as hers:
            assert await inbox(hers) == []
            await hers.watch(welcome.conversation_id)
            await cable.cut()
            await tab.say("Hello")
            await tab.end()

            def answered(frame: InboxPage) -> bool:
                return [row.preview for row in frame.rows] == ["You said: Hello"]

            await hers.next(InboxPage, answered)
            await cable.mend()
            assert (await hers.take(welcome.conversation_id)) is not None
            await tab.next(OwnerChanged)
            await hers.next(InboxPage, lambda frame: frame.rows[0].owner == "human")


async def test_a_glance_is_not_told_and_becomes_a_whole_watch(two: Desk, model: WireServer) -> None:
    """Who glances hears the visitor's frames; others hear of them while they watch, and no longer."""
    shop = await two.shop()
    ana, ben = await staff_of(two, shop, name="Ana"), await staff_of(two, shop, name="Ben")
    async with two.visit(shop) as (tab, welcome), console(ana) as hers, console(ben, on=1) as his:
        at = welcome.conversation_id
        await tab.say("Hello")
        await tab.end()
        await his.send(ConversationWatch(conversation_id=at, glance=True))
        await his.sees(at, Snapshot)
        await hers.watch(at)
        await hers.next(Presence, lambda frame: frame.visitor_online is True)
        await hers.settle()
        assert all([each.name for each in frame.operators] == ["Ana"] for frame in hers.of(Presence))
        await his.settle()
        assert not his.of(Presence)
        await his.send(ConversationWatch(conversation_id=at))
        await hers.next(Presence, lambda frame: len(frame.operators) == 2)
        await his.send(ConversationWatch(conversation_id=at, glance=True))
        await hers.next(Presence, lambda frame: len(frame.operators) == 1)
