"""`POST /api/v1/chat`: a client's backend asks, and a widget without a WebSocket streams."""

import asyncio
from decimal import Decimal
from typing import Any

import httpx

from server import ids
from server.protocol.parts import Owner
from server.protocol.visitor import (
    Ack,
    MessageCompleted,
    MessageCreated,
    MessageDelta,
    SessionProof,
    Snapshot,
    ToVisitor,
    TurnStarted,
    TurnStop,
    TurnStopped,
)
from tests.flows.peer import PATIENCE_S
from tests.flows.support import Desk, Shop, sse
from tests.wire_servers import Answer, Failure, WireServer


async def post(
    desk: Desk, shop: Shop, on: int = 0, headers: dict[str, str] | None = None, **body: Any
) -> httpx.Response:
    """Asks as the client's backend does, with the secret key."""
    given = {"authorization": f"Bearer {shop.secret_key}", **(headers or {})}
    # A stream that goes on for ever keeps the HTTP client's own timeout from coming.
    async with asyncio.timeout(PATIENCE_S):
        return await desk.http.post(f"{desk.instances[on].url}/api/v1/chat", headers=given, json=body)


async def test_a_backend_gets_the_whole_answer(desk: Desk, model: WireServer) -> None:
    """Everything the contract names is in it, and the session it begins goes on with its id."""
    shop = await desk.shop()
    model.script(Answer("At seven.", usage=(1_000, 200, 0)))
    response = await post(desk, shop, message="When do you open?", user_identifier="u-7", locale="de")
    assert response.status_code == 200 and response.headers["cache-control"] == "no-store"
    body = response.json()
    [(session_id, conversation_id, user, locale, channel)] = await desk.rows(
        "select session_id, public_id, user_identifier, locale, channel from conversations"
    )
    [(message_id,)] = await desk.rows("select public_id from messages where role = 'assistant'")
    assert body.pop("session_token").startswith("st_")
    cost = Decimal(body.pop("cost"))
    assert cost == (1_000 * Decimal("0.15") + 200 * Decimal("0.60")) / 1_000_000
    assert body == {
        "session_id": session_id,
        "conversation_id": conversation_id,
        "message_id": message_id,
        "reply": "At seven.",
        "citations": [],
        "tool_calls": [],
        "usage": {"input_tokens": 1_000, "output_tokens": 200},
        "model": "gpt-4o-mini",
        "cached": False,
        "owner": "ai",
        "failed": None,
    }
    assert (user, locale, channel) == ("u-7", "de", "api")
    again = (await post(desk, shop, message="And on Sunday?", session_id=session_id)).json()
    assert (again["conversation_id"], again["session_token"]) == (conversation_id, None)
    asked = model.requests[-1].body["messages"]
    assert [m["content"] for m in asked[1:]] == ["When do you open?", "At seven.", "And on Sunday?"]


async def test_a_retry_without_a_session_finds_the_first_one(two: Desk, model: WireServer) -> None:
    """An Idempotency-Key, later or at the same moment, on any process: one conversation, one message, one answer."""
    shop = await two.shop()
    key = {"idempotency-key": "order-7"}
    answers = await asyncio.gather(*(post(two, shop, number % 2, key, message="Hello") for number in range(6)))
    answers.append(await post(two, shop, headers=key, message="Hello"))
    assert {answer.status_code for answer in answers} == {200}
    bodies = [answer.json() for answer in answers]
    assert len({body["message_id"] for body in bodies}) == 1
    assert {body["reply"] for body in bodies} == {"You said: Hello"}
    assert sum(body["session_token"] is not None for body in bodies) == 1
    for table in ("conversations", "turns"):
        assert await two.rows(f"select count(*) from {table}") == [(1,)]
    assert await two.rows("select count(*) from messages") == [(2,)]
    assert len(model.requests) == 1
    other = await post(two, shop, headers=key, message="Something else")
    assert (other.status_code, other.json()["error"]["code"]) == (409, "cid_reused")
    assert other.json()["error"]["field"] == "cid"


