"""A step of tools, and how long it took by one clock: `upstream` is the model that asks for it and the webhook too.

    the model has written its calls     asked_at
    each call reaches the webhook       began, ended
    the model is told what came of it   told_at

What is left of `told_at - asked_at` without the webhook's own time is the server's.
"""

import http.client
import re
from collections.abc import Sequence

import msgspec

from tests.wire_servers.steps import ToolUse

TOOLS = ("check_inventory", "find_product", "look_up_order")
SCHEMA = {
    "type": "object",
    "properties": {"item": {"type": "string", "maxLength": 40}, "wait_ms": {"type": "integer", "minimum": 0}},
    "required": ["item", "wait_ms"],
}
_QUESTION = re.compile(r"^use a tool for each of (\d+(?:, \d+)*) ms$")


def question(waits_ms: Sequence[int]) -> str:
    """Words that make the model call a tool for each wait, all in one step."""
    return f"use a tool for each of {', '.join(map(str, waits_ms))} ms"


def uses(words: str) -> tuple[ToolUse, ...] | None:
    """The calls that a `question` asks for; None when the words are none."""
    asked = _QUESTION.match(words)
    if asked is None:
        return None
    return tuple(
        ToolUse(TOOLS[at % len(TOOLS)], {"item": f"baguette {at}", "wait_ms": int(wait)}, f"call_{at}")
        for at, wait in enumerate(asked[1].split(", "))
    )


def result(item: str) -> bytes:
    """What the webhook answers: JSON, about as much as a shop's system has to say of one thing."""
    return msgspec.json.encode(
        {
            "item": item,
            "in_stock": 12,
            "price": {"amount": "3.40", "currency": "EUR"},
            "shelf": "B7",
            "next_delivery": "2026-11-23T04:00:00Z",
            "note": "Baked in the stone oven behind the shop, from four in the morning on.",
        }
    )


class Arguments(msgspec.Struct, frozen=True):
    """Of every tool. The webhook answers after `wait_ms` milliseconds."""

    item: str
    wait_ms: int


class Named(msgspec.Struct, frozen=True):
    """The key of a call."""

    id: str


class Request(msgspec.Struct, frozen=True):
    """What of a webhook's request is needed here."""

    tool: str
    arguments: Arguments
    call: Named


class Done(msgspec.Struct):
    """A call that reached the webhook. Times are seconds of the upstream's clock."""

    call_id: str
    began: float
    ended: float = 0.0

    @property
    def own_s(self) -> float:
        return self.ended - self.began


class Step(msgspec.Struct):
    """One step. Times are seconds of the upstream's clock; `told` is whether the model read the webhook's answers."""

    wanted: int
    asked_at: float = 0.0
    told_at: float = 0.0
    told: bool = False
    done: list[Done] = []

    @property
    def slowest_s(self) -> float:
        """The webhook's own time with the call it took longest for."""
        return max(each.own_s for each in self.done)

    @property
    def overhead_ms(self) -> float:
        """Milliseconds of the step that were not the webhook's."""
        return (self.told_at - self.asked_at - self.slowest_s) * 1e3

    @property
    def times_slowest(self) -> float:
        """The step's time in those of its slowest call."""
        return (self.told_at - self.asked_at) / self.slowest_s

    def check(self) -> None:
        """Raises RuntimeError when it did not go as it should: its times would say nothing."""
        if not self.told:
            raise RuntimeError("the model did not read what the webhook had answered")
        if len({each.call_id for each in self.done}) != self.wanted or len(self.done) != self.wanted:
            raise RuntimeError(f"{self.wanted} calls were asked for, {len(self.done)} reached the webhook")


class Steps:
    """All steps of an upstream. One visitor at a time: what comes in belongs to the step that is open."""

    def __init__(self) -> None:
        self.done: list[Step] = []
        self._open: Step | None = None
        self._results: list[bytes] = []

    def ask(self, wanted: Sequence[ToolUse]) -> Step:
        """The model begins to write its calls. Raises RuntimeError when it still waits for the last ones."""
        if self._open is not None:
            raise RuntimeError("a step of tools began before the one before it had ended")
        self._open = Step(len(wanted))
        self._results = [result(msgspec.convert(each.arguments, Arguments).item) for each in wanted]
        return self._open

    def call(self, request: Request, now: float) -> Done:
        """A call has reached the webhook."""
        if self._open is None:
            raise RuntimeError("a webhook was called outside of a step")
        done = Done(request.call.id, now)
        self._open.done.append(done)
        return done

    def tell(self, results: Sequence[str], now: float) -> None:
        """The model's next request, with what the tools gave, has been read."""
        if self._open is None:
            raise RuntimeError("the model was told results that it did not ask for")
        step, self._open = self._open, None
        step.told_at = now
        step.told = [text.encode() for text in results] == self._results
        self.done.append(step)


def steps(port: int) -> list[Step]:
    """All steps so far of the upstream that listens on `port` of this machine."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/steps")
        return msgspec.json.decode(connection.getresponse().read(), type=list[Step])
    finally:
        connection.close()
