"""What clients use, by day and by tool, and what their limits leave them."""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Literal

import msgspec

from server.protocol.base import Natural, Wire

LimitPer = Literal["client", "visitor", "address", "instance"]


class UsageQuery(Wire, frozen=True):
    """Days of UTC, both included, 366 at most. Without a client: of all, for who serves all."""

    to: date
    from_: date = msgspec.field(name="from")
    client_id: Natural | None = None


class UsagePeriod(Wire, frozen=True):
    """Days of UTC, both included, 366 at most."""

    to: date
    from_: date = msgspec.field(name="from")


class TopToolsQuery(Wire, frozen=True):
    """Days of UTC, both included, 366 at most; calls are kept 90 days. Without a client: of all, for who serves all."""

    to: date
    from_: date = msgspec.field(name="from")
    client_id: Natural | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=100)] = 20


class UsageSums(Wire, frozen=True):
    """What was used. `cost` is US dollars."""

    conversations: int
    messages: int
    tokens_input: int
    tokens_output: int
    tool_calls: int
    cached_answers: int
    cost: Decimal


class UsageOfDay(Wire, frozen=True):
    """One day, midnight to midnight UTC. `cost` is US dollars."""

    date: date
    conversations: int
    messages: int
    tokens_input: int
    tokens_output: int
    tool_calls: int
    cached_answers: int
    cost: Decimal


class UsageReport(Wire, frozen=True):
    """Every day of the period, in order, also those without use. `timezone` says whose days these are."""

    client_id: int | None
    from_: date = msgspec.field(name="from")
    to: date
    timezone: Literal["UTC"]
    days: list[UsageOfDay]
    totals: UsageSums


class UsageOfClient(Wire, frozen=True):
    """One client's sums over the period. `monthly_messages` is what the plan allows; null: no limit."""

    client_id: int
    name: str
    status: Literal["active", "suspended"]
    plan: str
    monthly_messages: int | None
    used: UsageSums


class UsageByClient(Wire, frozen=True):
    """All clients whom the operator serves, the dearest first, also those without use."""

    from_: date = msgspec.field(name="from")
    to: date
    timezone: Literal["UTC"]
    rows: list[UsageOfClient]


class UsageOfTool(Wire, frozen=True):
    """One tool's calls over the period.

    `refused` never went out: not allowed, wrong arguments, no yes. `unknown` has no outcome: it runs, or is in doubt.
    `failure_rate` is failed over failed and succeeded, 0 to 1, and the times are of those two, right to a twentieth;
    null without either.
    """

    name: str
    calls: int
    succeeded: int
    failed: int
    refused: int
    unknown: int
    failure_rate: float | None
    p50_ms: int | None
    p95_ms: int | None


class UsageByTool(Wire, frozen=True):
    """The tools that were called most, most first. `kept_days`: older calls are gone."""

    client_id: int | None
    from_: date = msgspec.field(name="from")
    to: date
    timezone: Literal["UTC"]
    kept_days: int
    rows: list[UsageOfTool]


class LimitInfo(Wire, frozen=True):
    """One limit of a client.

    `per` is who has it: the client, or each visitor, each address, each instance for itself. `value` is what is used
    now; null where each has its own, and while it cannot be read. `limit` null: there is none. `resets_at` null: it
    does not reset.
    """

    name: str
    label: str
    unit: str
    per: LimitPer
    value: int | None
    limit: int | None
    resets_at: datetime | None


class ClientLimits(Wire, frozen=True):
    client_id: int
    plan: str
    rows: list[LimitInfo]