async def test_the_cid_in_the_body_is_the_same_as_the_header(desk: Desk, model: WireServer) -> None:
    """And it wins where both are there."""
    shop = await desk.shop()
    first = (await post(desk, shop, message="Hello", cid="c1")).json()
    second = (await post(desk, shop, headers={"idempotency-key": "c1"}, message="Hello")).json()
    third = (await post(desk, shop, headers={"idempotency-key": "c9"}, message="Hello", cid="c1")).json()
    assert first["message_id"] == second["message_id"] == third["message_id"]
    assert len(model.requests) == 1


async def test_another_clients_idempotency_key_is_its_own(desk: Desk, model: WireServer) -> None:
    """Two clients that count their orders the same way never meet."""
    one, other = await desk.shop(), await desk.shop()
    bodies = [(await post(desk, shop, message="Hello", cid="1")).json() for shop in (one, other)]
    assert bodies[0]["conversation_id"] != bodies[1]["conversation_id"]
    assert len(model.requests) == 2


async def test_a_failed_model_is_a_kind_answer(desk: Desk, model: WireServer) -> None:
    """The status is 200, `failed` says so, and nothing of the reason shows."""
    shop = await desk.shop()
    model.script(Failure(401, "Incorrect API key provided: sk-test-secret"))
    response = await post(desk, shop, message="Hello", locale="de")
    body = response.json()
    assert response.status_code == 200
    assert body["failed"] == {"code": "model_refused", "retryable": True}
    assert body["reply"] == "Leider kann ich gerade nicht antworten. Bitte versuchen Sie es gleich noch einmal."
    assert "API key" not in response.text and body["cost"] == "0" and body["model"] is None


async def test_a_stopped_answer_is_what_had_been_said(desk: Desk, model: WireServer) -> None:
    """A backend that waits for an answer that its visitor stops gets the part that was said."""
    shop = await desk.shop()
    model.script(Answer("One two three four five six", stall_after=4))
    async with desk.visit(shop) as (tab, first):
        waiting = asyncio.create_task(post(desk, shop, message="Count", session_id=first.session.id))
        await tab.next(MessageDelta, lambda delta: tab.view.live[delta.turn_id][2] == "One two three four")
        await tab.send(TurnStop(turn_id=tab.of(TurnStarted)[0].turn_id))
        await tab.next(TurnStopped)
        assert (await waiting).json()["reply"] == "One two three four"


async def test_while_people_answer_there_is_no_reply(desk: Desk, model: WireServer) -> None:
    """`reply` is null and `owner` says why; the stream ends with the message; the model is not asked."""
    shop = await desk.shop()
    begun = (await post(desk, shop, message="Hello")).json()
    owners: tuple[Owner, ...] = ("human", "queued")
    for owner in owners:
        await desk.rows("update conversations set owner = %s", owner)
        body = (await post(desk, shop, message="Is anybody there?", session_id=begun["session_id"])).json()
        assert (body["reply"], body["owner"], body["model"]) == (None, owner, None)
        frames = await stream(desk, shop, message="Really?", session_id=begun["session_id"])
        assert [type(frame) for _, frame in frames] == [Ack, MessageCreated]
    assert len(model.requests) == 1
    assert await desk.rows("select count(*) from messages where role = 'user'") == [(5,)]


async def stream(
    desk: Desk, shop: Shop, headers: dict[str, str] | None = None, **body: Any
) -> list[tuple[str | None, ToVisitor]]:
    """The whole answer as a stream of server-sent events."""
    response = await post(desk, shop, headers={"accept": "text/event-stream", **(headers or {})}, **body)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["x-accel-buffering"] == "no"
    return list(sse(response.text))


