"""The resume protocol of the real server as a state machine: Hypothesis cuts, resumes, repeats, stops and floods.

Over real sockets, on two instances. After every step each tab shows what a tab shows that has just been opened.
"""

import asyncio
import copy
import itertools
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, TypeVar

import pytest
import redis.asyncio
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from websockets.exceptions import ConnectionClosed

from server.journal import REPLAY_BYTES, REPLAY_EVENTS
from server.protocol.close import Close
from server.protocol.visitor import (
    Ack,
    Durable,
    MessageSend,
    Nack,
    SessionProof,
    Snapshot,
    ToVisitor,
    TurnStop,
    Welcome,
)
from server.repositories import conversations, events
from server.repositories.events import NewEvent
from server.repositories.pool import unit_of_work
from server.turns import intake
from server.ws import admission
from tests.flows.peer import PATIENCE_S
from tests.flows.support import Desk, Shop, Tab, new_cid
from tests.flows.view import View
from tests.wire_servers import Answer, Received, WireServer

T = TypeVar("T")

# How a question wants to be answered.
KINDS = ("quick", "slow", "endless")
# Where a tab says that it stands when it comes back.
STANDS = ("there", "earlier", "future", "foreign", "nowhere")
# Seconds that a running answer may differ between two tabs: Redis was gone for 0.1 s, or a moment passed.
SAME_WITHIN_S = 10.0
SEATS = st.integers(0, 1)
INSTANCES = st.integers(0, 1)


def answer(request: Received) -> Answer:
    kind, _, rest = request.question.partition(" ")
    text = f"About {rest}: " + "one שתיים three 🙂 five six seven. " * 3
    match kind:
        case "slow":
            return Answer(text, tokens_per_s=150)
        case "endless":
            return Answer(text, tokens_per_s=300, stall_after=9)
        case _:
            return Answer(text)


class Page(View):
    """A view that passes over what it has seen: who says hello on an open socket may be told an event twice."""

    def apply(self, frame: ToVisitor) -> None:
        if not isinstance(frame, Durable) or frame.seq > self.seq:
            super().apply(frame)


class Seat:
    """Where a visitor sits: one tab now and then. `view` is what it shows, `payloads` the events it was sent by seq."""

    def __init__(self) -> None:
        self.view: View = Page()
        self.tab: Tab | None = None
        self.payloads: dict[int, bytes] = {}
        # What it showed when it was cut off: a page may have been frozen then, and wake up now.
        self.earlier: list[View] = []
        self.stack = AsyncExitStack()


