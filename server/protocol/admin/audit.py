"""Who changed what."""

from datetime import datetime
from typing import Annotated, Any

import msgspec

from server.protocol.base import Natural, Wire


class AuditQuery(Wire, frozen=True):
    """Each narrows the list. `action` is a whole one, such as `operator.create`; `before` is the page's before."""

    client_id: Natural | None = None
    operator_id: Natural | None = None
    action: Annotated[str, msgspec.Meta(min_length=1, max_length=100)] | None = None
    before: Natural | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=100)] = 50


class AuditRow(Wire, frozen=True):
    """One change. Without a client it concerns the installation, or the client is gone.

    Without an operator it came by the command line, or the operator is gone. Names are those of today.
    """

    id: int
    created_at: datetime
    action: str
    target_type: str
    target_id: str
    details: dict[str, Any]
    client_id: int | None
    client_name: str | None
    operator_id: int | None
    operator_name: str | None


class AuditPage(Wire, frozen=True):
    """Newest first. `before` fetches the page after this one; null: there is none."""

    rows: list[AuditRow]
    before: int | None
