"""`POST /api/v1/sessions/{session_id}/confirmations`: who may say yes to a question, how often, until when."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import httpx
import msgspec
import pytest

from server import ids
from server.protocol.http import ErrorBody
from server.protocol.visitor import MessageCompleted, SessionProof, Snapshot, ToolConfirmRequest, TurnStop, TurnStopped
from server.turns.intake import VISITOR_MESSAGES
from tests.flows.support import Desk, Shop, Tab, use_up
from tests.flows.tooling import add_tool, asked, confirm, use
from tests.support import eventually
from tests.tools.webhook_server import WebhookServer
from tests.wire_servers import Answer, WireServer


class Question(msgspec.Struct, frozen=True):
    """A tool that asks first, waiting for its answer. `tab` is the visitor's."""

    desk: Desk
    shop: Shop
    proof: SessionProof
    tab: Tab
    frame: ToolConfirmRequest

    async def answer(
        self,
        approved: bool = True,
        *,
        credential: str | None = None,
        session_id: str | None = None,
        call_id: str | None = None,
        **headers: str,
    ) -> httpx.Response:
        """What its visitor sends, but for what is given."""
        body = {"call_id": call_id or self.frame.call_id, "approved": approved}
        return await confirm(
            self.desk, session_id or self.proof.id, credential or self.proof.token, body, on=0, **headers
        )

    async def state(self) -> Any:
        [(approval,)] = await self.desk.rows(
            "select approval from tool_executions where call_id = %s", self.frame.call_id
        )
        return approval


@asynccontextmanager
async def asking(desk: Desk, shop: Shop) -> AsyncIterator[Question]:
    """A visitor of the shop who is asked whether a table shall be booked."""
    async with desk.visit(shop) as (tab, welcome):
        await tab.next(Snapshot)
        await tab.say("Book")
        yield Question(desk, shop, welcome.session, tab, await asked(tab))


@pytest.fixture
async def shop(desk: Desk, model: WireServer, webhook: WebhookServer) -> Shop:
    """A shop whose model books when it is spoken to, and whose booking asks first."""
    shop = await desk.shop()
    await add_tool(desk, shop, webhook.url, "book", "unsafe", confirm=True)

    def answer(request: Any) -> Answer:
        booked = request.body["messages"][-1]["role"] == "tool"
        return Answer("Done.") if booked else Answer(tools=(use("book", item="table"),))

    model.default = answer
    return shop


def refusal(response: httpx.Response) -> tuple[int, str, str | None]:
    """Status, code and field."""
    error = msgspec.json.decode(response.content, type=ErrorBody).error
    return response.status_code, error.code, error.field


@pytest.mark.parametrize("approved", [True, False])
@pytest.mark.parametrize("who", ["the visitor", "a page of the shop", "the backend"])
async def test_who_may_answer(desk: Desk, shop: Shop, webhook: WebhookServer, who: str, approved: bool) -> None:
    """The session's token, from a page of the client or from no page, and the client's secret key."""
    async with asking(desk, shop) as question:
        credential = shop.secret_key if who == "the backend" else None
        headers = {"origin": shop.origin} if who == "a page of the shop" else {}
        response = await question.answer(approved, credential=credential, **headers)
        assert response.status_code == 200
        assert response.json() == {"call_id": question.frame.call_id, "approved": approved}
        await question.tab.next(MessageCompleted)
    assert len(webhook.requests) == int(approved)


async def test_who_may_not_answer(desk: Desk, shop: Shop, webhook: WebhookServer) -> None:
    """Other visitors, other clients, pages elsewhere, calls that are no question: refused, and the question stays."""
    other_shop = await desk.shop()
    async with (
        asking(desk, shop) as question,
        desk.visit(shop) as (_, stranger),
        desk.visit(other_shop) as (_, foreign),
    ):
        call = question.frame.call_id
        turn_id = question.frame.turn_id
        cases = [
            # Another visitor's token opens their own session only, and there nothing waits.
            (await question.answer(credential=stranger.session.token), (401, "bad_token", None)),
            (
                await question.answer(credential=stranger.session.token, session_id=stranger.session.id),
                (404, "unknown_call", "call_id"),
            ),
            (await question.answer(credential=foreign.session.token), (401, "bad_token", None)),
            (await question.answer(credential=other_shop.secret_key), (404, "not_found", "session_id")),
            (
                await question.answer(credential=other_shop.secret_key, session_id=foreign.session.id),
                (404, "unknown_call", "call_id"),
            ),
            (await question.answer(credential=shop.key), (401, "bad_token", None)),
            (await question.answer(credential="sk_nobody"), (401, "bad_key", None)),
            (await question.answer(session_id="ses_nobody"), (401, "bad_token", None)),
            (await question.answer(origin="https://evil.example"), (403, "origin_not_allowed", None)),
            (await question.answer(origin=other_shop.origin), (403, "origin_not_allowed", None)),
            (await question.answer(call_id=f"{turn_id}:1"), (404, "unknown_call", "call_id")),
            (await question.answer(call_id=f"{turn_id}:3"), (404, "unknown_call", "call_id")),
            (await question.answer(call_id=call.upper()), (404, "unknown_call", "call_id")),
            (await question.answer(call_id=f"{call} "), (404, "unknown_call", "call_id")),
            (await question.answer(call_id=ids.turn_id()), (404, "unknown_call", "call_id")),
        ]
        for response, expected in cases:
            assert refusal(response) == expected
        assert (await question.state(), webhook.requests) == ("asked", [])
        assert (await question.answer()).status_code == 200
        await question.tab.next(MessageCompleted)
    assert len(webhook.requests) == 1


