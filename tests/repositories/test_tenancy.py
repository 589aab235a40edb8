"""Nobody reaches another client's rows: every function that takes a client_id, called with the wrong one."""

import inspect
from collections.abc import Awaitable, Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from psycopg import AsyncCursor, sql

from server import errors
from server.repositories import (
    answered_turns,
    audit,
    case_runs,
    cases,
    changes,
    ciphertexts,
    client_list,
    client_tools,
    clients,
    console_usage,
    conversation_records,
    conversations,
    drafts,
    endpoints,
    events,
    inbox,
    inbox_search,
    integrations,
    knowledge,
    messages,
    model_traffic,
    notes,
    notifications,
    operators,
    sightings,
    tool_executions,
    tool_usage,
    turn_leases,
    turn_records,
    turn_steps,
    turn_stops,
    turns,
    usage,
    visitors,
    whispers,
)
from server.repositories.pool import Conn, Pool, unit_of_work
from tests.repositories.conftest import Shop
from tests.repositories.surface import functions
from tests.repositories.world import DRAFT, EXCHANGE, NOW, QUESTIONS, TODAY, World, populate, soon

Call = Callable[..., Awaitable[Any]]
Arguments = Callable[[World], dict[str, Any]]

_MESSAGE: dict[str, Any] = {"public_id": "msg_new", "role": "user", "content": "hi", "seq": 9, "created_at": NOW}
_TURN: dict[str, Any] = {"public_id": "trn_new", "answer_id": "msg_a", "owner": None, "lease_s": 15, "deadline_s": 60}
_STEP: dict[str, Any] = {"no": 2, "kind": "llm", "state": "done", "request_hash": b"h", "gen": 1}
_CONVERSATION: dict[str, Any] = {
    "public_id": "cnv_new",
    "session_token_hash": b"t",
    "epoch": "e",
    "channel": "api",
    "locale": "en",
}
_PERSON: dict[str, Any] = {"email": "new@x.example", "name": "n", "password_hash": "p", "role": "operator"}
_ENDPOINT: dict[str, Any] = {
    "endpoint_name": "other",
    "endpoint_url": "/o",
    "method": "GET",
    "description": "d",
    "parameters_schema": {},
}
_CASE: dict[str, Any] = {"name": "n", "locale": "en", "verified": False, "questions": QUESTIONS, "rules": {}}
_RESULT: dict[str, Any] = {
    "passed": True,
    "answers": [],
    "verdicts": [],
    "tokens_input": 1,
    "tokens_output": 1,
    "cost": Decimal(1),
    "ms": 5,
}
_PAGE: dict[str, Any] = {"limit": 10, "offset": 0}
_MAY: dict[str, Any] = {"start": TODAY.replace(day=1), "end": TODAY}


def _cnv(world: World) -> dict[str, Any]:
    return {"conversation_id": world.cnv}


def _nothing(_: World) -> dict[str, Any]:
    return {}


