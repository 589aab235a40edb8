"""Two thousand widgets on two instances, two hundred of them reading an answer of 20 tokens a second.

Added latency is from the moment that the model's server means to write a token to the moment that the widget has it:
the model's write, the provider's stream, the gathering for 50 ms, the fan-out, the socket, and whatever the rig, on the
same cores, is late itself.
"""

import asyncio

from tests.chaos.broken import Broken, Promise, figures, wrong_text
from tests.chaos.checkers import check_database
from tests.chaos.light import HEARTBEAT_S, Answer, Widget
from tests.chaos.model import answer, question
from tests.chaos.table import Figure, Row, percentile
from tests.chaos.world import World

TOKENS_PER_S = 20
ADDED_S = 0.2
# Widgets that come at the same time while the crowd gathers.
AT_ONCE = 50


async def gather(widgets: list[Widget]) -> None:
    """All of them come, some at a time."""
    for first in range(0, len(widgets), AT_ONCE):
        await asyncio.gather(*(widget.start() for widget in widgets[first : first + AT_ONCE]))


async def beat(widgets: list[Widget]) -> None:
    """Pings as widgets do, for as long as it runs."""
    while True:
        for widget in list(widgets):
            await asyncio.sleep(HEARTBEAT_S / len(widgets))
            widget.ping()


class _Asked:
    """One answer, and what is known of it from the outside."""

    def __init__(self, widget: Widget, mark: str, tokens: int) -> None:
        self.widget = widget
        self.mark = mark
        self.tokens = tokens
        self.answer: Answer = widget.ask(question(mark, tokens=tokens, pace_ms=1_000 / TOKENS_PER_S))

    def broken(self) -> list[Broken]:
        """The text to the byte; and what was streamed, which is its beginning, each delta once and in order."""
        text = self.answer.text
        if text is None:
            return [Broken("lost", self.mark, "no answer")]
        found = [Broken(*wrong) for wrong in [self._wrong(text)] if wrong]
        streamed = self.answer.streamed()
        numbers = [n for _, n, _ in streamed]
        if numbers != list(range(1, len(numbers) + 1)):
            found.append(Broken("reordered", self.mark, f"deltas came as {numbers}"))
        if not text.startswith("".join(part for _, _, part in streamed)):
            found.append(Broken("differs", self.mark, "what was streamed is not what was said"))
        return found

    def _wrong(self, text: str) -> tuple[Promise, str, str] | None:
        wrong = wrong_text(text, mark=self.mark, tokens=self.tokens)
        return None if wrong is None else (wrong[0], self.mark, wrong[1])

    def added(self, asked_at: float) -> list[float]:
        """Seconds that each token took, by the model's clock and the widget's, which are one."""
        lengths = [len(part) for part in answer(self.mark, 1, self.tokens).split(" ")]
        seconds, token, left = [], 0, lengths[0] + 1
        for at, _, part in self.answer.streamed():
            size = len(part)
            while size >= left and token < self.tokens:
                size -= left
                token += 1
                seconds.append(at - (asked_at + token / TOKENS_PER_S))
                left = lengths[token] + 1 if token < self.tokens else 1 << 30
            left -= size
        return seconds


async def run(world: World) -> list[Figure]:
    sockets, reading, tokens, rounds = world.rounds((2_000, 200, 400, 5), (200, 20, 60, 1))
    async with world.cluster(2) as cluster:
        shop = await cluster.shop()
        ports = [instance.port for instance in cluster.instances]
        # An even spread, as a balancer makes it.
        widgets = [
            Widget(shop, number, lambda number=number: ports[number % 2], world.rng)  # type: ignore[misc]
            for number in range(sockets)
        ]
        await gather(widgets)
        beating = asyncio.create_task(beat(widgets), name="heartbeats")
        try:
            asked = [each for number in range(rounds) for each in await _round(widgets, reading, tokens, number)]
        finally:
            beating.cancel()
        broken = [each for one in asked for each in one.broken()]
        broken += await check_database(cluster)
        broken += [Broken("gap", widget.address, "an event was left out") for widget in widgets if widget.gaps]
        broken += [Broken("lost", widget.address, f"{widget.closes}") for widget in widgets if widget.closes]
        added = [seconds for one in asked for ask in cluster.model.of(one.mark) for seconds in one.added(ask.at)]
        for widget in widgets:
            await widget.stop()
    return [
        *figures(broken, world.report),
        Figure("sockets", sockets, goal=world.rounds(2_000, 200), least=True),
        Figure("answers", len(asked)),
        # The last token of an answer comes with its end, and is not timed.
        Figure("tokens timed", len(added), goal=rounds * reading * (tokens - 1), least=True),
        Figure("added latency, p50", 1_000 * percentile(added, 50), "ms"),
        Figure("added latency, p99", 1_000 * percentile(added, 99), "ms", goal=1_000 * ADDED_S),
        Figure("added latency, most", 1_000 * max(added, default=0.0), "ms"),
    ]


async def _round(widgets: list[Widget], reading: int, tokens: int, number: int) -> list[_Asked]:
    """So many ask, spread over a second; returns when all are answered."""
    asked = []
    for index in range(reading):
        widget = widgets[(number * reading + index) * 7 % len(widgets)]
        asked.append(_Asked(widget, f"r{number}w{index}", tokens))
        await asyncio.sleep(1 / reading)
    async with asyncio.timeout(tokens / TOKENS_PER_S + 60):
        await asyncio.gather(*(each.answer.done for each in asked))
    return asked


CROWD = Row(
    "crowd",
    "2,000 sockets, 200 answers at 20 tokens a second",
    "0 lost, doubled or reordered; added latency p99 <= 200 ms",
    run,
)
