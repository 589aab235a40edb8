"""Results that come later: a long tool answers 202 and posts its progress and its result to a signed address.

The address names the call and proves that we made it; the body is signed with the tool's secret, so that an address
that leaked is worth nothing. A callback may reach any instance. Its result stands in `tool_executions` before it is
acknowledged; the instance that waits is woken by a signal, and looks each second by itself, as Redis may be away.

Exactly one end counts. Whoever ends a call, a callback or the waiter whose time is over, holds the turn's row while it
looks and writes: a callback that was acknowledged is always what the waiter returns, and after the waiter has given up
every callback is too late.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Literal

import msgspec

from server import log
from server.errors import Conflict, Gone, Invalid, Malformed, Unauthorized, Unavailable
from server.fanout import channels
from server.fanout.hub import Hub
from server.fanout.signals import Signals
from server.net import webhooks
from server.net.signing import Keyring
from server.net.vault import SIGNING_SECRET, Vault
from server.protocol import codec
from server.protocol.base import Wire
from server.protocol.visitor import ToolProgress
from server.repositories import client_tools, tool_executions, turn_leases, turns
from server.repositories.pool import Conn, Pool, reading, unit_of_work
from server.repositories.tool_executions import ToolExecution
from server.tools import result
from server.tools.tool import Call, Outcome
from server.tools.webhook import answer
from server.tools.webhook.ticket import Ticket, Tickets

logger = log.get("tools")

PATH = "/api/v1/tools/callbacks/"
# Bytes of a callback's body: as much as of an answer.
BODY_BYTES = 1_048_576
# Characters of a progress text that a visitor sees; more is cut.
PROGRESS_CHARACTERS = 200
# Progress texts a second that are shown of one call, on one instance; more are dropped, nobody could read them.
PROGRESS_A_SECOND = 5
# Calls whose progress is counted at once; the oldest go first. 100 bytes each.
COUNTED = 5_000
# Seconds between two looks of a waiter that got no signal.
LOOK_S = 1.0
ERROR_CHARACTERS = 10_000
NO_END = "no result was called back in time"


class ToolCallback(Wire, frozen=True):
    """`progress` with `text`, any number of times, then once `result` with `result` or `error` with `error`."""

    type: Literal["progress", "result", "error"]
    text: str | None = None
    result: Any = None
    error: Any = None


class ToolCallbackTaken(Wire, frozen=True):
    """`dropped`: progress that came too fast to be shown."""

    status: Literal["shown", "dropped", "finished"]


class ToolSaid(msgspec.Struct, frozen=True, tag_field="type", tag="tool.said"):
    """Said on the control channel: a long tool's words about its work, which visitors have been shown."""

    key: str
    text: str


