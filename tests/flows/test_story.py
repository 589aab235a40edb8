"""The main story: a first visit, a streamed answer, everything kept, a reload that goes on."""

from datetime import UTC, datetime
from decimal import Decimal

import msgspec
import redis.asyncio

from server.protocol.visitor import (
    MessageCompleted,
    MessageCreated,
    MessageDelta,
    Snapshot,
    TurnStarted,
)
from tests.flows.support import Desk
from tests.support import MODEL
from tests.wire_servers import Answer, WireServer

GREETING = "We open at **7am** — bis gleich, שלום 🙂!"


async def test_a_first_visit_ends_in_an_answer_that_is_kept(desk: Desk, model: WireServer) -> None:
    """A visitor says something, sees it answered token by token, and all of it is in Postgres, with what it cost."""
    shop = await desk.shop("pizza", system_prompt="You are Bob.")
    model.script(Answer(GREETING, tokens_per_s=40, usage=(1_000, 200, 400)))
    async with desk.visit(shop, locale="de-AT") as (tab, welcome):
        assert (welcome.v, welcome.head_seq, welcome.resumed, welcome.pending) == (1, 0, False, {})
        snapshot = await tab.next(Snapshot)
        assert (snapshot.up_to_seq, snapshot.owner, snapshot.messages, snapshot.live) == (0, "ai", [], None)
        ack = await tab.say("  When do you open?\n", cid="c1")
        completed = await tab.next(MessageCompleted)

    assert ack.seq == 1
    [created], [started] = tab.of(MessageCreated), tab.of(TurnStarted)
    assert (created.seq, created.message.id, created.message.text) == (1, ack.message_id, "When do you open?")
    assert (started.seq, started.gen, completed.seq) == (2, 1, 3)
    assert completed.turn_id == started.turn_id and completed.message.id == started.message_id
    assert completed.message.text == GREETING
    assert len(tab.view.streamed[completed.message.id]) > len(GREETING) / 2
    assert len(tab.of(MessageDelta)) >= 2
    assert completed.message.model == MODEL and completed.message.usage is not None
    assert (completed.message.usage.input_tokens, completed.message.usage.output_tokens) == (1_000, 200)

    [request] = model.requests
    assert request.question == "When do you open?"
    assert "You are Bob." in request.body["messages"][0]["content"]

    # gpt-4o-mini: 0.15 for a million in, 0.075 cached, 0.60 out.
    assert await desk.rows("select role, content, cid, seq, stopped from messages order by id") == [
        ("user", "When do you open?", "c1", 1, False),
        ("assistant", GREETING, None, 3, False),
    ]
    cost = (600 * Decimal("0.15") + 400 * Decimal("0.075") + 200 * Decimal("0.60")) / 1_000_000
    assert await desk.rows("select status, gen, attempts, error from turns") == [("done", 1, 1, None)]
    assert await desk.rows(
        "select date, conversation_count, message_count, tokens_input, tokens_output, cost_estimate from api_usage"
    ) == [(datetime.now(UTC).date(), 1, 2, 1_000, 200, cost)]
    assert await desk.rows("select cost, model, tokens_used from messages where role = 'assistant'") == [
        (cost, MODEL, 1_200)
    ]
    assert await desk.rows(
        "select session_id, channel, locale, epoch, last_seq, total_messages, owner from conversations"
    ) == [(welcome.session.id, "widget", "de-AT", welcome.epoch, 3, 2, "ai")]
    stored = [row[0].encode() for row in await desk.rows("select payload::text from events order by seq")]
    assert stored == tab.events()

    async with redis.asyncio.Redis.from_url(desk.settings.redis_url) as cache:
        kept = await cache.get(f"conversation:{welcome.session.id}")
        assert kept is not None
        context = msgspec.json.decode(kept)
        assert await cache.keys("live:*") == []
        assert 3_500 < await cache.ttl(f"conversation:{welcome.session.id}") <= 3_600
    assert context["client_id"] == shop.id
    assert context["messages"] == [
        {"role": "user", "text": "When do you open?"},
        {"role": "assistant", "text": GREETING},
    ]
