"""Rows of every kind for one client, so that a test can try to reach them as another."""

import secrets
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec

from server import ids
from server.repositories import (
    audit,
    case_runs,
    cases,
    ciphertexts,
    client_tools,
    clients,
    console_usage,
    conversations,
    drafts,
    endpoints,
    events,
    integrations,
    knowledge,
    messages,
    model_traffic,
    notes,
    notifications,
    operators,
    sightings,
    tool_executions,
    tools,
    turn_steps,
    turns,
    usage,
    visitors,
    whispers,
)
from server.repositories.events import NewEvent
from server.repositories.pool import Conn, Pool, reading, unit_of_work
from tests.repositories.conftest import Shop

TODAY = date(2031, 5, 20)
NOW = datetime(2031, 5, 20, 12, tzinfo=UTC)


def soon() -> datetime:
    """In an hour, by this machine's clock."""
    return datetime.now(UTC) + timedelta(hours=1)


class World(msgspec.Struct, frozen=True):
    """The ids of one client's rows. The turn runs, owned by instance `ins_a`; the answer is of an earlier, done one."""

    id: int
    cnv: int
    public_id: str
    session_id: str
    question: str
    answer: str
    question_row: int
    turn: int
    turn_public_id: str
    turn_lease: datetime
    queued_cnv: int
    queued_turn: str
    waiting_cnv: int
    visitor: int
    operator: int
    tool: int
    client_tool: int
    integration: int
    endpoint: int
    document: int
    notification: int
    note: int
    case: int
    run: int


async def say(
    pool: Pool, client_id: int, conversation_id: int, *, seq: int, role: str = "user", cid: str | None = None
) -> str:
    """A message; its public id."""
    public_id = ids.message_id()
    async with unit_of_work(pool) as conn:
        await messages.create(
            conn,
            client_id=client_id,
            conversation_id=conversation_id,
            public_id=public_id,
            role=role,
            content=f"{role} {seq}",
            seq=seq,
            created_at=NOW,
            cid=cid,
            tokens_input=10,
            tokens_output=5,
            cost=Decimal("0.0000012345"),
        )
    return public_id


async def ask(
    pool: Pool, client_id: int, conversation_id: int, message_id: str, *, owner: str | None, lease_s: float = 15
) -> str:
    """A turn, running when it has an owner; its public id."""
    public_id = ids.turn_id()
    async with unit_of_work(pool) as conn:
        await turns.create(
            conn,
            client_id=client_id,
            conversation_id=conversation_id,
            public_id=public_id,
            message_public_id=message_id,
            answer_id=ids.message_id(),
            owner=owner,
            lease_s=lease_s,
            deadline_s=120,
        )
    return public_id


async def another_conversation(pool: Pool, client_id: int) -> int:
    """One more conversation of a client."""
    async with unit_of_work(pool) as conn:
        made = await conversations.create(
            conn,
            client_id=client_id,
            public_id=ids.conversation_id(),
            session_id=ids.session_id(),
            session_token_hash=secrets.token_bytes(32),
            epoch="e",
            channel="api",
            locale="he",
        )
    return made.id