async def test_the_stream_has_the_sockets_frames(desk: Desk, model: WireServer) -> None:
    """An ack first, then every frame as the socket of the same session gets it; events carry `epoch:seq`."""
    shop = await desk.shop()
    model.script(Answer("One two three four five six seven eight", tokens_per_s=40))
    async with desk.visit(shop) as (tab, first):
        await tab.next(Snapshot)
        frames = await stream(desk, shop, message="Count", session_id=first.session.id, cid="c1")
        await tab.next(MessageCompleted)
    [ack, *rest] = [frame for _, frame in frames]
    assert isinstance(ack, Ack) and (ack.cid, ack.seq) == ("c1", 1)
    assert [frame for frame in rest if not isinstance(frame, Snapshot)] == tab.frames[2:]
    assert [event_id for event_id, _ in frames if event_id] == [f"{first.epoch}:{seq}" for seq in (1, 2, 3)]


async def test_a_broken_stream_goes_on_where_it_was(desk: Desk, model: WireServer) -> None:
    """The widget that asks again with its cid and Last-Event-ID gets the rest, with the text so far, and no double."""
    shop = await desk.shop()
    model.script(Answer("One two three four five six seven eight", tokens_per_s=6))
    async with desk.visit(shop) as (_, first):
        pass
    origin = {"authorization": f"Bearer {first.session.token}", "x-frontdesk-key": shop.key, "origin": shop.origin}
    ask = {"message": "Count", "session_id": first.session.id, "cid": "c1"}
    text = ""
    async with desk.http.stream(
        "POST", f"{desk.url}/api/v1/chat", headers={**origin, "accept": "text/event-stream"}, json=ask
    ) as response:
        async for chunk in response.aiter_text():
            text += chunk
            if "message.delta" in text:
                break
    last_id = [event_id for event_id, _ in sse(text[: text.rindex("\n\n") + 2]) if event_id][-1]
    assert last_id == f"{first.epoch}:2"
    frames = await stream(desk, shop, headers={**origin, "last-event-id": last_id}, **ask)
    assert isinstance(frames[0][1], Ack) and frames[0][1].seq == 1
    assert [event_id for event_id, _ in frames if event_id] == [f"{first.epoch}:3"]
    snapshot = next(frame for _, frame in frames if isinstance(frame, Snapshot))
    assert snapshot.live is not None and snapshot.live.text.startswith("One")
    said = snapshot.live.text + "".join(f.text for _, f in frames if isinstance(f, MessageDelta))
    completed = frames[-1][1]
    assert isinstance(completed, MessageCompleted)
    assert completed.message.text == "One two three four five six seven eight"
    assert completed.message.text.startswith(said)
    assert len(model.requests) == 1


async def test_a_stream_that_waits_for_another_answer_gets_both(desk: Desk, model: WireServer) -> None:
    """Asked while an answer runs, it tells how that one ends and then its own, every delta of it."""
    shop = await desk.shop()
    long = tuple(f"{number} " for number in range(40))
    model.script(Answer(tokens=long, tokens_per_s=40, stall_after=30), Answer("Uno dos tres", tokens_per_s=20))
    async with desk.visit(shop) as (tab, first):
        await tab.say("English")
        for _ in range(8):
            await tab.next(MessageDelta)
        waiting = asyncio.create_task(stream(desk, shop, message="Spanish", session_id=first.session.id, cid="c2"))
        await tab.next(MessageCreated, lambda created: created.message.cid == "c2")
        await tab.next(MessageDelta, lambda delta: tab.view.live[delta.turn_id][2].endswith(" 29 "))
        await tab.send(TurnStop(turn_id=tab.of(TurnStarted)[0].turn_id))
        answer = await tab.next(MessageCompleted)
        frames = [frame for _, frame in await waiting]
    assert [frame.message for frame in frames if isinstance(frame, TurnStopped)] == [tab.of(TurnStopped)[0].message]
    assert frames[-1] == answer and answer.message.text == "Uno dos tres"
    mine = [frame for frame in frames if isinstance(frame, MessageDelta) and frame.turn_id == answer.turn_id]
    assert mine == [delta for delta in tab.of(MessageDelta) if delta.turn_id == answer.turn_id]
    # Its numbers begin anew, below those of the answer before.
    assert [delta.n for delta in mine] == list(range(1, len(mine) + 1)) and mine[0].text.startswith("Uno")
    assert len(tab.of(MessageDelta)) - len(mine) > len(mine)


