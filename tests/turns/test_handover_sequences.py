"""Any sequence, on any of two instances, of what two operators and a visitor can do about who answers.

The AI answers meanwhile, slowly enough that every action may meet an answer that runs. What must hold is read from the
events alone, as a visitor and an operator read them.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any, ClassVar, TypeVar

import msgspec
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from server.errors import Conflict
from server.protocol import codec
from server.protocol.parts import Owner
from server.protocol.visitor import (
    MessageCompleted,
    MessageCreated,
    MessageDelta,
    OwnerChanged,
    ToVisitor,
    TurnStarted,
    TurnStopped,
)
from server.repositories.operators import Operator
from server.services import Services, open_services
from server.settings import LlmSettings, Settings
from tests.support import MODEL, SECRET_KEYS, Listener, Shop, eventually, listening, new_shop, rows, visit
from tests.turns.staff import new_operator, owner
from tests.wire_servers import Answer, openai_server
from tests.wire_servers.steps import Received

# Fewer than a visitor may send in a minute.
MESSAGES = 16

T = TypeVar("T")
_numbers = itertools.count(1)
Action = tuple[str, int, int]

actions = st.tuples(
    st.sampled_from(["take", "release", "close", "reply", "request", "message"]),
    st.sampled_from([0, 1]),  # the operator
    st.sampled_from([0, 1]),  # the instance
)


def slowly(request: Received) -> Answer:
    """An answer of 30 words, which takes 0 to 0.2 s by the length of the question."""
    speed = len(request.question) % 3
    return Answer(
        tokens=tuple(f"w{number} " for number in range(30)),
        first_byte_after_s=0.02 * speed,
        tokens_per_s=200 if speed else None,
    )


class World:
    """Two instances, their model, a client with two operators; an event loop of their own."""

    def __init__(self, database_url: str, redis_url: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._stack = AsyncExitStack()
        self._urls = (database_url, redis_url)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(work)

    async def open(self) -> None:
        server = await self._stack.enter_async_context(openai_server())
        server.default = slowly
        llm = LlmSettings(provider="openai", model=MODEL, openai_api_key="sk-test", openai_base_url=server.url)
        settings = Settings(
            database_url=self._urls[0],
            redis_url=self._urls[1],
            secret_keys=SECRET_KEYS,
            allow_private_egress=(),
            llm=llm,
        )
        self.instances: list[Services] = [
            await self._stack.enter_async_context(open_services(settings)) for _ in range(2)
        ]
        self.shop: Shop = await new_shop(self.instances[0], plan_type="pro")
        self.operators: list[Operator] = [await new_operator(self.instances[0], name) for name in ("Olga", "Piet")]

    def close(self) -> None:
        self.run(self._stack.aclose())
        self._loop.close()


class Story(msgspec.Struct):
    """What a conversation's events tell, checked as they are read."""

    owner: Owner = "ai"
    # The visitor's messages, by id in order, that nobody has answered and no person has put away.
    open: list[str] = []

    def read(self, frame: ToVisitor, asked: dict[str, str]) -> None:
        """`asked` says which message a turn is for."""
        match frame:
            case OwnerChanged():
                assert frame.owner != self.owner or frame.owner == "human", "a change changes something"
                self.owner = frame.owner
                assert (frame.operator is not None) == (frame.owner == "human")
                if frame.owner == "closed":
                    self.open.clear()
            case TurnStarted():
                assert self.owner == "ai", f"an answer began while the conversation was {self.owner}"
            case MessageCompleted():
                assert self.owner in {"ai", "queued"}, f"an answer ended while the conversation was {self.owner}"
                self._answered(asked[frame.turn_id])
            case MessageCreated(message=message):
                if message.role == "user":
                    assert self.owner != "closed", "a message opens a closed conversation before it comes"
                    self.open.append(message.id)
                else:
                    assert self.owner == "human"
                    self.open.clear()
            case _:
                pass

    def _answered(self, message_id: str) -> None:
        """The model reads what was said before, too."""
        if message_id in self.open:
            del self.open[: self.open.index(message_id) + 1]