# Those that name rows of the client: with the wrong client_id they find nothing and change nothing, or are refused.
NAMES_ROWS: list[tuple[Call, Arguments]] = [
    (conversations.find_by_session, lambda w: {"session_id": w.session_id}),
    (conversations.find, _cnv),
    (conversations.find_by_public_id, lambda w: {"public_id": w.public_id}),
    (conversations.lock, _cnv),
    (conversations.advance, lambda w: {**_cnv(w), "last_seq": 7, "messages_added": 1}),
    (conversations.set_summary, lambda w: {**_cnv(w), "summary": "s", "summary_through": 1}),
    (conversations.set_owner, lambda w: {**_cnv(w), "owner": "queued"}),
    (conversations.set_waiting, lambda w: {**_cnv(w), "waiting": True}),
    (conversations.set_locale, lambda w: {**_cnv(w), "locale": "fr"}),
    (conversations.verify, lambda w: {**_cnv(w), "visitor_id": w.visitor, "verified_until": soon()}),
    (conversations.set_rating, lambda w: {**_cnv(w), "rating": "up"}),
    (conversations.end, _cnv),
    (conversations.list_for_client, lambda w: _PAGE),
    (inbox.near, lambda w: {"limit": 10}),
    (inbox.page, lambda w: {"limit": 10}),
    (inbox.entry, _cnv),
    (inbox_search.hits, lambda w: {"words": "'user':*", "limit": 10}),
    (inbox_search.page, lambda w: {"words": "'user':*", "limit": 10}),
    (conversation_records.find, _cnv),
    (conversation_records.rating_comments, lambda w: {**_cnv(w), "message_ids": [w.answer]}),
    (turn_records.page, lambda w: {**_cnv(w), "before": None, "limit": 5}),
    (turn_records.steps, lambda w: {"turn_ids": [w.turn]}),
    (turn_records.calls, lambda w: {"turn_ids": [w.turn]}),
    (notes.create, lambda w: {**_cnv(w), "operator_id": w.operator, "content": "x", "most": 5}),
    (notes.of_conversation, _cnv),
    (notes.delete, lambda w: {"note_id": w.note}),
    (messages.create, lambda w: {**_cnv(w), **_MESSAGE}),
    (messages.admission, lambda w: {**_cnv(w), "cid": "c1", "month_start": TODAY.replace(day=1)}),
    (messages.recent, _cnv),
    (messages.page, lambda w: {**_cnv(w), "before": w.answer, "limit": 5}),
    (messages.all, _cnv),
    (messages.between, lambda w: {**_cnv(w), "after_id": 0, "through_id": w.question_row}),
    (messages.find_by_public_id, lambda w: {**_cnv(w), "public_id": w.question}),
    (messages.find_by_cid, lambda w: {**_cnv(w), "cid": "c1"}),
    (messages.unanswered, lambda w: {"conversation_id": w.waiting_cnv}),
    (messages.stored_cids, lambda w: {**_cnv(w), "cids": ["c1", "c2"]}),
    (messages.rate, lambda w: {**_cnv(w), "public_id": w.answer, "rating": "up"}),
    (messages.total_tokens, _cnv),
    (turns.create, lambda w: {**_cnv(w), **_TURN, "message_public_id": w.question}),
    (turns.find, lambda w: {"public_id": w.turn_public_id}),
    (turns.find_by_message, lambda w: {**_cnv(w), "message_public_id": w.question}),
    (turns.running, _cnv),
    (turns.waiting, lambda w: {"conversation_id": w.queued_cnv}),
    (
        turn_leases.claim_next,
        lambda w: {"conversation_id": w.queued_cnv, "owner": "ins_b", "lease_s": 15, "deadline_s": 120},
    ),
    (
        turn_leases.take_over,
        lambda w: {
            "turn_id": w.turn,
            "gen": 1,
            "lease_until": w.turn_lease,
            "owner": "ins_b",
            "lease_s": 15,
            "deadline_s": 120,
        },
    ),
    (turn_leases.give_back, lambda w: {"turn_id": w.turn, "gen": 1, "owner": "ins_a"}),
    (turn_leases.fence, lambda w: {"turn_id": w.turn, "gen": 1, "owner": "ins_a"}),
    (turns.finish, lambda w: {"turn_id": w.turn, "gen": 1, "status": "done"}),
    (turns.stop, lambda w: {**_cnv(w), "public_id": w.turn_public_id}),
    (turn_stops.unended, _cnv),
    (turn_stops.stop_all, lambda w: {**_cnv(w), "error": "taken"}),
    (whispers.create, lambda w: {**_cnv(w), "operator_id": w.operator, "content": "x", "most_waiting": 5}),
    (whispers.hand_over, lambda w: {**_cnv(w), "turn_id": w.turn}),
    (whispers.of_turn, lambda w: {"turn_id": w.turn}),
    (whispers.recent, lambda w: {**_cnv(w), "limit": 5}),
    (turn_steps.create, lambda w: {**_STEP, "turn_id": w.turn}),
    (turn_steps.finish, lambda w: {"turn_id": w.turn, "no": 1, "gen": 1, "state": "done"}),
    (turn_steps.of_turn, lambda w: {"turn_id": w.turn}),
    (events.append, lambda w: {**_cnv(w), "events": [events.NewEvent(2, "x", b"{}", w.turn, 1)]}),
    (events.after, lambda w: {**_cnv(w), "seq": 0, "limit": 10}),
    (events.head, _cnv),
    (usage.period, lambda w: _MAY),
    (usage.current_period, lambda w: {"today": TODAY}),
    (usage.total, lambda w: _MAY),
    (usage.rows, lambda w: _MAY),
    (usage.cost_between, lambda w: _MAY),
    (usage.messages_since, lambda w: {"start": TODAY}),
    (usage.over_limit, lambda w: {"today": TODAY}),
    (visitors.find, lambda w: {"visitor_id": w.visitor}),
    (visitors.verified, _cnv),
    (visitors.list_for_client, lambda w: _PAGE),
    (visitors.erase, lambda w: {"visitor_id": w.visitor}),
    (operators.list_for_client, _nothing),
    (operators.page, lambda w: {"before": None, "limit": 10}),
    (sightings.list_for_client, _nothing),
    (audit.list_for_client, lambda w: _PAGE),
    (changes.find_last, lambda w: {"target_type": "client", "target_id": str(w.id)}),
    (audit.page, lambda w: {"operator_id": None, "action": None, "before": None, "limit": 5}),
    (tool_usage.top, lambda w: {"start": soon() - timedelta(days=1), "end": soon(), "limit": 5}),
    (notifications.create, lambda w: {**_cnv(w), "kind": "turn_failed"}),
    (notifications.page, lambda w: {"limit": 10}),
    (notifications.list_unread, lambda w: {"limit": 10}),
    (notifications.count_unread, lambda w: {"most": 10}),
    (notifications.mark_one_read, lambda w: {"notification_id": w.notification}),
    (notifications.mark_read, lambda w: {"through_id": w.notification}),
    (drafts.create, lambda w: {"conversation_id": w.waiting_cnv, "session_id": "ses_x", **DRAFT}),
    (drafts.replace, lambda w: {**_cnv(w), **DRAFT, "system_prompt": "Be long."}),
    (drafts.of_turn, lambda w: {**_cnv(w), "turn_id": w.turn}),
    (model_traffic.record, lambda w: {**EXCHANGE, "turn_id": w.turn}),
    (model_traffic.of_turn, lambda w: {"turn_id": w.turn}),
    (console_usage.since, lambda w: {"start": TODAY}),
    (answered_turns.page, lambda w: {**_cnv(w), "before": None, "limit": 5}),
    (answered_turns.of_conversation, _cnv),
    (cases.create, lambda w: {**_cnv(w), **_CASE}),
    (cases.find, lambda w: {"case_id": w.case}),
    (cases.update, lambda w: {"case_id": w.case, "seen": 1, "name": "n", "rules": {}}),
    (cases.delete, lambda w: {"case_id": w.case}),
    (cases.page, lambda w: {"before": None, "limit": 5}),
    (case_runs.fill, lambda w: {"run_id": w.run, "case_ids": None}),
    (case_runs.beat, lambda w: {"run_id": w.run}),
    (case_runs.begin_case, lambda w: {"run_id": w.run, "case_id": w.case}),
    (case_runs.end_case, lambda w: {**_RESULT, "run_id": w.run, "case_id": w.case}),
    (case_runs.end, lambda w: {"run_id": w.run, "status": "done"}),
    (case_runs.find, lambda w: {"run_id": w.run, "silent_s": 45}),
    (case_runs.page, lambda w: {"before": None, "limit": 5, "silent_s": 45}),
    (case_runs.results, lambda w: {"run_id": w.run}),
    (clients.identity_secret, _nothing),
    (ciphertexts.replace_signing_secret, lambda w: {"row_id": w.client_tool, "old": b"sealed", "new": b"new"}),
    (ciphertexts.replace_connection_config, lambda w: {"row_id": w.integration, "old": b"sealed", "new": b"new"}),
    (ciphertexts.replace_identity_secret, lambda w: {"row_id": w.id, "old": b"sealed", "new": b"new"}),
    (client_tools.disable, lambda w: {"tool_id": w.tool}),
    (
        client_tools.update,
        lambda w: {"tool_id": w.tool, "changes": client_tools.ClientToolChanges(timeout_ms=500)},
    ),
    (client_tools.list_enabled, _nothing),
    (client_tools.list_all, _nothing),
    (client_tools.find_by_name, lambda w: {"tool_name": "tool_pizza"}),
    (integrations.find, lambda w: {"integration_id": w.integration}),
    (integrations.list_for_client, _nothing),
    (integrations.update, lambda w: {"integration_id": w.integration, "enabled": False}),
    (integrations.record_test, lambda w: {"integration_id": w.integration, "result": {"ok": True}}),
    (integrations.delete, lambda w: {"integration_id": w.integration}),
    (endpoints.create, lambda w: {**_ENDPOINT, "integration_id": w.integration}),
    (endpoints.list_offered, _nothing),
    (endpoints.count_by_integration, _nothing),
    (endpoints.list_for_integration, lambda w: {"integration_id": w.integration}),
    (endpoints.find_by_name, lambda w: {"endpoint_name": "get_product"}),
    (endpoints.delete, lambda w: {"endpoint_id": w.endpoint}),
    (
        tool_executions.start,
        lambda w: {**_cnv(w), "turn_id": w.turn, "call_id": "call_1", "tool_name": "t", "parameters": {}},
    ),
    (
        tool_executions.finish,
        lambda w: {"turn_id": w.turn, "call_id": "call_1", "success": True, "execution_time_ms": 5},
    ),
    (
        tool_executions.ask,
        lambda w: {
            **_cnv(w),
            "turn_id": w.turn,
            "call_id": "call_3",
            "tool_name": "t",
            "parameters": {},
            "approval_until": soon(),
        },
    ),
    (tool_executions.decline, lambda w: {"turn_id": w.turn, "call_id": "call_2"}),
    (
        tool_executions.refuse,
        lambda w: {**_cnv(w), "turn_id": w.turn, "call_id": "call_3", "tool_name": "t", "parameters": {}, "error": "e"},
    ),
    (tool_executions.answer, lambda w: {**_cnv(w), "call_id": "call_2", "approved": True}),
    (tool_executions.decline_open, _cnv),
    (tool_executions.abandon, lambda w: {"turn_id": w.turn, "error": "e"}),
    (tool_executions.find_call, lambda w: {"turn_id": w.turn, "call_id": "call_1"}),
    (tool_executions.list_for_turn, lambda w: {"turn_id": w.turn}),
    (tool_executions.list_for_conversation, _cnv),
    (tool_executions.list_for_client, lambda w: _PAGE),
    (knowledge.find_document, lambda w: {"document_id": w.document}),
    (knowledge.list_documents, _nothing),
    (knowledge.fail_document, lambda w: {"document_id": w.document, "error": "e"}),
    (knowledge.delete_document, lambda w: {"document_id": w.document}),
    (knowledge.replace_chunks, lambda w: {"document_id": w.document, "contents": ["x"], "tokens": 1}),
    (knowledge.search_words, lambda w: {"query": "opening", "limit": 5}),
    (knowledge.set_embeddings, lambda w: {"document_id": w.document, "embeddings": [[0.0, 1.0]]}),
    (knowledge.search_meaning, lambda w: {"embedding": [1.0, 0.0], "limit": 5}),
]

