"""What operators see of a running turn."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from decimal import Decimal

import msgspec
import pytest

from server.access import Session
from server.fanout import channels
from server.protocol.operator import ToolTrace, TurnTrace
from server.protocol.visitor import MessageCompleted
from server.repositories import prices
from server.repositories.pool import reading
from server.repositories.prices import PriceRow
from server.services import Services
from server.turns.trace import ARGUMENTS_BYTES, RESULT_BYTES
from tests.support import MODEL, Shop, ask, rows, visit
from tests.tools.webhook_server import Reply, WebhookServer, says
from tests.turns.toolkit import add_tool, told
from tests.wire_servers import Answer, ToolUse, WireServer

_decoder = msgspec.json.Decoder(TurnTrace | ToolTrace)


class Watcher:
    """An operator's socket."""

    def __init__(self) -> None:
        self.frames: list[TurnTrace | ToolTrace] = []
        self.raw: list[bytes] = []

    def deliver(self, seq: int, payload: bytes) -> None:
        assert seq == 0, "a live frame"
        self.raw.append(payload)
        self.frames.append(_decoder.decode(payload))

    def resync(self) -> None:
        raise AssertionError("redis was there all the time")


@asynccontextmanager
async def watching(services: Services, session: Session) -> AsyncIterator[Watcher]:
    watcher, channel = Watcher(), channels.operators(session.conversation.public_id)
    await services.hub.join(channel, watcher)
    yield watcher
    await services.hub.leave(channel, watcher)


def uses(name: str, arguments: dict[str, object] | str) -> Answer:
    return Answer("Let me see.", tools=(ToolUse(name, arguments, "call_1"),), usage=(1_000, 100, 0))


async def test_calls_of_the_model_and_of_its_tools(
    services: Services, toolshop: Shop, model: WireServer, webhook: WebhookServer
) -> None:
    """Each call of the model, what it was asked with and the cost before it; a tool's arguments, then its result."""
    async with reading(services.pool) as conn:
        price = PriceRow("openai", MODEL, Decimal("1"), Decimal("1"), Decimal("10"), date(2024, 1, 1))
        await prices.upsert_all(conn, prices=[price])
    webhook.script(says({"stock": 3}))
    model.script(uses("look_up", {"item": "chair"}), Answer("Three."))
    session = await visit(services, toolshop)
    async with watching(services, session) as watcher:
        assert isinstance(await ask(services, session, "How many chairs?"), MessageCompleted)
    [(turn_id,)] = await rows(services, "select public_id from turns")
    first, before, after, second = watcher.frames
    assert isinstance(first, TurnTrace) and isinstance(second, TurnTrace)
    assert (first.turn_id, first.conversation_id) == (turn_id, session.conversation.public_id)
    assert (first.model, first.cost, first.passages) == (MODEL, "0", [])
    assert set(first.tools) == {"look_up", "reserve", "pay"} == set(second.tools)
    assert 100 < first.prompt_tokens < second.prompt_tokens
    assert Decimal(second.cost) == Decimal("0.002"), "1,000 tokens in, 100 out"
    call = ToolTrace(
        conversation_id=first.conversation_id,
        turn_id=turn_id,
        call_id=f"{turn_id}:2",
        name="look_up",
        arguments={"item": "chair"},
    )
    assert before == call
    assert after == msgspec.structs.replace(call, result='{"stock":3}')


async def test_nothing_is_traced_for_a_piece_of_text(services: Services, shop: Shop, model: WireServer) -> None:
    """An answer of many deltas is one trace."""
    model.script(Answer("word " * 60, tokens_per_s=200))
    session = await visit(services, shop)
    async with watching(services, session) as watcher:
        await ask(services, session, "Talk")
    assert len(watcher.frames) == 1


async def test_a_call_that_never_goes_out(services: Services, toolshop: Shop, model: WireServer) -> None:
    """Its arguments as the model wrote them, and why not, once."""
    model.script(uses("look_up", '{"item": '), Answer("Sorry."))
    session = await visit(services, toolshop)
    async with watching(services, session) as watcher:
        await ask(services, session, "x?")
    [trace] = [frame for frame in watcher.frames if isinstance(frame, ToolTrace)]
    assert trace.arguments == {"as_written": '{"item": '}
    assert trace.result is not None and "error" in trace.result
    assert [trace.result] == [msgspec.json.encode(each).decode() for each in told(model.requests[1])]


@pytest.mark.parametrize("reply", [says({"rows": ["x" * 5_000] * 3}), says("y" * 50_000)])
async def test_long_ones_are_cut(
    services: Services, toolshop: Shop, model: WireServer, webhook: WebhookServer, reply: Reply
) -> None:
    """To what fits a notice of Postgres, the way frames go without Redis."""
    webhook.script(reply)
    schema = {"type": "object", "properties": {name: {} for name in ("item", "note", "list")}}
    await add_tool(services, toolshop, webhook.url, "find", parameters_schema=schema)
    model.script(uses("find", {"item": "a" * 40, "note": "b" * 5_000, "list": ["c" * 100] * 50}), Answer("So."))
    session = await visit(services, toolshop)
    async with watching(services, session) as watcher:
        await ask(services, session, "x?")
    results = [frame.result for frame in watcher.frames if isinstance(frame, ToolTrace) and frame.result]
    assert len(results) == 1 and len(results[0]) > RESULT_BYTES - 500 and "cut" in results[0]
    for frame, raw in zip(watcher.frames, watcher.raw, strict=True):
        if isinstance(frame, ToolTrace):
            assert len(msgspec.json.encode(frame.arguments)) <= ARGUMENTS_BYTES + 100
            assert frame.result is None or len(frame.result.encode()) <= RESULT_BYTES
            assert len(raw) < 7_500


async def test_no_secret_is_in_them(services: Services, shop: Shop, model: WireServer, webhook: WebhookServer) -> None:
    """Neither what the call is signed with, nor where it went, nor the reason that only the record may have."""
    secret = await add_tool(services, shop, webhook.url, "look_up")
    webhook.script(says({"ok": False, "error": "no such item"}))
    model.script(uses("look_up", {"item": "chair"}), Answer("Sorry."))
    session = await visit(services, shop)
    async with watching(services, session) as watcher:
        await ask(services, session, "x?")
    assert len(webhook.requests) == 1
    signature = webhook.requests[0].headers["webhook-signature"]
    text = b"".join(watcher.raw).decode()
    assert "chair" in text
    for hidden in (secret, secret.removeprefix("whsec_"), signature, webhook.url, shop.secret_key, "sk-test"):
        assert hidden not in text