async def test_nothing_but_a_plain_yes_is_one(desk: Desk, shop: Shop, webhook: WebhookServer) -> None:
    """Whatever else is sent is refused with its field, and the question stays."""
    cases: list[tuple[bytes, tuple[int, str, str | None]]] = [
        (b"", (400, "malformed", None)),
        (b"true", (422, "invalid", None)),
        (b'{"call_id":"CALL"}', (422, "missing", "approved")),
        (b'{"call_id":"CALL","approved":"true"}', (422, "invalid", "approved")),
        (b'{"call_id":"CALL","approved":1}', (422, "invalid", "approved")),
        (b'{"call_id":"CALL","approved":null}', (422, "invalid", "approved")),
        (b'{"call_id":"CALL","approved":[true]}', (422, "invalid", "approved")),
        (b'{"call_id":["CALL"],"approved":true}', (422, "invalid", "call_id")),
        (b'{"call_id":"CALL\\u0000","approved":true}', (422, "invalid", "call_id")),
    ]
    async with asking(desk, shop) as question:
        for body, expected in cases:
            given = body.replace(b"CALL", question.frame.call_id.encode())
            response = await confirm(desk, question.proof.id, question.proof.token, given)
            assert refusal(response) == expected, body
        assert (await question.state(), webhook.requests) == ("asked", [])


@pytest.mark.parametrize("first", [True, False])
async def test_an_answer_stands(desk: Desk, shop: Shop, webhook: WebhookServer, first: bool) -> None:
    """The second is refused, the same or the opposite, while the turn goes on and after its end."""
    async with asking(desk, shop) as question:
        assert (await question.answer(first)).status_code == 200
        for again in (first, not first):
            assert refusal(await question.answer(again)) == (404, "unknown_call", "call_id")
        await question.tab.next(MessageCompleted)
        assert refusal(await question.answer(True)) == (404, "unknown_call", "call_id")
        assert await question.state() == ("approved" if first else "declined")
    assert len(webhook.requests) == int(first)


async def test_a_late_answer_is_none(
    desk: Desk, shop: Shop, webhook: WebhookServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Past the time that the question named, by the database's clock, nobody can approve."""
    monkeypatch.setattr("server.turns.record.APPROVAL_S", 0.5)
    async with asking(desk, shop) as question:

        async def past() -> bool:
            [(now,)] = await desk.rows("select clock_timestamp()")
            assert isinstance(now, datetime)
            return now > question.frame.expires_at

        await eventually(past, "the time to answer has run out")
        assert refusal(await question.answer()) == (404, "unknown_call", "call_id")
        await question.tab.next(MessageCompleted)
    assert webhook.requests == []


async def test_a_stopped_turn_asks_nothing(desk: Desk, shop: Shop, webhook: WebhookServer) -> None:
    """A yes that comes after the stop does not count."""
    async with asking(desk, shop) as question:
        await question.tab.send(TurnStop(turn_id=question.frame.turn_id))
        await question.tab.next(TurnStopped)
        assert refusal(await question.answer()) == (404, "unknown_call", "call_id")
    assert webhook.requests == []


async def test_answers_are_limited(desk: Desk, shop: Shop, webhook: WebhookServer) -> None:
    """Whoever guesses is stopped as one who writes too much; the question stays open."""
    async with asking(desk, shop) as question:
        await use_up(desk, f"{shop.id}:visitor:{question.proof.id}", VISITOR_MESSAGES)
        response = await question.answer()
        assert refusal(response)[:2] == (429, "rate_limited_visitor")
        assert int(response.headers["retry-after"]) >= 1
        assert (await question.state(), webhook.requests) == ("asked", [])
