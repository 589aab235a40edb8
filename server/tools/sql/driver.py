"""What a client's database gives us and how it fails, whichever kind it is."""

from collections.abc import Iterable
from typing import Any, Final, Literal, Protocol

import msgspec

from server.errors import FrontdeskError
from server.tools.sql.template import Template

FaultKind = Literal[
    "forbidden", "unreachable", "timeout", "tls", "refused", "permission", "argument", "statement", "broken"
]
# For a model, which may say it to a visitor: no host, no SQL, no word of the database.
_MESSAGES: Final[dict[FaultKind, str]] = {
    "forbidden": "the database's address is not allowed",
    "unreachable": "the database cannot be reached",
    "timeout": "the database did not answer in time",
    "tls": "the database cannot be reached over a secure connection",
    "refused": "the database refused the connection",
    "permission": "the database does not allow this look-up",
    "argument": "an argument is not of the kind that the database expects",
    "statement": "the database could not run this look-up",
    "broken": "the database gave an answer that cannot be read",
}


class DatabaseFault(FrontdeskError):
    """A look-up failed. `message` is for the model, `reason` for the operator, in the database's own words.

    `argument` is the caller's to mend, the rest the owner's or nobody's. Nothing was changed in any case.
    """

    code = "database"
    temporary = True

    def __init__(self, kind: FaultKind, reason: str) -> None:
        super().__init__(_MESSAGES[kind])
        self.kind: FaultKind = kind
        self.reason = " ".join(reason.split()) or _MESSAGES[kind]

    def __str__(self) -> str:
        return f"{self.message}: {self.reason}"


class Rows(msgspec.Struct, frozen=True):
    """What a look-up found. Values are what JSON can say: the drivers see to it.

    Numbers with decimals, dates, intervals and ids are text, digit by digit as the database wrote them; binary data is
    only its size, "<12 bytes>". `truncated`: there are more rows, or more bytes, than were asked for. No two columns
    have the same name: the second `id` is `id_2`.
    """

    columns: tuple[str, ...]
    rows: list[list[Any]]
    truncated: bool


class Limits(msgspec.Struct, frozen=True):
    """Where a look-up ends: seconds, rows, and bytes of values."""

    seconds: float
    rows: int
    bytes: int


class Session(Protocol):
    """A connection that is logged in. When anything is raised it is not used again."""

    async def select(self, template: Template, parameters: dict[str, Any], limits: Limits) -> Rows:
        """Runs the statement in a read-only transaction. Raises DatabaseFault."""

    async def powers(self) -> str | None:
        """What its user could change, in a few words; None for a user that may only read. Raises DatabaseFault."""

    @property
    def closed(self) -> bool:
        """Whether it is known to be of no use."""

    def close(self) -> None:
        """At once, whatever it does. May be called twice."""


def distinct(names: Iterable[str]) -> tuple[str, ...]:
    """Names of columns, each its own, so that a row can be an object."""
    taken: dict[str, None] = {}
    for name in names:
        number, free = 1, name
        while free in taken:
            number += 1
            free = f"{name}_{number}"
        taken[free] = None
    return tuple(taken)


class Collector:
    """Gathers rows until a limit is reached."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._bytes = 0
        self.rows: list[list[Any]] = []
        self.truncated = False

    def add(self, row: list[Any]) -> bool:
        """Takes a row, or leaves it when there are enough. Whether there is room for the bytes of another one."""
        self._bytes += sum(_size(value) for value in row)
        room = self._bytes <= self._limits.bytes
        if room and len(self.rows) < self._limits.rows:
            self.rows.append(row)
        else:
            self.truncated = True
        return room


def _size(value: Any) -> int:
    """About the bytes of it as JSON."""
    if isinstance(value, str):
        return len(value) + 2
    if isinstance(value, (list, dict)):
        return len(msgspec.json.encode(value, enc_hook=str))
    return 8