async def test_a_reader_that_leaves_leaves_the_answer_running(desk: Desk, model: WireServer) -> None:
    """A visitor who closes the page mid-stream finds the whole answer when he comes back."""
    shop = await desk.shop()
    model.script(Answer("One two three four five six seven eight", tokens_per_s=30))
    async with desk.visit(shop) as (tab, first):
        async with desk.http.stream(
            "POST",
            f"{desk.url}/api/v1/chat",
            headers={"authorization": f"Bearer {shop.secret_key}", "accept": "text/event-stream"},
            json={"message": "Count", "session_id": first.session.id},
        ) as response:
            async for chunk in response.aiter_text():
                if "message.delta" in chunk:
                    break
        completed = await tab.next(MessageCompleted)
    assert completed.message.text == "One two three four five six seven eight"


async def test_history_comes_in_pages(desk: Desk) -> None:
    """Oldest first within a page; `before` leads to the start, where it is absent; every message once."""
    shop = await desk.shop()
    async with desk.visit(shop) as (tab, first):
        for number in range(5):
            await tab.say(f"{number}")
            await tab.end()
    url = f"{desk.url}/api/v1/sessions/{first.session.id}/messages"
    headers = {"authorization": f"Bearer {first.session.token}"}
    whole = (await desk.http.get(url, headers=headers)).json()
    assert "before" not in whole
    assert [message["text"] for message in whole["messages"]] == [
        text for number in range(5) for text in (f"{number}", f"You said: {number}")
    ]
    assert [message["id"] for message in whole["messages"]] == list(tab.view.texts)
    for size in (1, 3, 4, 10, 100):
        pages: list[list[dict[str, Any]]] = []
        before: str | None = None
        while before or not pages:
            query = {"limit": str(size), **({"before": before} if before else {})}
            page = (await desk.http.get(url, headers=headers, params=query)).json()
            pages.insert(0, page["messages"])
            before = page.get("before")
        assert [message for page in pages for message in page] == whole["messages"]
        assert all(len(page) == size for page in pages[1:])
    # A mark that is nobody's, or somebody else's, has nothing before it.
    nothing = await desk.http.get(url, headers=headers, params={"before": ids.message_id()})
    assert nothing.json() == {"messages": []}


async def test_a_widget_without_a_socket_has_the_same_conversation(desk: Desk) -> None:
    """A session begun over HTTP, a message over HTTP, and the socket resumes both."""
    shop = await desk.shop()
    created = await desk.http.post(
        f"{desk.url}/api/v1/sessions", headers={"origin": shop.origin}, json={"key": shop.key, "locale": "he"}
    )
    assert created.status_code == 201 and created.headers["cache-control"] == "no-store"
    session = created.json()
    reply = await desk.http.post(
        f"{desk.url}/api/v1/chat",
        headers={
            "origin": shop.origin,
            "x-frontdesk-key": shop.key,
            "authorization": f"Bearer {session['session_token']}",
        },
        json={"message": "שלום", "session_id": session["session_id"]},
    )
    assert reply.json()["reply"] == "You said: שלום"
    proof = SessionProof(id=session["session_id"], token=session["session_token"])
    async with desk.visit(shop, proof=proof, epoch=session["epoch"], last_seq=0) as (tab, welcome):
        await tab.settle()
        assert welcome.resumed and welcome.conversation_id == session["conversation_id"]
        assert len(tab.of(MessageCreated)) == 1 and len(tab.of(MessageCompleted)) == 1
