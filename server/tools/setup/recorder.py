"""Writes down what goes out and what comes back, on its way through; nothing else of it changes."""

import time
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from server.errors import EgressError
from server.net.egress import Response
from server.protocol.admin.tools import TrialExchange, TrialRequest, TrialResponse
from server.tools.connections.database import DEFAULT_PORTS, DatabaseConnection, DatabaseKind
from server.tools.live.database_endpoint import Asker
from server.tools.result import recordable
from server.tools.setup.masking import Mask
from server.tools.sql.driver import DatabaseFault, Rows
from server.tools.tool import Sender

# Characters of a body that are shown.
BODY_CHARACTERS: Final = 65_536
# The longest spelling of a credential. Looking for them in a whole megabyte would hold everybody up.
_MARGIN: Final = 8_192


class Recorder:
    """Stands before the way out and before the databases. `exchanges` is what has passed, by `mask`."""

    def __init__(self, mask: Mask, *, sender: Sender, databases: Asker | None = None) -> None:
        self.exchanges: list[TrialExchange] = []
        self.mask = mask
        self._sender = sender
        self._databases = databases

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] = {},
        body: bytes | None = None,
        timeout_s: float,
        max_bytes: int = 1_048_576,
    ) -> Response:
        """As `Egress` does. Raises EgressError."""
        began = time.monotonic()
        masked = self.mask.headers(headers, ours=True)
        shown_url = self.mask.url(url)
        text, cut = self._shown(body or b"")
        request = TrialRequest(
            method=method,
            url=shown_url,
            headers=masked,
            body=None if body is None else text,
            parameters=None,
            cut=cut,
        )
        try:
            response = await self._sender.request(
                method, url, headers=headers, body=body, timeout_s=timeout_s, max_bytes=max_bytes
            )
        except EgressError as error:
            self._add(request, began, error=f"{error.kind}: {error.message}")
            raise
        shown_headers = self.mask.headers(response.headers, ours=False)
        text, cut = self._shown(response.body)
        said = TrialResponse(
            status=response.status, headers=shown_headers, body=text, bytes=len(response.body), cut=cut
        )
        self._add(request, began, response=said)
        return response

    async def query(
        self,
        connection: DatabaseConnection,
        kind: DatabaseKind,
        *,
        statement: str,
        parameters: dict[str, Any],
        timeout_s: float = 5.0,
    ) -> Rows:
        """As `Databases` does. Raises DatabaseFault."""
        assert self._databases is not None, "nobody asks a database of a webhook"
        began = time.monotonic()
        port = connection.port or DEFAULT_PORTS[kind]
        text, cut = self._shown(statement.encode())
        request = TrialRequest(
            method="SQL",
            url=f"{kind.removesuffix('_database')}://{connection.host}:{port}/{connection.database}",
            headers={},
            body=text,
            parameters=recordable(parameters),
            cut=cut,
        )
        try:
            rows = await self._databases.query(
                connection, kind, statement=statement, parameters=parameters, timeout_s=timeout_s
            )
        except DatabaseFault as fault:
            self._add(request, began, error=f"{fault.kind}: {fault.reason}")
            raise
        found = [dict(zip(rows.columns, row, strict=True)) for row in rows.rows]
        raw = msgspec.json.format(msgspec.json.encode(recordable(found)), indent=2)
        text, cut = self._shown(raw)
        said = TrialResponse(status=None, headers={}, body=text, bytes=len(raw), cut=cut)
        self._add(request, began, response=said)
        return rows

    def _add(
        self, request: TrialRequest, began: float, *, response: TrialResponse | None = None, error: str | None = None
    ) -> None:
        ms = round((time.monotonic() - began) * 1000)
        reason = None if error is None else self.mask.text(error)
        self.exchanges.append(TrialExchange(request=request, response=response, error=reason, ms=ms))

    def _shown(self, raw: bytes) -> tuple[str, bool]:
        """Text, and whether it is cut. No half of a credential stands at its end: what is masked is longer."""
        text = raw.decode("utf-8", "replace")
        masked = self.mask.text(text[: BODY_CHARACTERS + _MARGIN])
        most = min(BODY_CHARACTERS, len(masked) - (_MARGIN if len(text) > BODY_CHARACTERS + _MARGIN else 0))
        return masked[:most], len(text) > BODY_CHARACTERS