async def populate(pool: Pool, shop: Shop) -> World:
    """Fills a shop with rows of every kind."""
    question = await say(pool, shop.id, shop.cnv, seq=1, cid="c1")
    answer = await say(pool, shop.id, shop.cnv, seq=2, role="assistant")
    turn_public_id = await ask(pool, shop.id, shop.cnv, question, owner="ins_a", lease_s=300)
    queued_cnv = await another_conversation(pool, shop.id)
    queued_turn = await ask(pool, shop.id, queued_cnv, await say(pool, shop.id, queued_cnv, seq=1), owner=None)
    waiting_cnv = await another_conversation(pool, shop.id)
    await say(pool, shop.id, waiting_cnv, seq=1)
    async with reading(pool) as conn:
        turn = await turns.find(conn, client_id=shop.id, public_id=turn_public_id)
        assert turn is not None and turn.lease_until is not None
    async with unit_of_work(pool) as conn:
        await turn_steps.create(
            conn, client_id=shop.id, turn_id=turn.id, no=1, kind="tool", state="started", request_hash=b"h", gen=1
        )
        await conversations.advance(conn, client_id=shop.id, conversation_id=shop.cnv, last_seq=0, messages_added=2)
        where: dict[str, Any] = {"client_id": shop.id, "conversation_id": shop.cnv}
        assert await messages.rate(conn, **where, public_id=answer, rating="up", comment="Good.")
        new = NewEvent(1, "message.created", b'{"type":"message.created"}', turn.id, 1)
        await events.append(conn, client_id=shop.id, conversation_id=shop.cnv, events=[new])
        await usage.record(conn, client_id=shop.id, day=TODAY, messages=1000, cost=Decimal("1.5"))
        await sightings.record(conn, seen=[(shop.id, "https://shop.example")])
        await tool_executions.start(
            conn,
            client_id=shop.id,
            conversation_id=shop.cnv,
            turn_id=turn.id,
            call_id="call_1",
            tool_name="t",
            parameters={"order": 1},
        )
        # A visitor's: the conversation of the other calls has a draft of the console.
        await tool_executions.start(
            conn,
            client_id=shop.id,
            conversation_id=waiting_cnv,
            turn_id=turn.id,
            call_id="call_of_waiting",
            tool_name="t",
            parameters={},
        )
        await tool_executions.ask(
            conn,
            client_id=shop.id,
            conversation_id=shop.cnv,
            turn_id=turn.id,
            call_id="call_2",
            tool_name="t",
            parameters={"order": 2},
            approval_until=soon(),
        )
        await clients.set_identity_secret(conn, client_id=shop.id, identity_secret=b"sealed", replace=False)
        visitor = await visitors.verify(conn, client_id=shop.id, external_id="v1", name="Ann", email=None)
        assert await conversations.verify(
            conn, client_id=shop.id, conversation_id=shop.cnv, visitor_id=visitor.id, verified_until=soon()
        )
        operator = await operators.create(
            conn,
            client_id=shop.id,
            email=f"{secrets.token_hex(4)}@x.example",
            name="Olga",
            password_hash="$argon2id$",
            role="operator",
        )
        note = await notes.create(conn, **where, operator_id=operator.id, content="A regular.", most=5)
        assert note is not None
        whisper: dict[str, Any] = {"operator_id": operator.id, "content": "Be brief.", "most_waiting": 5}
        assert await whispers.create(conn, client_id=shop.id, conversation_id=shop.cnv, **whisper)
        await whispers.hand_over(conn, client_id=shop.id, conversation_id=shop.cnv, turn_id=turn.id)
        assert await whispers.create(conn, client_id=shop.id, conversation_id=shop.cnv, **whisper)
        tool = await tools.create(
            conn,
            tool_name=f"tool_{shop.client.name}",
            description="d",
            parameters_schema={"type": "object"},
            category="shop",
            effect="read_only",
            label={"en": "Looking"},
        )
        await client_tools.enable(
            conn,
            client_id=shop.id,
            tool_id=tool.id,
            n8n_webhook_url="https://n8n.example/a",
            signing_secret=b"sealed",
        )
        integration = await integrations.create(
            conn, client_id=shop.id, integration_type="custom_api", connection_config=b"sealed"
        )
        endpoint = await endpoints.create(
            conn,
            client_id=shop.id,
            integration_id=integration.id,
            endpoint_name="get_product",
            endpoint_url="/products/{id}",
            method="GET",
            description="d",
            parameters_schema={},
        )
        document = await knowledge.create_document(
            conn, client_id=shop.id, title="FAQ", source_type="faq", source_url=None, content_hash=b"sha"
        )
        await knowledge.replace_chunks(
            conn, client_id=shop.id, document_id=document.id, contents=["opening hours: nine to five"], tokens=6
        )
        await knowledge.set_embeddings(conn, client_id=shop.id, document_id=document.id, embeddings=[[1.0, 0.0]])
        await notifications.create(conn, client_id=shop.id, kind="handoff_requested", conversation_id=shop.cnv)
        [notification] = await notifications.list_unread(conn, client_id=shop.id, limit=1)
        await audit.record(
            conn,
            client_id=shop.id,
            operator_id=operator.id,
            action="client.update",
            target_type="client",
            target_id=str(shop.id),
        )
        case, run = await _tried_out(conn, shop.id, shop.cnv, turn.id)
        [first, _] = await messages.all(conn, client_id=shop.id, conversation_id=shop.cnv)
        [client_tool] = await ciphertexts.list_signing_secrets(conn, after_id=0, limit=1)
    return World(
        id=shop.id,
        cnv=shop.cnv,
        public_id=shop.conversation.public_id,
        session_id=shop.conversation.session_id,
        question=question,
        answer=answer,
        question_row=first.id,
        turn=turn.id,
        turn_public_id=turn_public_id,
        turn_lease=turn.lease_until,
        queued_cnv=queued_cnv,
        queued_turn=queued_turn,
        waiting_cnv=waiting_cnv,
        visitor=visitor.id,
        operator=operator.id,
        tool=tool.id,
        client_tool=client_tool.id,
        integration=integration.id,
        endpoint=endpoint.id,
        document=document.id,
        notification=notification.id,
        note=note.id,
        case=case,
        run=run,
    )


# A model's call as `model_traffic.record` takes it, but for whose it is.
EXCHANGE: dict[str, Any] = {
    "no": 1,
    "gen": 1,
    "provider": "openai",
    "model": "m",
    "first_ms": 20,
    "ms": 90,
    "tries": [{"method": "POST", "url": "https://api.example/v1/chat", "status": 200}],
    "request": "{}",
    "request_bytes": 2,
    "response": "data: [DONE]",
    "response_bytes": 12,
    "tokens_input": 7,
    "tokens_output": 3,
    "tokens_cached": 0,
    "error": None,
}
# A draft as `drafts.create` takes it, but for whose it is.
DRAFT: dict[str, Any] = {"system_prompt": "Be brief.", "model_config": {"model": "m"}, "tools": ["t"]}
QUESTIONS: list[dict[str, Any]] = [{"text": "Hi?", "answer": "Hello!", "calls": []}]


async def _tried_out(conn: Conn, client_id: int, conversation_id: int, turn_id: int) -> tuple[int, int]:
    """What the console leaves: a draft, a model's call, use, a case, and a run of it. The ids of the last two."""
    where: dict[str, Any] = {"client_id": client_id, "conversation_id": conversation_id}
    await drafts.create(conn, **where, session_id=ids.session_id(), **DRAFT)
    await model_traffic.record(conn, client_id=client_id, turn_id=turn_id, **EXCHANGE)
    await console_usage.record(conn, client_id=client_id, day=TODAY, messages=2, cost=Decimal("0.5"))
    rules: dict[str, Any] = {"must_call": [], "must_contain": ["hello"], "must_not_contain": []}
    case = await cases.create(
        conn, **where, name="Greeting", locale="en", verified=False, questions=QUESTIONS, rules=rules
    )
    run = await case_runs.create(conn, client_id=client_id, operator_id=None, draft=None, silent_s=45)
    assert await case_runs.fill(conn, client_id=client_id, run_id=run, case_ids=None) == [case]
    return case, run
