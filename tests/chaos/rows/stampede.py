"""Ten thousand widgets lose their sockets in the same second, and come back as widgets do.

Half are with each of two instances, which share two cores with the widgets themselves. A hundred of them were reading
an answer; it is whole at the end, to the byte. Everything is in one process for the clients and one for each instance:
none of them has more than 20,000 descriptors.
"""

import asyncio

from tests.chaos.broken import Broken, figures, wrong_text
from tests.chaos.checkers import check_database, settled
from tests.chaos.light import Widget
from tests.chaos.model import question
from tests.chaos.rows.crowd import beat, gather
from tests.chaos.table import Figure, Row, percentile
from tests.chaos.world import World

BACK_S = 60.0
# Seconds after which somebody who is not back never will be.
PATIENCE_S = 180.0
LOOK_S = 0.05
# Clients (businesses): each may have 5,000 sockets on an instance.
SHOPS = 4
TOKENS, PACE_MS = 200, 100


async def run(world: World) -> list[Figure]:
    count, reading = world.rounds((10_000, 100), (400, 10))
    loop = asyncio.get_running_loop()
    async with world.cluster(2) as cluster:
        shops = [await cluster.shop() for _ in range(SHOPS)]
        ports = [instance.port for instance in cluster.instances]
        widgets = [
            # First half and half, then wherever a balancer sends them.
            Widget(shops[number % SHOPS], number, lambda: world.rng.choice(ports), world.rng)
            for number in range(count)
        ]
        began = loop.time()
        beating = asyncio.create_task(beat(widgets), name="heartbeats")
        try:
            await gather(widgets)
            gathered = loop.time() - began
            asked = {widget: f"w{number}" for number, widget in enumerate(widgets[:reading])}
            for widget, mark in asked.items():
                widget.ask(question(mark, tokens=TOKENS, pace_ms=PACE_MS))
            await asyncio.sleep(1.0)
            cut = loop.time()
            for number, widget in enumerate(widgets):
                widget.cut()
                if number % 100 == 99:
                    # Not longer than the second that it is meant to take.
                    await asyncio.sleep(max(0.0, cut + number / count - loop.time()))
            cut_s = loop.time() - cut
            for _ in range(int(PATIENCE_S / LOOK_S)):
                if all(widget.here for widget in widgets):
                    break
                await asyncio.sleep(LOOK_S)
            back = [widget.welcomed_at - cut for widget in widgets if widget.here]
            async with asyncio.timeout(60):
                await asyncio.gather(*(widget.answer.done for widget in asked if widget.answer is not None))
        finally:
            beating.cancel()
        broken = [Broken("lost", each.address, f"not back: {each.closes}") for each in widgets if not each.here]
        broken += [Broken("gap", each.address, "an event was left out") for each in widgets if each.gaps]
        broken += [Broken("lost", each.address, "began anew") for each in widgets if not each.resumed]
        for widget, mark in asked.items():
            text = widget.answer.text if widget.answer is not None else None
            if wrong := wrong_text(text or "", mark=mark, tokens=TOKENS):
                broken.append(Broken(wrong[0], mark, wrong[1]))
        broken += await settled(cluster)
        broken += await check_database(cluster)
        refused = [how for widget in widgets for how in widget.closes if how != "lost"]
        for widget in widgets:
            await widget.stop()
        lived = sum(instance.running and instance.lives == 1 for instance in cluster.instances)
    return [
        *figures(broken, world.report),
        Figure("instances that lived through it", lived, goal=2, least=True, promise=True),
        Figure("sockets cut", count, goal=world.rounds(10_000, 400), least=True),
        Figure("cut within", cut_s, "s"),
        Figure("back, p50", percentile(back, 50), "s"),
        Figure("back, p99", percentile(back, 99), "s"),
        Figure("back, all of them", max(back, default=0.0), "s", goal=BACK_S),
        Figure("closed or refused by the server", len(refused)),
        Figure("gathered within", gathered, "s"),
    ]


STAMPEDE = Row("stampede", "10,000 sockets cut in the same second", "all back <= 60 s", run)