# Those that work on the named client itself or give it a row: they may succeed, for that client alone.
OWN: list[tuple[Call, Arguments]] = [
    (clients.find, _nothing),
    (clients.find_to_change, _nothing),
    (
        client_list.page,
        lambda w: {"query": None, "status": None, "before": None, "limit": 10, "today": TODAY},
    ),
    (clients.update, lambda w: {"changes": clients.ClientChanges(name="renamed")}),
    (clients.rotate_key, lambda w: {"api_key_hash": b"new", "api_key_prefix": "sk_n"}),
    (clients.set_identity_secret, lambda w: {"identity_secret": b"new", "replace": True}),
    (clients.set_status, lambda w: {"status": "suspended"}),
    (conversations.create, lambda w: {**_CONVERSATION, "session_id": w.session_id + "x"}),
    (usage.record, lambda w: {"day": TODAY, "messages": 1, "cost": Decimal(1)}),
    (console_usage.record, lambda w: {"day": TODAY, "messages": 1, "cost": Decimal(1)}),
    (case_runs.create, lambda w: {"operator_id": None, "draft": None, "silent_s": -1}),
    (visitors.verify, lambda w: {"external_id": "v1", "name": "Eve", "email": None}),
    (operators.create, lambda w: _PERSON),
    (audit.record, lambda w: {"operator_id": None, "action": "a", "target_type": "t", "target_id": "1"}),
    (client_tools.set_base_url, lambda w: {"webhook_base_url": "https://n8n.example/base"}),
    (client_tools.enable, lambda w: {"tool_id": w.tool, "n8n_webhook_url": "https://n8n.example/b"}),
    (integrations.create, lambda w: {"integration_type": "shopify", "connection_config": b"x"}),
    (
        knowledge.create_document,
        lambda w: {"title": "t", "source_type": "text", "source_url": None, "content_hash": b"other"},
    ),
]


