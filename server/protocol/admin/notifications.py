"""Notifications: what the operators of a client should know, until one of them has read it."""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

from server.protocol.base import Wire

NotificationKind = Literal[
    "handoff_requested", "turn_failed", "tool_in_doubt", "limit_near", "limit_reached", "integration_failed"
]


class NotificationQuery(Wire, frozen=True):
    """`before` is the id of a notification."""

    client_id: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)] | None = None
    unread: bool = False
    before: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)] | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=100)] = 50


class NotificationInfo(Wire, frozen=True):
    """`read_at` is null until somebody has read it. `details` depend on the kind; texts in them are hostile."""

    id: int
    client_id: int
    kind: NotificationKind
    conversation_id: str | None
    details: dict[str, Any]
    created_at: datetime
    read_at: datetime | None


class NotificationPage(Wire, frozen=True):
    """Newest first. `before` fetches the page after this one; null: there is none.

    `unread` counts what nobody has read, of the same clients, up to 100: 100 is 100 or more.
    """

    rows: list[NotificationInfo]
    before: int | None
    unread: int


class NotificationsRead(Wire, frozen=True):
    """Up to and including `through_id`, so that what has arrived meanwhile stays unread.

    Without a client: those of all whom the operator serves.
    """

    through_id: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
    client_id: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)] | None = None


class NotificationsReadResult(Wire, frozen=True):
    """How many nobody had read before."""

    marked: int
