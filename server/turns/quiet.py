"""Makes a running answer say nothing for a moment, wherever it runs, and nothing for ever once it is fenced.

Whoever ends a turn keeps what was said, and that must be what visitors were shown: no piece may follow between the look
at the text and the commit that ends it. So the instance that runs the turn is asked to hold; it answers with the text,
and goes on when it is told to, or by itself when nobody does.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from server import ids
from server.errors import FenceLost
from server.fanout.hub import Hub
from server.fanout.live import LiveText, LiveTexts
from server.protocol import codec
from server.repositories.turns import Turn as TurnRow
from server.turns.stage import Stage

# Seconds that whoever ends a turn waits for the instance that runs it; one that is dead or cut off does not answer.
ANSWER_S = 1.0
# Seconds after which an answer that was asked to hold goes on by itself: whoever asked is gone.
HOLD_S = 3.0
# Fenced turns remembered: one may be told to stop just before it begins to run here.
REMEMBERED = 10_000


class Fenced(msgspec.Struct, frozen=True, tag_field="type", tag="turn.fenced"):
    """Said on the control channel: whoever runs this turn with an older gen must stop."""

    turn_id: str
    gen: int


class Hold(msgspec.Struct, frozen=True, tag_field="type", tag="turn.hold"):
    """Whoever runs this turn says nothing more until `by` lets go."""

    turn_id: str
    by: str


class Held(msgspec.Struct, frozen=True, tag_field="type", tag="turn.held"):
    """The answer to `by`: all that was said, and nothing more comes."""

    by: str
    said: LiveText


class GoOn(msgspec.Struct, frozen=True, tag_field="type", tag="turn.go_on"):
    """`by` lets go."""

    turn_id: str
    by: str


_decoder = msgspec.json.Decoder(Fenced | Hold | Held | GoOn)


class Quiet:
    """The answers that run on this instance, and the questions it has asked others."""

    def __init__(self, hub: Hub, live: LiveTexts) -> None:
        self._hub = hub
        self._live = live
        self._stages: dict[str, tuple[int, Stage]] = {}
        self._holders: dict[str, dict[str, asyncio.TimerHandle]] = {}
        self._asked: dict[str, asyncio.Future[LiveText]] = {}
        self._fenced: dict[str, int] = {}
        hub.on_control(self._heard)

    # --- where the turn runs

    def speaks(self, turn: TurnRow, stage: Stage) -> None:
        """This instance runs the turn from now on. Raises FenceLost when it was fenced meanwhile."""
        if self._fenced.get(turn.public_id, 0) > turn.gen:
            raise FenceLost(f"turn {turn.public_id} was ended before it began here")
        self._stages[turn.public_id] = (turn.gen, stage)
        for by in self._holders.get(turn.public_id, ()):
            self._hub.control(codec.encode(Held(by, stage.hold())))

    def forget(self, turn_id: str) -> None:
        """It runs here no more."""
        self._stages.pop(turn_id, None)

    # --- where it is ended

    @asynccontextmanager
    async def held(self, turn: TurnRow) -> AsyncIterator[LiveText | None]:
        """What a turn has said by now; while this is open it says no more. None when nobody knows of anything.

        Of a turn that nobody runs, or whose instance does not answer, it is what that one said last.
        """
        if turn.status != "running":
            yield await self._live.get(turn.public_id, turn.gen - 1)
            return
        by = ids.request_id()
        answer = self._asked[by] = asyncio.get_running_loop().create_future()
        try:
            self._hub.control(codec.encode(Hold(turn.public_id, by)))
            try:
                async with asyncio.timeout(ANSWER_S):
                    said: LiveText | None = await answer
            except TimeoutError:
                said = await self._live.get(turn.public_id, turn.gen)
            yield said
        finally:
            del self._asked[by]
            self._hub.control(codec.encode(GoOn(turn.public_id, by)))

    # --- from the control channel

    def _heard(self, payload: bytes) -> None:
        try:
            said = _decoder.decode(payload)
        except msgspec.DecodeError:
            return  # another kind of control message
        match said:
            case Fenced(turn_id=turn_id, gen=gen):
                self._end(turn_id, gen)
            case Hold(turn_id=turn_id, by=by):
                self._hold(turn_id, by)
            case GoOn(turn_id=turn_id, by=by):
                self._let_go(turn_id, by)
            case Held(by=by, said=text):
                answer = self._asked.get(by)
                if answer is not None and not answer.done():
                    answer.set_result(text)

    def _hold(self, turn_id: str, by: str) -> None:
        speaking = self._stages.get(turn_id)
        holders = self._holders.setdefault(turn_id, {})
        if by in holders:
            return  # control messages may come twice
        holders[by] = asyncio.get_running_loop().call_later(HOLD_S, self._let_go, turn_id, by)
        if speaking is not None:
            self._hub.control(codec.encode(Held(by, speaking[1].hold())))

    def _let_go(self, turn_id: str, by: str) -> None:
        holders = self._holders.get(turn_id, {})
        if (timer := holders.pop(by, None)) is not None:
            timer.cancel()
        if not holders:
            self._holders.pop(turn_id, None)
            if (speaking := self._stages.get(turn_id)) is not None:
                speaking[1].go_on()

    def _end(self, turn_id: str, gen: int) -> None:
        while len(self._fenced) >= REMEMBERED:
            del self._fenced[next(iter(self._fenced))]
        self._fenced[turn_id] = max(gen, self._fenced.pop(turn_id, 0))
        speaking = self._stages.get(turn_id)
        if speaking is not None and speaking[0] < gen:
            speaking[1].close()
