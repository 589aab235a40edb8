"""An operator's socket on an instance that ends, in good order or at once. Real processes, real signals."""

import signal
import time
from pathlib import Path

from server.protocol.operator import Presence
from server.protocol.visitor import Drain, MessageCompleted, MessageDelta
from server.ws.presence import LIFETIME_S, REFRESH_S
from tests.flows.console import console, staff_of
from tests.flows.processes import office, serve, visiting
from tests.flows.support import Desk
from tests.wire_servers import Answer, WireServer

__all__ = ["office"]

SLOW = Answer("One two three four five six seven eight nine ten", tokens_per_s=8)


async def test_operators_are_sent_away_as_visitors_are(office: Desk, model: WireServer, tmp_path: Path) -> None:
    """Who watches a running answer sees its end first; who watches nothing goes at once; the process ends with 0."""
    shop = await office.shop()
    sign = await staff_of(office, shop)
    async with serve(office.settings, tmp_path / "log") as served:
        async with (
            visiting(served, shop) as (tab, welcome),
            console(sign, url=served.url) as watching,
            console(sign, url=served.url) as idle,
        ):
            await watching.watch(welcome.conversation_id)
            model.script(SLOW)
            await tab.say("Count")
            await tab.next(MessageDelta)
            served.signal()
            assert await idle.closed() == 4001
            assert isinstance(idle.frames[-1], Drain)
            end = await watching.sees(welcome.conversation_id, MessageCompleted)
            assert end.message.text == SLOW.text
            assert await watching.closed() == 4001
            assert isinstance(watching.frames[-1], Drain)
            assert await tab.closed() == 4001
        assert await served.ended() == 0
    assert "ERROR" not in (tmp_path / "log").read_text().upper()


async def test_the_visitor_of_a_killed_instance_is_away(office: Desk, tmp_path: Path) -> None:
    """kill -9: nobody says goodbye, and the operator elsewhere is told within the time that a word holds."""
    shop = await office.shop()
    ana, ben = await staff_of(office, shop, name="Ana"), await staff_of(office, shop, name="Ben")
    async with (
        serve(office.settings, tmp_path / "one") as dying,
        serve(office.settings, tmp_path / "two") as living,
        visiting(dying, shop) as (_, welcome),
        console(ben, url=dying.url) as his,
        console(ana, url=living.url) as hers,
    ):
        await his.watch(welcome.conversation_id)
        await hers.watch(welcome.conversation_id)
        await hers.next(Presence, lambda frame: frame.visitor_online is True and len(frame.operators) == 2)
        killed = time.monotonic()
        dying.signal(signal.SIGKILL)
        gone = await hers.next(Presence)
        assert gone.visitor_online is False and [each.name for each in gone.operators] == ["Ana"]
        assert time.monotonic() - killed < LIFETIME_S + 2 * REFRESH_S