class _Undo(Exception):
    """Rolls a trial back."""


async def _rows_of(conn: Conn, client_id: int) -> list[str]:
    """Every row of a client in every table, as text."""
    # Tables that carry a client_id.
    cursor = await conn.execute(
        "select table_name from information_schema.columns "
        "where table_schema = 'public' and column_name = 'client_id' order by 1"
    )
    rows = []
    for (table,) in await cursor.fetchall():
        query = sql.SQL("select to_jsonb(t)::text from {} t where client_id = {} order by 1")
        found = await conn.execute(query.format(sql.Identifier(table), sql.Literal(client_id)))
        rows += [f"{table} {text}" for (text,) in await found.fetchall()]
    client = await conn.execute("select to_jsonb(c)::text from clients c where id = %s", [client_id])
    return rows + [text for (text,) in await client.fetchall()]


async def _try(pool: Pool, call: Call, watched: int, **kwargs: Any) -> tuple[Any, bool]:
    """The result of a call, and whether it changed the watched client's rows. Nothing of it stays."""
    outcome: tuple[Any, bool] = (None, False)
    try:
        async with unit_of_work(pool) as conn:
            before = await _rows_of(conn, watched)
            result = await call(conn, **kwargs)
            if isinstance(result, AsyncCursor):
                result = await result.fetchone()
            outcome = (result, await _rows_of(conn, watched) != before)
            raise _Undo
    except _Undo:
        return outcome