class Sequences(RuleBasedStateMachine):
    """`world` is set by the test."""

    world: ClassVar[World]

    @initialize()
    def begin(self) -> None:
        self.sent = 0
        self.session = self.world.run(visit(self.world.instances[0], self.world.shop))
        self._stack = AsyncExitStack()
        self.listeners: list[Listener] = [
            self.world.run(self._stack.enter_async_context(listening(each, self.session)))
            for each in self.world.instances
        ]

    # --- what is done

    @rule(action=actions)
    def one(self, action: Action) -> None:
        """Alone, it succeeds or is refused exactly as the owner before says."""
        before, holder = self.world.run(owner(self.world.instances[0], self.session))
        operator = self.world.operators[action[1]]
        mine = before == "human" and holder == operator.id
        [outcome] = self.world.run(self._together([action]))
        refused = {
            "take": before == "human" and not mine,
            "release": before == "closed" or (before == "human" and not mine),
            "close": before == "human" and not mine,
            "reply": not mine,
        }.get(action[0], False)
        assert isinstance(outcome, Conflict) == refused, (action, before, holder, outcome)
        after = self.world.run(owner(self.world.instances[0], self.session))
        expected = {
            "take": ("human", operator.id),
            "release": ("ai", None),
            "close": ("closed", None),
            "request": ("queued", None) if before in {"ai", "closed"} else (before, holder),
            "message": ("ai", None) if before == "closed" else (before, holder),
        }
        assert after == ((before, holder) if refused else expected.get(action[0], (before, holder)))

    @rule(together=st.lists(actions, min_size=2, max_size=4))
    def at_once(self, together: list[Action]) -> None:
        """Together, each succeeds or is refused; what came of it is read from the events."""
        self.world.run(self._together(together))

    @rule()
    def a_word(self) -> None:
        """An answer that runs goes on: what comes next meets it mid-word."""
        self.world.run(self._next_word())

    @rule()
    def a_moment(self) -> None:
        """Answers end."""
        self.world.run(eventually(self._idle, "no turn is open"))

    async def _next_word(self) -> None:
        before = [len(listener.of(MessageDelta)) for listener in self.listeners]

        async def spoken() -> bool:
            now = [len(listener.of(MessageDelta)) for listener in self.listeners]
            return all(map(int.__lt__, before, now)) or await self._idle()

        await eventually(spoken, "a word, or nobody speaks")

    async def _together(self, chosen: list[Action]) -> list[BaseException | None]:
        results = await asyncio.gather(*(self._act(*action) for action in chosen), return_exceptions=True)
        for result in results:
            if result is not None and not isinstance(result, Conflict):
                raise result
        return results

    async def _act(self, name: str, who: int, where: int) -> None:
        services, operator, number = self.world.instances[where], self.world.operators[who], next(_numbers)
        handover, conversation = services.handover, self.session.conversation
        match name:
            case "reply":
                await handover.reply(operator, conversation, cid=f"c{number}", text=f"Reply {number}")
            case "request":
                await handover.request(self.session, reason=None)
            case "message":
                if self.sent < MESSAGES:
                    self.sent += 1
                    address = f"2001:db8::{self.session.conversation.id:x}"
                    await services.intake.accept(
                        self.session, cid=f"c{number}", text="?" * (1 + number % 3), address=address, channel="widget"
                    )
            case _:
                act: Callable[..., Awaitable[None]] = getattr(handover, name)
                await act(operator, conversation)

    # --- what must hold

    @invariant()
    @precondition(lambda self: hasattr(self, "session"))
    def events_tell_the_truth(self) -> None:
        """Without gaps; the owner they tell is the owner; under a person no turn is open."""
        story, open_turns, found = self.world.run(self._read())
        assert story.owner == found[0]
        assert (found[1] is not None) == (found[0] == "human"), "a person has it, or nobody"
        if found[0] in {"human", "closed"}:
            assert open_turns == 0, f"{open_turns} turns are open while the conversation is {found[0]}"

    def teardown(self) -> None:
        if not hasattr(self, "session"):
            return
        kind, holder = self.world.run(owner(self.world.instances[0], self.session))
        if kind in {"human", "queued"}:
            [who] = [at for at, each in enumerate(self.world.operators) if each.id == holder] or [0]
            self.world.run(self._act("release", who, 1))
        self.a_moment()
        story, _, _ = self.world.run(self._read())
        assert story.owner in {"ai", "closed"}
        assert story.open == [], "the AI has the conversation, and a visitor's message was never answered"
        self.world.run(eventually(self._heard, "both listeners heard all events"))
        for listener in self.listeners:
            stopped: set[str] = set()
            for frame in listener.frames:
                if isinstance(frame, TurnStopped):
                    stopped.add(frame.turn_id)
                    shown = "".join(
                        each.text
                        for each in listener.frames
                        if isinstance(each, MessageDelta) and each.turn_id == frame.turn_id
                    )
                    if frame.message is None:
                        assert not shown.strip()
                    else:
                        assert frame.message.text == shown
                elif isinstance(frame, MessageDelta):
                    assert frame.turn_id not in stopped, "a piece came after its answer had ended"
        self.world.run(self._stack.aclose())

    async def _read(self) -> tuple[Story, int, tuple[str, int | None]]:
        services, conversation_id = self.world.instances[0], self.session.conversation.id
        # One statement, so that all is of one moment.
        [(payloads, asked, open_turns, kind, holder, last_seq)] = await rows(
            services,
            """
            select coalesce((select json_agg(json_build_array(e.seq, e.payload::text) order by e.seq) from events e
                             where e.conversation_id = c.id), '[]'),
                   coalesce((select json_object_agg(t.public_id, m.public_id) from turns t
                             join messages m on m.id = t.message_id where t.conversation_id = c.id), '{}'),
                   (select count(*) from turns t
                    where t.conversation_id = c.id and t.status in ('queued', 'running')),
                   c.owner, c.owner_operator_id, c.last_seq
            from conversations c where c.id = %s
            """,
            conversation_id,
        )
        assert [seq for seq, _ in payloads] == list(range(1, last_seq + 1)), "events have no gaps"
        story = Story()
        for _, payload in payloads:
            story.read(codec.decode_to_visitor(payload), asked)
        return story, open_turns, (kind, holder)

    async def _idle(self) -> bool:
        query = "select count(*) from turns where conversation_id = %s and status in ('queued', 'running')"
        return await rows(self.world.instances[0], query, self.session.conversation.id) == [(0,)]

    async def _heard(self) -> bool:
        query = "select last_seq from conversations where id = %s"
        [(last_seq,)] = await rows(self.world.instances[0], query, self.session.conversation.id)
        return all(max((seq for seq, _ in listener.payloads), default=0) == last_seq for listener in self.listeners)


def test_any_sequence(database_url: str, redis_url: str) -> None:
    """One holder at most; events without gaps; no answer begins or ends under a person; every message of the visitor is
    answered, or a person has it or is called; what a stop keeps is what was shown."""
    world = World(database_url, redis_url)
    world.run(world.open())
    try:
        Sequences.world = world
        run_state_machine_as_test(
            Sequences, settings=hypothesis_settings(max_examples=25, stateful_step_count=12, deadline=None)
        )
    finally:
        world.close()
