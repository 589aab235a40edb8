"""Looks something up in a client's own database with the statement its owner wrote."""

import asyncio
from typing import Any, Protocol

import msgspec

from server.tools.connections.database import DatabaseConnection, DatabaseKind
from server.tools.live import outcome as live_outcome
from server.tools.live.answers import LiveAnswers
from server.tools.live.http_endpoint import look_up_seconds
from server.tools.live.response_path import PathError, pick
from server.tools.sql.driver import DatabaseFault, Rows
from server.tools.tool import Call, Endpoint, Outcome, Tool
from server.tools.webhook import answer


class Asker(Protocol):
    """Asks a client's database: `Databases`, or who watches it. Raises DatabaseFault."""

    async def query(
        self,
        connection: DatabaseConnection,
        kind: DatabaseKind,
        *,
        statement: str,
        parameters: dict[str, Any],
        timeout_s: float = ...,
    ) -> Rows: ...


class DatabaseEndpoints:
    """Shared by all turns of an instance."""

    def __init__(self, databases: Asker, answers: LiveAnswers) -> None:
        self._databases = databases
        self._answers = answers

    async def run(
        self,
        tool: Tool,
        endpoint: Endpoint,
        call: Call,
        connection: DatabaseConnection,
        kind: DatabaseKind,
        identity: bytes,
    ) -> Outcome:
        """`identity` names the connection with its credentials. Never raises for what the database does."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + look_up_seconds(call)
        asked = msgspec.json.encode(call.arguments, order="sorted")
        question = self._answers.question(tool, endpoint, call, identity, endpoint.url, asked)
        if (known := await self._answers.known(tool, question)) is not None:
            return known
        try:
            rows = await self._databases.query(
                connection,
                kind,
                statement=endpoint.url,
                parameters=call.arguments,
                timeout_s=max(0.001, deadline - clock()),
            )
            found: Any = pick(endpoint.response_path, [dict(zip(rows.columns, row, strict=True)) for row in rows.rows])
        except DatabaseFault as fault:
            error = f"{fault.kind}: {fault.reason}"
            if fault.kind == "argument":
                return live_outcome.unusable_arguments(fault.message, error)
            return live_outcome.failed(tool.effect, fault.message, error)
        except PathError as error:
            return live_outcome.failed(tool.effect, answer.UNREADABLE, str(error))
        if rows.truncated:
            # A model that takes a part for the whole says "that is all we have".
            found = {"rows": found, "note": f"only the first {len(rows.rows)} rows; there are more"}
        outcome = live_outcome.found(tool.effect, found, status=None)
        await self._answers.keep(endpoint, question, outcome)
        return outcome
