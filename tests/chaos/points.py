"""Named points at which an instance kills itself, as `kill -9` would, just there.

    await instance.start(install=["tests.chaos.points:at=before_commit:message.completed"])

The production code knows nothing of it: in the forked child, before it serves, functions are wrapped. A point fires
only for conversations whose message this process accepted, so that an armed instance which takes over another one's
turn stays alive until its own comes.

    before_ack, after_ack               around the frame that acknowledges
    before_commit:<event>               the transaction that writes such an event is complete, and not committed
    before_publish:<event>              committed, and nobody was told
    after_publish:<event>               committed and told (the bus may not have sent it yet)
    before_call, after_call             around a tool's call: recorded as started and not made; made and not recorded
    mid_answer                          with the third delta of the answer
"""

import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

import server.app
import server.cli.run
from server.access import Session
from server.fanout import channels
from server.fanout.hub import Hub
from server.journal import Entry, Journal
from server.tools.runner import Runner
from server.tools.tool import Call, Outcome, Tool
from server.turns.intake import Accepted, Intake

# Events whose transactions, publications and what is between them are points: acceptance, a step and the start of its
# calls, the end of a call, the end of the turn.
EVENTS = ("message.created", "tool.started", "tool.finished", "message.completed")
PLAIN = (
    "before_ack",
    "after_ack",
    *(
        f"{when}:{event}"
        for event in (EVENTS[0], EVENTS[3])
        for when in ("before_commit", "before_publish", "after_publish")
    ),
    "mid_answer",
)
"""Points that every answer passes."""
OF_TOOLS = (
    *(f"{when}:{event}" for event in EVENTS[1:3] for when in ("before_commit", "before_publish", "after_publish")),
    "before_call",
    "after_call",
)
"""Points that an answer with a tool passes."""

# The delta at which `mid_answer` fires.
_NTH_DELTA = 3


class _Armed:
    """What this process has accepted: ids and channels of its conversations."""

    def __init__(self) -> None:
        self.ids: set[int] = set()
        self.channels: set[str] = set()

    def take(self, session: Session) -> None:
        self.ids.add(session.conversation.id)
        self.channels.add(channels.conversation(session.conversation.public_id))


def at(point: str) -> None:
    """Makes this process end at the point, once it gets there. Raises ValueError when there is no such point."""
    if point not in {*PLAIN, *OF_TOOLS}:
        raise ValueError(f"no point {point}; there are {', '.join((*PLAIN, *OF_TOOLS))}")
    armed = _Armed()
    _arm(armed)
    when, _, event = point.partition(":")
    match when:
        case "before_ack" | "after_ack":
            _around_acks(before=when == "before_ack")
        case "before_commit":
            _before_commits(armed, event)
        case "before_publish" | "after_publish":
            _around_publications(armed, f'{{"type":"{event}"'.encode(), nth=1, before=when == "before_publish")
        case "before_call" | "after_call":
            _around_calls(armed, before=when == "before_call")
        case "mid_answer":
            _around_publications(armed, b'{"type":"message.delta"', nth=_NTH_DELTA, before=False)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _arm(armed: _Armed) -> None:
    accept = Intake.accept

    async def accepting(self: Intake, session: Session, **said: Any) -> Accepted:
        armed.take(session)
        return await accept(self, session, **said)

    replace(Intake, "accept", accepting)


def _before_commits(armed: _Armed, event: str) -> None:
    write = Journal.write

    @asynccontextmanager
    async def writing(self: Journal, *, client_id: int, conversation_id: int) -> AsyncIterator[Entry]:
        async with write(self, client_id=client_id, conversation_id=conversation_id) as entry:
            flush = entry.flush

            async def flushed() -> Any:
                events = await flush()
                if conversation_id in armed.ids and any(each.type == event for each in events):
                    # Sent, so that Postgres has all of it but the COMMIT.
                    await (await entry.conn.execute("select 1")).fetchone()
                    _die()
                return events

            entry.flush = flushed  # type: ignore[method-assign]  # this one entry's
            yield entry

    replace(Journal, "write", writing)


def _around_publications(armed: _Armed, begin: bytes, *, nth: int, before: bool) -> None:
    publish = Hub.publish
    seen = 0

    def publishing(self: Hub, channel: str, seq: int, payload: bytes) -> None:
        nonlocal seen
        ours = channel in armed.channels and payload.startswith(begin)
        seen += ours
        if ours and before and seen == nth:
            _die()
        publish(self, channel, seq, payload)
        if ours and seen == nth:
            _die()

    replace(Hub, "publish", publishing)


def _around_calls(armed: _Armed, *, before: bool) -> None:
    run = Runner.run

    async def running(self: Runner, tool: Tool, call: Call) -> tuple[Outcome, int]:
        ours = channels.conversation(call.caller.conversation_id) in armed.channels
        if ours and before:
            _die()
        outcome = await run(self, tool, call)
        if ours:
            _die()
        return outcome

    replace(Runner, "run", running)


def _around_acks(*, before: bool) -> None:
    """Where frames leave the application: what is sent after an ack's `send` has left the process."""

    def create(*args: Any, **kwargs: Any) -> ASGIApp:
        app = made(*args, **kwargs)

        async def asgi(scope: Scope, receive: Receive, send: Send) -> None:
            async def sending(message: Message) -> None:
                text = message.get("text") or (message.get("bytes") or b"").decode(errors="replace")
                ack = message["type"] == "websocket.send" and text.startswith('{"type":"ack"')
                if ack and before:
                    _die()
                await send(message)
                if ack:
                    _die()

            await app(scope, receive, sending)

        return asgi

    made: Callable[..., ASGIApp] = server.app.create_app
    replace(server.app, "create_app", create)


def replace(owner: object, name: str, function: object) -> None:
    """Only what is there can be wrapped: a renamed function must not make a point that never fires."""
    if not hasattr(owner, name):
        raise AttributeError(f"{owner} has no {name}: tell tests/chaos/points.py what it is called now")
    setattr(owner, name, function)