def _foreign(value: Any, client_id: int) -> Any:
    """A list without the caller's own rows; anything else as it is."""
    if isinstance(value, list):
        return [row for row in value if getattr(row, "client_id", None) != client_id]
    return value


def _empty(value: Any) -> bool:
    if isinstance(value, msgspec.Struct):
        return all(_empty(getattr(value, name)) for name in value.__struct_fields__ if name != "client_id")
    return not value


def _named(case: tuple[Call, Arguments]) -> str:
    return f"{case[0].__module__.rsplit('.', 1)[-1]}.{getattr(case[0], '__name__', '')}"


async def test_names_rows(pool: Pool, pizza: Shop, bakery: Shop) -> None:
    """With the right client each function finds or changes something; with another's it does neither."""
    world = await populate(pool, pizza)
    for case in NAMES_ROWS:
        call, arguments = case
        result, changed = await _try(pool, call, pizza.id, client_id=pizza.id, **arguments(world))
        assert changed or not _empty(result), f"{_named(case)} did nothing for its own client: the case is wrong"
        try:
            result, changed = await _try(pool, call, pizza.id, client_id=bakery.id, **arguments(world))
        except (errors.NotFound, errors.Conflict):
            continue
        assert not changed, f"{_named(case)} changed another client's rows"
        assert _empty(_foreign(result, bakery.id)), f"{_named(case)} gave another client's rows away"


async def test_own(pool: Pool, pizza: Shop, bakery: Shop) -> None:
    """What works on one client leaves the other one's rows as they were."""
    world = await populate(pool, pizza)
    for case in OWN:
        call, arguments = case
        result, changed = await _try(pool, call, bakery.id, client_id=bakery.id, **arguments(world))
        assert changed or not _empty(result), f"{_named(case)} did nothing for its own client: the case is wrong"
        result, changed = await _try(pool, call, pizza.id, client_id=bakery.id, **arguments(world))
        assert not changed, f"{_named(case)} changed another client's rows"
        if isinstance(result, msgspec.Struct):
            assert getattr(result, "client_id", getattr(result, "id", None)) == bakery.id, _named(case)


def test_every_function_with_a_client_is_in_the_table() -> None:
    """A new function that takes a client_id must be tried here too."""
    tried = {_named(case) for case in NAMES_ROWS + OWN}
    there = {name for name, function in functions() if "client_id" in inspect.signature(function).parameters}
    assert tried == there


async def test_a_message_cannot_join_another_clients_turn(pool: Pool, pizza: Shop, bakery: Shop) -> None:
    """Composite keys refuse a row that mixes two clients, even inside an own conversation."""
    world = await populate(pool, pizza)
    with pytest.raises(errors.NotFound):
        async with unit_of_work(pool) as conn:
            await messages.create(conn, client_id=bakery.id, conversation_id=bakery.cnv, turn_id=world.turn, **_MESSAGE)
    with pytest.raises(errors.NotFound):
        async with unit_of_work(pool) as conn:
            await turns.create(
                conn, client_id=bakery.id, conversation_id=bakery.cnv, message_public_id=world.question, **_TURN
            )
    with pytest.raises(errors.NotFound):
        async with unit_of_work(pool) as conn:
            await conversations.verify(
                conn,
                client_id=bakery.id,
                conversation_id=bakery.cnv,
                visitor_id=world.visitor,
                verified_until=soon(),
            )


async def test_deleting_a_client_takes_all_its_rows(pool: Pool, pizza: Shop, bakery: Shop) -> None:
    """Nothing of a deleted client stays but the audit log, which no longer names it; nobody else loses a row."""
    await populate(pool, pizza)
    await populate(pool, bakery)
    async with unit_of_work(pool) as conn:
        others = await _rows_of(conn, bakery.id)
        await conn.execute("delete from clients where id = %s", [pizza.id])
        assert await _rows_of(conn, pizza.id) == []
        assert await _rows_of(conn, bakery.id) == others
        assert [entry.client_id for entry in await audit.list_all(conn, limit=10, offset=0)] == [bakery.id, None]