class Callbacks:
    """Makes addresses, takes what is posted there, and waits for it. Shared by all turns of an instance."""

    def __init__(
        self,
        pool: Pool,
        signals: Signals,
        hub: Hub,
        vault: Vault,
        keyring: Keyring,
        *,
        public_url: str | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pool = pool
        self._signals = signals
        self._hub = hub
        self._vault = vault
        self._tickets = Tickets(keyring)
        self._clock = clock
        self._base = None if public_url is None else public_url.rstrip("/") + PATH
        self._shown: OrderedDict[str, tuple[int, int]] = OrderedDict()

    @property
    def available(self) -> bool:
        """Whether anybody can call back: the deployment's own address is known."""
        return self._base is not None

    def url(self, call: Call, *, expires_at: datetime) -> str | None:
        """Where the call's progress and result may be posted until then; None when nobody can call back."""
        if self._base is None:
            return None
        caller = call.caller
        ticket = Ticket(
            client_id=caller.client_id,
            turn_row=caller.turn_row,
            turn_id=caller.turn_id,
            conversation_id=caller.conversation_id,
            key=call.key,
            tool=call.tool,
            sent_ms=time.time_ns() // 1_000_000,
            expires_s=-int(-expires_at.timestamp() // 1),
        )
        return self._base + self._tickets.token(ticket)

    def ticket(self, token: str) -> Ticket:
        """What a token stands for. Raises Unauthorized when it is not ours, Gone when its time is over."""
        ticket = self._tickets.read(token)
        if ticket.expires_s < time.time():
            raise _too_late()
        return ticket

    async def receive(self, ticket: Ticket, headers: Mapping[str, str], body: bytes) -> ToolCallbackTaken:
        """Takes one callback; a result is committed before this returns.

        Raises Unauthorized (signature), Malformed, Invalid, Conflict `already_finished`, Gone, Unavailable.
        """
        await self._check_signature(ticket, headers, body)
        said = _decoded(body)
        match said.type:
            case "progress":
                return await self._progress(ticket, said.text)
            case "result":
                value = answer.unwrapped(said.result)
                await self._finish(ticket, value, answer.verdict(value))
            case "error":
                await self._finish(
                    ticket, None, answer.verdict({"error": said.error}) or "the tool said only that it failed"
                )
        return ToolCallbackTaken(status="finished")

    async def wait(self, call: Call, *, timeout_s: float) -> Outcome | None:
        """How the call ended. None when nobody said so in time: from then on every callback is too late."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + timeout_s
        with self._signals.listening(call.key) as signal:
            while (left := deadline - clock()) > 0:
                signal.clear()
                try:
                    row = await self._row(call)
                except Unavailable as error:
                    # Whoever calls back now is not acknowledged either, and comes again.
                    logger.warning("callback not looked for", call=call.key, reason=error.message)
                    row = None
                if row is not None and row.success is not None:
                    return _outcome(row)
                try:
                    async with asyncio.timeout(min(left, LOOK_S)):
                        await signal.wait()
                except TimeoutError:
                    continue
        return await self._close(call)

    async def _row(self, call: Call) -> ToolExecution | None:
        caller = call.caller
        async with reading(self._pool) as conn:
            return await tool_executions.find_call(
                conn, client_id=caller.client_id, turn_id=caller.turn_row, call_id=call.key
            )

    async def _close(self, call: Call) -> Outcome | None:
        """The end that came at the last moment, or none, and none from now on."""
        caller = call.caller
        where: dict[str, Any] = {"client_id": caller.client_id, "turn_id": caller.turn_row, "call_id": call.key}
        try:
            async with unit_of_work(self._pool) as conn:
                held = await _hold(conn, client_id=caller.client_id, turn_id=caller.turn_id)
                row = await tool_executions.find_call(conn, **where)
                # Started again by somebody who took the turn over: theirs to end.
                if held and row is not None and row.success is None and row.attempt <= call.attempt:
                    await tool_executions.finish(
                        conn,
                        **where,
                        success=None,
                        error=row.error or NO_END,
                        execution_time_ms=_ms_since(row.timestamp),
                    )
        except Unavailable as error:
            logger.warning("call not closed for callbacks", call=call.key, reason=error.message)
            return None
        return None if row is None or row.success is None else _outcome(row)

    async def _check_signature(self, ticket: Ticket, headers: Mapping[str, str], body: bytes) -> None:
        async with reading(self._pool) as conn:
            tool = await client_tools.find_by_name(conn, client_id=ticket.client_id, tool_name=ticket.tool)
        if tool is None or tool.signing_secret is None:
            raise Unauthorized("the signature is not this tool's", code="bad_signature")
        secret = self._vault.open(tool.signing_secret, client_id=ticket.client_id, field=SIGNING_SECRET)
        webhooks.verify(secret, headers, body, now=time.time())

    async def _progress(self, ticket: Ticket, text: str | None) -> ToolCallbackTaken:
        words = " ".join((text or "").split())
        if not words:
            raise Invalid(f"`text` is 1 to {PROGRESS_CHARACTERS} characters", field="text")
        if len(words) > PROGRESS_CHARACTERS:
            words = words[: PROGRESS_CHARACTERS - 1] + "…"
        if not self._may_show(ticket.key):
            return ToolCallbackTaken(status="dropped")
        async with reading(self._pool) as conn:
            await _open(conn, ticket)
        frame = ToolProgress(turn_id=ticket.turn_id, call_id=ticket.key, text=words)
        self._hub.publish(channels.conversation(ticket.conversation_id), 0, codec.encode(frame))
        # Whoever runs the turn keeps it for those who come later.
        self._hub.control(msgspec.json.encode(ToolSaid(ticket.key, words)))
        return ToolCallbackTaken(status="shown")

    def _may_show(self, key: str) -> bool:
        second = int(self._clock())
        at, count = self._shown.pop(key, (second, 0))
        count = count + 1 if at == second else 1
        while len(self._shown) >= COUNTED:
            self._shown.popitem(last=False)
        self._shown[key] = (second, count)
        return count <= PROGRESS_A_SECOND

    async def _finish(self, ticket: Ticket, value: Any, error: str | None) -> None:
        async with unit_of_work(self._pool) as conn:
            await _hold(conn, client_id=ticket.client_id, turn_id=ticket.turn_id)
            await _open(conn, ticket)
            await tool_executions.finish(
                conn,
                client_id=ticket.client_id,
                turn_id=ticket.turn_row,
                call_id=ticket.key,
                success=error is None,
                n8n_response=value,
                error=None if error is None else error[:ERROR_CHARACTERS],
                execution_time_ms=max(0, time.time_ns() // 1_000_000 - ticket.sent_ms),
            )
        self._signals.send(ticket.key)


async def _hold(conn: Conn, *, client_id: int, turn_id: str) -> bool:
    """Holds the turn's row until the transaction ends, so that one end of a call is written at a time.

    False when nobody may write the turn now: its owner is gone, and no waiter is left to end the call.
    """
    turn = await turns.find(conn, client_id=client_id, public_id=turn_id)
    if turn is None or turn.owner is None:
        return False
    return await turn_leases.fence(conn, client_id=client_id, turn_id=turn.id, gen=turn.gen, owner=turn.owner)


async def _open(conn: Conn, ticket: Ticket) -> None:
    """Raises Conflict when the call has ended, Gone when nobody waits for its end any more."""
    row = await tool_executions.find_call(conn, client_id=ticket.client_id, turn_id=ticket.turn_row, call_id=ticket.key)
    if row is None:
        raise _too_late()
    if row.success is not None:
        raise Conflict("this call has ended already", code="already_finished")
    turn = await turns.find(conn, client_id=ticket.client_id, public_id=ticket.turn_id)
    # A queued one was handed back by an instance that shut down, and goes on elsewhere.
    if row.error is not None or turn is None or turn.status not in {"running", "queued"}:
        raise _too_late()


def _too_late() -> Gone:
    return Gone("nobody waits for this call any more", code="too_late")


def _decoded(body: bytes) -> ToolCallback:
    try:
        return msgspec.convert(result.parsed(body.decode()), ToolCallback)
    except msgspec.ValidationError as error:
        field = "text" if "`$.text`" in str(error) else "type"
        raise Invalid(f"a callback has the type progress, result or error: {error}", field=field) from None
    except ValueError as error:
        raise Malformed(f"not JSON in UTF-8: {error}") from None


def _outcome(row: ToolExecution) -> Outcome:
    if row.success:
        return Outcome(True, answer.content(row.n8n_response), response=row.n8n_response)
    words = answer.plain(row.error, answer.BROKEN)
    return Outcome(False, result.failure(words), response=row.n8n_response, error=row.error)


def _ms_since(when: datetime) -> int:
    return max(0, round((datetime.now(when.tzinfo) - when).total_seconds() * 1000))
