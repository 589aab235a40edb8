"""Test cases of a client, and their runs."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from server.admin import gate
from server.admin.gate import Caller, guarded
from server.admin.playground import drafted, shown
from server.admin.rows import told
from server.errors import NotFound
from server.protocol.admin.cases import (
    Case,
    CaseCreate,
    CasePage,
    CaseRow,
    CasesQuery,
    CasesRun,
    CaseUpdate,
    CaseVerdict,
    Run,
    RunPage,
    RunResult,
    RunRow,
)
from server.repositories import case_runs, cases
from server.repositories.case_runs import RunRecord
from server.repositories.cases import CaseLine, CaseRecord
from server.repositories.pool import Pool, reading
from server.services import Services
from server.staff import serves
from server.turns.cases.case import Rules
from server.turns.cases.running import SILENT_S
from server.turns.playground import DraftSettings
from server.web.responses import body, json, query

# --- cases


async def listed(request: Request, services: Services, _caller: Caller) -> Response:
    asked = query(request, CasesQuery)
    async with reading(services.pool) as conn:
        rows = await cases.page(
            conn, client_id=gate.path_id(request, "client_id"), before=asked.before, limit=asked.limit + 1
        )
    page, more = rows[: asked.limit], len(rows) > asked.limit
    return json(CasePage(rows=[_line(row) for row in page], before=page[-1].id if more else None))


async def create(request: Request, services: Services, caller: Caller) -> Response:
    given = await body(request, CaseCreate)
    case = await services.cases.save(
        operator_id=caller.operator.id,
        client_id=gate.path_id(request, "client_id"),
        conversation_id=given.conversation_id,
        name=given.name,
        rules=None if given.rules is None else msgspec.convert(given.rules, Rules, from_attributes=True),
    )
    return json(_case(case), status=201)


async def read(request: Request, services: Services, caller: Caller) -> Response:
    client_id, case_id = await _case_of(request, services, caller)
    async with reading(services.pool) as conn:
        case = await cases.find(conn, client_id=client_id, case_id=case_id)
    if case is None:
        raise NotFound("there is no such case")
    return json(_case(case))


async def update(request: Request, services: Services, caller: Caller) -> Response:
    client_id, case_id = await _case_of(request, services, caller)
    given = await body(request, CaseUpdate)
    case = await services.cases.edit(
        operator_id=caller.operator.id,
        client_id=client_id,
        case_id=case_id,
        seen=given.version,
        name=given.name,
        rules=msgspec.convert(given.rules, Rules, from_attributes=True),
    )
    return json(_case(case))


async def delete(request: Request, services: Services, caller: Caller) -> Response:
    client_id, case_id = await _case_of(request, services, caller)
    await services.cases.delete(operator_id=caller.operator.id, client_id=client_id, case_id=case_id)
    return Response(status_code=204)


# --- runs


async def run(request: Request, services: Services, caller: Caller) -> Response:
    given, client_id = await body(request, CasesRun), gate.path_id(request, "client_id")
    run_id = await services.case_runs.start(
        operator_id=caller.operator.id,
        client_id=client_id,
        case_ids=given.case_ids,
        settings=drafted(given.draft),
    )
    return json(await run_body(services.pool, client_id, run_id), status=202)


async def runs(request: Request, services: Services, _caller: Caller) -> Response:
    asked = query(request, CasesQuery)
    async with reading(services.pool) as conn:
        rows = await case_runs.page(
            conn,
            client_id=gate.path_id(request, "client_id"),
            before=asked.before,
            limit=asked.limit + 1,
            silent_s=SILENT_S,
        )
    page, more = rows[: asked.limit], len(rows) > asked.limit
    return json(RunPage(rows=[_run_row(row) for row in page], before=page[-1].id if more else None))


async def read_run(request: Request, services: Services, caller: Caller) -> Response:
    run_id = gate.path_id(request, "run_id")
    async with reading(services.pool) as conn:
        client_id = await case_runs.client_of(conn, run_id=run_id)
    if client_id is None or not serves(caller.operator, client_id):
        raise NotFound("there is no such run")
    return json(await run_body(services.pool, client_id, run_id))


async def _case_of(request: Request, services: Services, caller: Caller) -> tuple[int, int]:
    """The client's and the case's id. Raises NotFound, the same for another client's."""
    case_id = gate.path_id(request, "case_id")
    async with reading(services.pool) as conn:
        client_id = await cases.client_of(conn, case_id=case_id)
    if client_id is None or not serves(caller.operator, client_id):
        raise NotFound("there is no such case")
    return client_id, case_id


async def run_body(pool: Pool, client_id: int, run_id: int) -> Run:
    """A run as the API tells it. Raises NotFound."""
    async with reading(pool) as conn:
        row = await case_runs.find(conn, client_id=client_id, run_id=run_id, silent_s=SILENT_S)
        results = await case_runs.results(conn, client_id=client_id, run_id=run_id)
    if row is None:
        raise NotFound("there is no such run")
    draft = None if row.draft is None else shown(msgspec.convert(row.draft, DraftSettings))
    return Run(run=_run_row(row), draft=draft, results=[told(each, RunResult) for each in results])


def _run_row(row: RunRecord) -> RunRow:
    return told(row, RunRow, started_by=row.operator_name)


def _line(row: CaseLine) -> CaseRow:
    last = None
    if row.run_id is not None:
        last = msgspec.convert({"run_id": row.run_id, "status": row.run_status, "at": row.run_at}, CaseVerdict)
    return told(row, CaseRow, last=last)


def _case(row: CaseRecord) -> Case:
    return told(row, Case, conversation_id=row.conversation_public_id)


ENDPOINTS = (
    guarded("GET", "/clients/{client_id}/cases", listed, "Test cases", CasePage, asks=CasesQuery, needs="admin"),
    guarded(
        "POST",
        "/clients/{client_id}/cases",
        create,
        "Save a conversation as a test case",
        Case,
        takes=CaseCreate,
        needs="admin",
        status=201,
        about="Of the widget or of the playground, with what its tools answered. The case keeps the visitor's words "
        "until it is deleted, also when they are removed from the conversation.",
    ),
    guarded("GET", "/cases/{case_id}", read, "One test case", Case, needs="admin"),
    guarded(
        "PUT",
        "/cases/{case_id}",
        update,
        "Edit a test case",
        Case,
        takes=CaseUpdate,
        needs="admin",
        about="All that can be changed, with the version that was seen; 409 `changed_meanwhile` when it has moved.",
        refuses=(409,),
    ),
    guarded(
        "DELETE",
        "/cases/{case_id}",
        delete,
        "Delete a test case",
        None,
        needs="admin",
        status=204,
        about="With its results.",
    ),
    guarded(
        "POST",
        "/clients/{client_id}/cases/run",
        run,
        "Run test cases",
        Run,
        takes=CasesRun,
        needs="admin",
        status=202,
        about="In the background, one run of a client at a time (409 `run_active`): read its progress at "
        "`/runs/{run_id}`. The model is asked anew; its tools are answered from the record, and none is really called.",
        refuses=(409,),
    ),
    guarded("GET", "/clients/{client_id}/runs", runs, "Runs", RunPage, asks=CasesQuery, needs="admin"),
    guarded("GET", "/runs/{run_id}", read_run, "One run", Run, needs="admin"),
)
