"""The whole truth of one turn: raw calls of the model, calls of tools, where the time went."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from server.admin.gate import Caller, guarded
from server.admin.rows import told
from server.errors import NotFound
from server.protocol.admin.playground import ModelCallTruth, ToolCallTruth, TurnSpan, TurnTruth
from server.repositories import answered_turns, model_traffic, tool_executions, turn_steps
from server.repositories.pool import reading
from server.repositories.tool_executions import ToolExecution
from server.repositories.turn_steps import TurnStep
from server.services import Services
from server.staff import serves
from server.turns.steps import Result
from server.turns.waterfall import number_of, spans
from server.web.responses import json


async def read(request: Request, services: Services, caller: Caller) -> Response:
    async with reading(services.pool) as conn:
        turn = await answered_turns.of_any(conn, public_id=request.path_params["turn_id"])
        if turn is None or not serves(caller.operator, turn.client_id):
            raise NotFound("there is no such turn")
        names = {"client_id": turn.client_id, "turn_id": turn.id}
        exchanges = await model_traffic.of_turn(conn, **names)
        executions = await tool_executions.list_for_turn(conn, **names)
        steps = await turn_steps.of_turn(conn, **names)
    ended = turn.finished_at
    bars = spans(turn.created_at, ended, exchanges, executions, steps)
    truth = told(
        turn,
        TurnTruth,
        turn_id=turn.public_id,
        conversation_id=turn.conversation_public_id,
        ms=None if ended is None else round((ended - turn.created_at).total_seconds() * 1000),
        model_calls=[told(each, ModelCallTruth, no=no) for no, each in enumerate(exchanges, 1)],
        tool_calls=_tool_calls(executions, steps),
        spans=[told(each, TurnSpan) for each in bars],
    )
    return json(truth, headers={"cache-control": "no-store"})


def _tool_calls(executions: list[ToolExecution], steps: list[TurnStep]) -> list[ToolCallTruth]:
    read = {step.no: step.result for step in steps if step.kind == "tool" and step.result is not None}
    calls = []
    for row in executions:
        no = number_of(row.call_id)
        result = msgspec.convert(read[no], Result).content if no in read else None
        calls.append(
            told(
                row,
                ToolCallTruth,
                no=no,
                name=row.tool_name,
                arguments=row.parameters,
                result=result,
                response=row.n8n_response,
                ok=row.success,
                started_at=row.timestamp,
                ms=row.execution_time_ms,
            )
        )
    return calls


ENDPOINTS = (
    guarded(
        "GET",
        "/turns/{turn_id}",
        read,
        "The whole truth of a turn",
        TurnTruth,
        needs="admin",
        about="What the model was asked and what it said, as it went over the wire, is kept for 30 days and for the "
        "console's own turns alone; of a visitor's turn there is the rest.",
    ),
)
