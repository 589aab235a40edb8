"""What runs, and how well."""

from datetime import datetime
from typing import Literal

from server.protocol.base import Wire


class InstanceInfo(Wire, frozen=True):
    """One server process, as it last told of itself at `seen_at`.

    `alive`: Postgres holds its connection. `here`: it is the one that answered. `redis_away`: it cannot reach Redis.
    """

    instance: str
    version: str
    started_at: datetime
    seen_at: datetime
    alive: bool
    here: bool
    draining: bool
    redis_away: bool
    visitor_sockets: int
    operator_sockets: int
    running_turns: int
    memory_bytes: int | None


class TurnNow(Wire, frozen=True):
    """A turn that runs or waits, `since_s` after its message. `why` says why it counts as stuck; null: it does not."""

    turn_id: str
    conversation_id: str
    client_id: int
    client_name: str
    status: Literal["queued", "running"]
    instance: str | None
    attempts: int
    since_s: float
    why: str | None


class TurnsNow(Wire, frozen=True):
    """Ages are null where there is no such turn. `rows` are the oldest, 50 at most, stuck ones first."""

    running: int
    queued: int
    stuck: int
    oldest_queued_s: float | None
    oldest_running_s: float | None
    rows: list[TurnNow]


class PostgresHealth(Wire, frozen=True):
    """`ms` is one round trip. `size_bytes` is the whole database."""

    ok: bool
    ms: float
    version: str
    connections: int
    max_connections: int
    size_bytes: int
    migrations_missing: int


class RedisHealth(Wire, frozen=True):
    """From the instance that answered. All but `ok` is null while Redis is away, and `detail` says why."""

    ok: bool
    ms: float | None
    version: str | None
    used_memory_bytes: int | None
    detail: str | None


class ModelFigures(Wire, frozen=True):
    """Calls of one model on all living instances, within the window.

    `errors` counts by code. `error_rate` is 0 to 1, null without calls. Times are those of calls that worked, to the
    first text and to the end, right to about a tenth; null without such calls.
    """

    provider: str
    model: str
    calls: int
    failed: int
    error_rate: float | None
    errors: dict[str, int]
    first_p50_ms: int | None
    first_p95_ms: int | None
    whole_p50_ms: int | None
    whole_p95_ms: int | None


class RetentionState(Wire, frozen=True):
    """How long what was said and done is kept.

    The `oldest_...` are null where there is none; `overdue`: one of them is kept longer than it should be, by a day or
    more. `run_at` is when `frontdesk retention run` last ended; null: never.
    """

    message_days: int
    tool_days: int
    oldest_content_at: datetime | None
    oldest_event_at: datetime | None
    oldest_tool_call_at: datetime | None
    overdue: bool
    run_at: datetime | None


class Operations(Wire, frozen=True):
    """The installation at this moment. `window_s` is what `models` look back."""

    at: datetime
    instances: list[InstanceInfo]
    turns: TurnsNow
    postgres: PostgresHealth
    redis: RedisHealth
    models: list[ModelFigures]
    window_s: int
    retention: RetentionState
