"""What the AI did in a conversation, turn by turn, from the record."""

from collections import defaultdict
from typing import Any, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from server.admin.gate import Caller, guarded
from server.protocol.admin.conversations import (
    TurnInfo,
    TurnInfoPage,
    TurnsQuery,
    TurnStepCall,
    TurnStepInfo,
    TurnToolCall,
)
from server.repositories import turn_records
from server.repositories.pool import reading
from server.repositories.turn_records import CallRecord, TurnRecord
from server.repositories.turn_steps import TurnStep
from server.services import Services
from server.staff import find_conversation
from server.tools.result import reading as readable
from server.turns.steps import Decision, Result
from server.web.responses import json, query

# Bytes of a step's text, and of a call's arguments and response each.
TEXT_BYTES = 4_000
JSON_BYTES = 8_000

Status = Literal["queued", "running", "done", "failed", "stopped"]
State = Literal["started", "done", "failed", "unknown"]
Approval = Literal["asked", "approved", "declined"]


async def turns(request: Request, services: Services, caller: Caller) -> Response:
    asked = query(request, TurnsQuery)
    conversation = await find_conversation(services.pool, caller.operator, request.path_params["conversation_id"])
    client_id = conversation.client_id
    async with reading(services.pool) as conn:
        found = await turn_records.page(
            conn, client_id=client_id, conversation_id=conversation.id, before=asked.before, limit=asked.limit + 1
        )
        page = found[-asked.limit :]
        turn_ids = [each.id for each in page]
        steps = await turn_records.steps(conn, client_id=client_id, turn_ids=turn_ids) if page else []
        calls = await turn_records.calls(conn, client_id=client_id, turn_ids=turn_ids) if page else []
    steps_of: dict[int, list[TurnStep]] = defaultdict(list)
    for step in steps:
        steps_of[step.turn_id].append(step)
    calls_of: dict[int, list[CallRecord]] = defaultdict(list)
    for call in calls:
        calls_of[call.turn_id].append(call)
    told = TurnInfoPage(
        rows=[_turn(each, steps_of[each.id], calls_of[each.id]) for each in page],
        before=page[0].public_id if len(found) > asked.limit else None,
    )
    return json(told, headers={"cache-control": "no-store"})


def _turn(row: TurnRecord, steps: list[TurnStep], calls: list[CallRecord]) -> TurnInfo:
    return TurnInfo(
        turn_id=row.public_id,
        message_id=row.message_public_id,
        answer_id=row.answer_id,
        status=msgspec.convert(row.status, Status),
        attempts=row.attempts,
        error=row.error,
        model=row.model,
        tokens_input=row.tokens_input,
        tokens_output=row.tokens_output,
        cost=row.cost,
        queued_at=row.queued_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        steps=[_step(row.public_id, each) for each in steps],
        calls=[_call(each) for each in calls],
    )


def _step(turn_id: str, row: TurnStep) -> TurnStepInfo:
    """A model's decision, or what came of one of its calls."""
    text, calls, usage = "", [], None
    if row.kind == "llm":
        decision = msgspec.convert(row.result, Decision)
        text, usage = decision.text, decision.usage
        # A call's number follows its step's: see `turns/steps`.
        calls = [
            TurnStepCall(
                call_id=f"{turn_id}:{row.no + 1 + at}",
                name=made.name,
                arguments=readable(made.arguments, limit=JSON_BYTES),
            )
            for at, made in enumerate(decision.calls)
        ]
    elif row.result is not None:
        text = msgspec.convert(row.result, Result).content
    return TurnStepInfo(
        no=row.no,
        kind="llm" if row.kind == "llm" else "tool",
        state=msgspec.convert(row.state, State),
        text=readable(text, limit=TEXT_BYTES),
        calls=calls,
        tokens_input=None if usage is None else usage.input,
        tokens_output=None if usage is None else usage.output,
        began_at=row.created_at,
        ended_at=row.finished_at,
    )


def _call(row: CallRecord) -> TurnToolCall:
    response = row.response if row.response_begins is None else f"{row.response_begins} ... [cut]"
    return TurnToolCall(
        call_id=row.call_id,
        name=row.tool_name,
        arguments=_shown(row.parameters),
        response=_shown(response),
        success=row.success,
        error=row.error,
        ms=row.execution_time_ms,
        attempts=row.attempt,
        approval=msgspec.convert(row.approval, Approval | None),
        approval_until=row.approval_until,
        began_at=row.timestamp,
    )


def _shown(value: Any) -> Any:
    """JSON that says what was cut from it; text where its names alone are too long."""
    if isinstance(value, str):
        return readable(value, limit=JSON_BYTES)
    text = readable(value, limit=JSON_BYTES)
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


ENDPOINTS = (
    guarded(
        "GET",
        "/conversations/{conversation_id}/turns",
        turns,
        "Read what the AI did in a conversation",
        TurnInfoPage,
        needs="operator",
        asks=TurnsQuery,
        about="Oldest first: what the model decided, each tool call with its arguments and what came back, times, "
        "tokens and cost. Tool calls are kept for 90 days.",
    ),
)
