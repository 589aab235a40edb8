"""Operators: who may sign in, and to what."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec

from server.protocol.admin.session import Role
from server.protocol.base import Natural, Wire

OperatorStatus = Literal["active", "disabled"]

PersonName = Annotated[str, msgspec.Meta(max_length=200)]
Password = Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]


class OperatorsQuery(Wire, frozen=True):
    """`client_id`: those who answer for this client alone. `before` is a page's."""

    client_id: Natural | None = None
    before: Natural | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=100)] = 50


class OperatorRow(Wire, frozen=True):
    """Somebody who may sign in. Without a client they serve all.

    `last_seen_at` is null when no session of theirs is kept. `manageable`: whether the one who asks may change them.
    """

    id: int
    version: int
    email: str
    name: str
    role: Role
    client_id: int | None
    client_name: str | None
    status: OperatorStatus
    created_at: datetime
    last_seen_at: datetime | None
    manageable: bool


class OperatorPage(Wire, frozen=True):
    """Newest first. `before` fetches the page after this one; null: there is none."""

    rows: list[OperatorRow]
    before: int | None


class OperatorCreate(Wire, frozen=True):
    """Somebody more. An owner has no client, an operator has one; an admin without one serves all."""

    email: Annotated[str, msgspec.Meta(max_length=320)]
    name: PersonName
    role: Role
    client_id: Natural | None = None


class OperatorCreated(Wire, frozen=True):
    """`password` is shown here only."""

    operator: OperatorRow
    password: str


class OperatorEdit(Wire, frozen=True):
    """All that may be edited, as it shall be; `version` is the one that was seen.

    Another role, client or status signs them out everywhere, within 5 s. One's own are for somebody else to change.
    """

    version: Natural
    name: PersonName
    role: Role
    client_id: Natural | None
    status: OperatorStatus


class PasswordShown(Wire, frozen=True):
    """`password` is shown here only; they are signed out everywhere."""

    operator_id: int
    password: str


class LoginLink(Wire, frozen=True):
    """Signs in once. Whoever has `url` is that operator: it is shown here only."""

    operator_id: int
    url: str
    expires_in_s: int


class PasswordChange(Wire, frozen=True):
    """One's own password, 12 to 1,024 characters. Every other session of one's own ends."""

    current: Password
    new: Password