class Resume(RuleBasedStateMachine):
    """One conversation. Set `desk`, `shop` and `loop` on the class before it runs."""

    desk: Desk
    shop: Shop
    loop: asyncio.AbstractEventLoop

    def __init__(self) -> None:
        super().__init__()
        self.seats = [Seat(), Seat()]
        self.sent: dict[str, str] = {}
        self.acked: dict[str, int] = {}

    def do(self, work: Awaitable[T]) -> T:
        """Runs in the loop of the installation's tests, which is not this thread's."""

        async def patiently() -> T:
            async with asyncio.timeout(PATIENCE_S):
                return await work

        return asyncio.run_coroutine_threadsafe(patiently(), self.loop).result()

    # --- rules

    @initialize(on=INSTANCES, other=INSTANCES, kind=st.sampled_from(KINDS))
    def begin(self, on: int, other: int, kind: str) -> None:
        self.do(self._begin(on, other, kind))

    async def _begin(self, on: int, other: int, kind: str) -> None:
        self.proof: SessionProof | None = None
        welcome = await self._open(self.seats[0], on)
        self.proof, self.epoch = welcome.session, welcome.epoch
        [(self.client_id, self.conversation_id)] = await self.desk.rows(
            "select client_id, id from conversations where public_id = %s", welcome.conversation_id
        )
        await self._open(self.seats[1], other)
        await self._in_tab(self.seats[0], lambda tab: self._say(tab, kind))

    @rule(seat=SEATS, kind=st.sampled_from(KINDS))
    def say(self, seat: int, kind: str) -> None:
        self.do(self._in_tab(self.seats[seat], lambda tab: self._say(tab, kind)))

    async def _say(self, tab: Tab, kind: str) -> None:
        await self._taken(tab, await self._send(tab, kind))

    @rule(seat=SEATS, kind=st.sampled_from(KINDS), on=INSTANCES, through=st.booleans())
    def say_and_be_cut_off(self, seat: int, kind: str, on: int, through: bool) -> None:
        """Before the ack is read. `through`: the message is stored by then; else it may be or not."""
        self.do(
            self._in_tab(
                self.seats[seat], lambda tab: self._say_and_be_cut_off(self.seats[seat], tab, kind, on, through)
            )
        )

    async def _say_and_be_cut_off(self, seat: Seat, tab: Tab, kind: str, on: int, through: bool) -> None:
        cid = await self._send(tab, kind)
        while through and not await self._stored([cid]):
            pass
        await self._cut(seat)
        await self._open(seat, on, epoch=self.epoch, last_seq=seat.view.seq)

    async def _send(self, tab: Tab, kind: str) -> str:
        cid = new_cid()
        self.sent[cid] = f"{kind} {cid}"
        await tab.send(MessageSend(cid=cid, text=self.sent[cid]))
        return cid

    @precondition(lambda self: self.sent)
    @rule(seat=SEATS, data=st.data())
    def say_again(self, seat: int, data: st.DataObject) -> None:
        cid = data.draw(st.sampled_from(sorted(self.sent)))
        self.do(self._in_tab(self.seats[seat], lambda tab: self._say_again(tab, cid)))

    async def _say_again(self, tab: Tab, cid: str) -> None:
        await tab.send(MessageSend(cid=cid, text=self.sent[cid]))
        await self._taken(tab, cid)

    @precondition(lambda self: self.acked)
    @rule(seat=SEATS, data=st.data())
    def say_something_else(self, seat: int, data: st.DataObject) -> None:
        cid = data.draw(st.sampled_from(sorted(self.acked)))
        self.do(self._in_tab(self.seats[seat], lambda tab: self._say_something_else(tab, cid)))

    async def _say_something_else(self, tab: Tab, cid: str) -> None:
        await tab.send(MessageSend(cid=cid, text="something else"))
        refusal = await tab.next(Nack, lambda nack: nack.cid == cid)
        assert refusal.code == "cid_reused"

    @rule(seat=SEATS)
    def cut(self, seat: int) -> None:
        self.do(self._cut(self.seats[seat]))

    @rule(
        seat=SEATS, on=INSTANCES, stands=st.sampled_from(STANDS), ahead=st.integers(1, 10**6), pick=st.integers(0, 100)
    )
    def come_back(self, seat: int, on: int, stands: str, ahead: int, pick: int) -> None:
        self.do(self._come_back(self.seats[seat], on, stands, ahead, pick))

    async def _come_back(self, seat: Seat, on: int, stands: str, ahead: int, pick: int) -> None:
        await self._cut(seat)
        if stands == "earlier" and seat.earlier:
            seat.view = copy.deepcopy(seat.earlier[pick % len(seat.earlier)])
        where: dict[str, Any] = {"epoch": self.epoch, "last_seq": seat.view.seq}
        head = await self._head()
        match stands:
            case "future":
                where["last_seq"] = head + ahead
            case "foreign":
                where["epoch"] = "elsewhere"
            case "nowhere":
                where = {}
        stood = seat.view.seq
        behind = await self._behind(stood)
        welcome = await self._open(seat, on, **where)
        now_behind = await self._behind(stood)
        assert welcome.epoch == self.epoch and welcome.head_seq >= head
        if stands not in {"there", "earlier"}:
            assert not welcome.resumed
        elif welcome.resumed != _fits(behind):
            # Only where an answer that runs has written more in between.
            assert not welcome.resumed and not _fits(now_behind)

    @rule(seat=SEATS)
    def hello_again(self, seat: int) -> None:
        self.do(self._in_tab(self.seats[seat], lambda tab: self._hello_again(self.seats[seat], tab)))

    async def _hello_again(self, seat: Seat, tab: Tab) -> None:
        welcome = await tab.hello(proof=self.proof, epoch=self.epoch, last_seq=seat.view.seq)
        assert welcome.session.id == (self.proof.id if self.proof else "")

    @rule(seat=SEATS)
    def stop(self, seat: int) -> None:
        self.do(self._in_tab(self.seats[seat], lambda tab: self._stop(self.seats[seat], tab)))

    async def _stop(self, seat: Seat, tab: Tab) -> None:
        for turn_id in list(seat.view.live):
            await tab.send(TurnStop(turn_id=turn_id))
        await tab.settle()

    @rule()
    def redis_hangs_up(self) -> None:
        self.do(self._redis_hangs_up())

    async def _redis_hangs_up(self) -> None:
        async with redis.asyncio.Redis.from_url(self.desk.settings.redis_url) as cache:
            await cache.client_kill_filter(_type="pubsub")

    @rule(much=st.sampled_from((1, 5, REPLAY_EVENTS + 1)), pad=st.sampled_from((0, 0, 60_000)))
    def events_nobody_published(self, much: int, pad: int) -> None:
        """As of a process that died between its commit and its publishing."""
        self.do(self._write(min(much, 5) if pad else much, pad))

    async def _write(self, much: int, pad: int) -> None:
        async with unit_of_work(self.desk.pool) as conn:
            lock = await conversations.lock(conn, client_id=self.client_id, conversation_id=self.conversation_id)
            row = await lock.fetchone()
            assert row is not None
            head = row.last_seq
            text = '{"type":"feedback.recorded","seq":%d,"message_id":"m","rating":"up","pad":"%s"}'
            written = [
                NewEvent(seq, "feedback.recorded", (text % (seq, "x" * pad)).encode(), None, None)
                for seq in range(head + 1, head + much + 1)
            ]
            await events.append(conn, client_id=self.client_id, conversation_id=self.conversation_id, events=written)
            await conversations.advance(
                conn,
                client_id=self.client_id,
                conversation_id=self.conversation_id,
                last_seq=head + much,
                messages_added=0,
            )

    # --- what holds after every step

    @invariant()
    def every_tab_shows_what_a_fresh_one_shows(self) -> None:
        if hasattr(self, "epoch"):
            self.do(self._same())

    @invariant()
    def the_journal_is_whole(self) -> None:
        if hasattr(self, "epoch"):
            self.do(self._whole())

    def teardown(self) -> None:
        try:
            if hasattr(self, "epoch"):
                self.do(self._end())
        finally:
            for seat in self.seats:
                self.do(seat.stack.aclose())

    async def _same(self) -> None:
        for seat in self.seats:
            until = time.monotonic() + SAME_WITHIN_S
            # While an answer runs the two are not asked in the same moment: once more.
            while not await self._shows_the_same(seat):
                assert time.monotonic() < until, "a tab stays behind what a fresh one shows"

    async def _shows_the_same(self, seat: Seat) -> bool:
        await self._online(seat, self._up_to_date)
        if seat.tab is None:
            return True
        return self._is_like(seat.view, await self._fresh(next(_turns) % 2))

    async def _up_to_date(self, tab: Tab) -> None:
        head = await self._head()
        # The pong tells the server too that this tab is behind, if it is.
        await tab.settle()
        while tab.view.seq < head:
            await tab.read()

    async def _fresh(self, on: int) -> View:
        async with self.desk.visit(self.shop, on=on, proof=self.proof) as (fresh, welcome):
            await fresh.next(Snapshot)
            assert not welcome.resumed
            return fresh.view

    @staticmethod
    def _is_like(view: View, fresh: View) -> bool:
        """Whether they show the same. False where one is a moment ahead; what contradicts the other is an error."""
        if fresh.seq != view.seq:
            return False
        assert list(view.texts.items())[-len(fresh.texts) :] == list(fresh.texts.items())
        for turn_id in view.live.keys() & fresh.live.keys():
            (gen, n, text), (its_gen, its_n, its_text) = view.live[turn_id], fresh.live[turn_id]
            assert gen != its_gen or text.startswith(its_text) or its_text.startswith(text)
            assert (gen, n) != (its_gen, its_n) or text == its_text
        return view.live == fresh.live

    async def _whole(self) -> None:
        found = await self.desk.rows(
            "select seq, convert_to(payload::text, 'UTF8') from events where conversation_id = %s order by seq",
            self.conversation_id,
        )
        assert [seq for seq, _ in found] == list(range(1, len(found) + 1))
        stored = {seq: bytes(payload) for seq, payload in found}
        for seat in self.seats:
            assert seat.payloads.items() <= stored.items(), "a tab was sent what the journal does not have"
        messages = await self.desk.rows(
            "select cid, content, seq from messages where conversation_id = %s and cid is not null",
            self.conversation_id,
        )
        by_cid = {cid: (text, seq) for cid, text, seq in messages}
        assert len(by_cid) == len(messages)
        for cid, (text, _) in by_cid.items():
            assert self.sent[cid] == text
        for cid, seq in self.acked.items():
            assert by_cid[cid] == (self.sent[cid], seq)

    async def _end(self) -> None:
        """Every message that was stored is answered, or stopped for all to see."""
        seat = self.seats[0]
        if seat.tab is None:
            await self._open(seat, 0, epoch=self.epoch, last_seq=seat.view.seq)
        while await self.desk.rows(
            "select id from turns where conversation_id = %s and status in ('queued', 'running')", self.conversation_id
        ):
            await self._online(seat, lambda tab: self._stop(seat, tab))
            if seat.tab is None:
                await self._open(seat, 0, epoch=self.epoch, last_seq=seat.view.seq)
        await self._same()
        await self._whole()
        [(asked, ended)] = await self.desk.rows(
            """
            select (select count(*) from messages where conversation_id = %s and role = 'user'),
                   (select count(*) from events where conversation_id = %s
                    and type in ('message.completed', 'turn.stopped', 'turn.failed'))
            """,
            self.conversation_id,
            self.conversation_id,
        )
        assert asked == ended

    # --- tabs

    async def _open(self, seat: Seat, on: int, **where: Any) -> Welcome:
        """A new tab for this seat. What it has not been told the fate of, it asks for, and says again."""
        waiting = [cid for cid in self.sent if cid not in self.acked]
        stored = await self._stored(waiting)
        tab, welcome = await seat.stack.enter_async_context(
            self.desk.visit(self.shop, on=on, view=seat.view, proof=self.proof, pending=waiting, **where)
        )
        seat.tab = tab
        assert set(welcome.pending) == set(waiting)
        for cid, seq in welcome.pending.items():
            # A message that was on its way when its tab was cut off may have come in between.
            assert seq == stored.get(cid) or cid not in stored
            if seq is None:
                await self._say_again(tab, cid)
            else:
                self.acked[cid] = seq
        await tab.settle()
        return welcome

    async def _in_tab(self, seat: Seat, work: Callable[[Tab], Awaitable[None]]) -> None:
        """Does this in the seat's tab, which comes back for it if it must."""
        if seat.tab is None:
            await self._open(seat, next(_turns) % 2, epoch=self.epoch, last_seq=seat.view.seq)
        await self._online(seat, work)

    async def _online(self, seat: Seat, work: Callable[[Tab], Awaitable[None]]) -> None:
        """Does this in the seat's tab, if it has one. The server may close it where the tab is too far behind."""
        if seat.tab is None:
            return
        try:
            await work(seat.tab)
        except ConnectionClosed as gone:
            assert gone.rcvd is not None and gone.rcvd.code == Close.GAP, gone
            await self._cut(seat)
        else:
            self._keep(seat)

    async def _taken(self, tab: Tab, cid: str) -> None:
        """Reads on to the ack."""
        ack = await tab.next(Ack, lambda ack: ack.cid == cid)
        assert self.acked.setdefault(cid, ack.seq) == ack.seq

    def _keep(self, seat: Seat) -> None:
        """Remembers what the tab was sent, byte by byte."""
        tab = seat.tab
        if tab is None:
            return
        for frame, payload in zip(tab.frames, tab.payloads, strict=True):
            if isinstance(frame, Durable):
                assert seat.payloads.setdefault(frame.seq, payload) == payload
        tab.frames.clear()
        tab.payloads.clear()

    async def _cut(self, seat: Seat) -> None:
        if seat.tab is None:
            return
        self._keep(seat)
        seat.earlier.append(copy.deepcopy(seat.view))
        seat.tab.cut()
        seat.tab = None
        await seat.stack.aclose()

    # --- the database

    async def _head(self) -> int:
        [(head,)] = await self.desk.rows("select last_seq from conversations where id = %s", self.conversation_id)
        return int(head)

    async def _behind(self, seq: int) -> tuple[int, int]:
        """How many events, and bytes of them, come after this one."""
        [(count, size)] = await self.desk.rows(
            """
            select count(*), coalesce(sum(octet_length(payload::text)), 0) from events
            where conversation_id = %s and seq > %s
            """,
            self.conversation_id,
            seq,
        )
        return int(count), int(size)

    async def _stored(self, cids: list[str]) -> dict[str, int]:
        rows = await self.desk.rows("select cid, seq from messages where cid = any(%s)", cids)
        return dict(rows)


_turns = itertools.count()


def _fits(behind: tuple[int, int]) -> bool:
    """Whether so many events, and bytes, are replayed."""
    count, size = behind
    return count <= REPLAY_EVENTS and size <= REPLAY_BYTES


async def test_any_life_of_a_conversation_looks_like_a_fresh_one(
    two: Desk, model: WireServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is done to the tabs and in whatever order: no event missing, none twice, no message taken twice."""
    # So much is said and opened that the limits of a minute would be what is tested.
    monkeypatch.setattr(intake, "VISITOR_MESSAGES", 1_000_000)
    monkeypatch.setattr(intake, "ADDRESS_REQUESTS", 1_000_000)
    monkeypatch.setattr(admission, "FRAMES_AT_ONCE", 1_000_000)
    await two.rows("update plans set requests_per_minute = 1000000")
    model.default = answer
    Resume.desk, Resume.shop, Resume.loop = two, await two.shop(), asyncio.get_running_loop()
    await asyncio.to_thread(
        run_state_machine_as_test,
        Resume,
        settings=settings(
            max_examples=20,
            stateful_step_count=30,
            # Not made smaller: what waits in vain takes its seconds each time, and answers do not run twice alike.
            phases=[Phase.generate],
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
