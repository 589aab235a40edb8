"""Signing in."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec

from server.protocol.base import Key, Wire

Role = Literal["owner", "admin", "operator"]


class SignIn(Wire, frozen=True):
    """An operator's e-mail address and password."""

    email: Annotated[str, msgspec.Meta(min_length=1, max_length=320)]
    password: Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]


class LinkSignIn(Wire, frozen=True):
    """The secret of a login link, `ol_...`."""

    secret: Key


class OperatorInfo(Wire, frozen=True):
    """With `client_id` null the operator serves all clients."""

    id: int
    email: str
    name: str
    role: Role
    client_id: int | None
    avatar_url: str | None


class SignedIn(Wire, frozen=True):
    """Who is signed in. `csrf` goes into the header `X-CSRF-Token` of every request that changes something."""

    operator: OperatorInfo
    csrf: str
    expires_at: datetime


class SocketTicket(Wire, frozen=True):
    """Opens one socket of the console, within so many seconds."""

    ticket: str
    expires_in_s: int
