"""`/operations`: what runs at this moment, on all instances, as any of them can tell."""

import time
from collections.abc import Iterable

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError
from starlette.requests import Request
from starlette.responses import Response

from server import log
from server.admin.gate import Caller, guarded
from server.doctor.installation import overdue
from server.errors import Unavailable
from server.llm.figures import WINDOW_S, ModelCount, merged, percentile_ms
from server.protocol.admin.operations import (
    InstanceInfo,
    ModelFigures,
    Operations,
    PostgresHealth,
    RedisHealth,
    RetentionState,
    TurnNow,
    TurnsNow,
)
from server.repositories import audit, database, instances, migrations, pool, presence, retention, workload
from server.repositories.database import DatabaseHealth
from server.repositories.instances import InstanceRow
from server.repositories.pool import Conn, reading
from server.services import Services, check_redis
from server.turns.vitals import Figures
from server.web.responses import json

logger = log.get("admin")

# Turns that are shown.
TURNS = 50
# Why a turn is stuck, in words.
_WHY = {
    "orphaned": "whoever ran it is gone, and nobody has taken it over",
    "overdue": "it runs longer than a turn may",
    "unclaimed": "it waits, and no instance takes it",
}


async def read_operations(_request: Request, services: Services, _caller: Caller) -> Response:
    # So that what is shown of this instance is of now.
    await services.vitals.tell()
    redis, began = await _redis(services.redis), time.monotonic()
    await pool.check(services.pool)
    ms = round((time.monotonic() - began) * 1000, 1)
    async with reading(services.pool) as conn:
        health = await database.health(conn)
        missing = len(migrations.names() - await database.applied(conn))
        living = (await presence.look(conn)).living
        rows = await instances.list_all(conn)
        turns = await _turns(conn)
        state = await _retention(conn)
    alive = [(row, presence.key(row.instance) in living) for row in rows]
    told = [(row, _figures(row), lives) for row, lives in alive]
    return json(
        Operations(
            at=health.at,
            instances=[_instance(row, figures, lives, here=services.instance) for row, figures, lives in told],
            turns=turns,
            postgres=_postgres(health, ms, missing),
            redis=redis,
            models=[_model(each) for each in merged(_counts(figures for _, figures, lives in told if lives))],
            window_s=WINDOW_S,
            retention=state,
        )
    )


def _figures(row: InstanceRow) -> Figures | None:
    """None for an instance of a version that tells other things."""
    try:
        return msgspec.convert(row.figures, Figures, str_keys=True)
    except msgspec.ValidationError as error:
        logger.warning("figures not understood", instance=row.instance, version=row.version, reason=str(error))
        return None


def _counts(figures: Iterable[Figures | None]) -> Iterable[ModelCount]:
    return (count for each in figures if each is not None for count in each.models)


def _instance(row: InstanceRow, figures: Figures | None, lives: bool, *, here: str) -> InstanceInfo:
    return InstanceInfo(
        instance=row.instance,
        version=row.version,
        started_at=row.started_at,
        seen_at=row.seen_at,
        alive=lives,
        here=row.instance == here,
        draining=figures.draining if figures else False,
        redis_away=figures.redis_away if figures else False,
        visitor_sockets=figures.sockets.visitors if figures else 0,
        operator_sockets=figures.sockets.operators if figures else 0,
        running_turns=figures.running_turns if figures else 0,
        memory_bytes=figures.memory_bytes if figures else None,
    )


async def _turns(conn: Conn) -> TurnsNow:
    load = await workload.now(conn)
    rows = await workload.oldest(conn, limit=TURNS)
    return TurnsNow(
        running=load.running,
        queued=load.queued,
        stuck=load.stuck,
        oldest_queued_s=load.oldest_queued_s,
        oldest_running_s=load.oldest_running_s,
        rows=[
            TurnNow(
                turn_id=row.public_id,
                conversation_id=row.conversation_public_id,
                client_id=row.client_id,
                client_name=row.client_name,
                status="running" if row.status == "running" else "queued",
                instance=row.owner,
                attempts=row.attempts,
                since_s=row.since_s,
                why=_WHY[row.why] if row.why else None,
            )
            for row in rows
        ],
    )


def _postgres(health: DatabaseHealth, ms: float, missing: int) -> PostgresHealth:
    return PostgresHealth(
        ok=missing == 0,
        ms=ms,
        version=health.version.split()[0],
        connections=health.connections,
        max_connections=health.max_connections,
        size_bytes=health.size_bytes,
        migrations_missing=missing,
    )


async def _redis(redis: Redis) -> RedisHealth:
    began = time.monotonic()
    try:
        await check_redis(redis)
    except Unavailable as error:
        return RedisHealth(ok=False, ms=None, version=None, used_memory_bytes=None, detail=error.message)
    ms = round((time.monotonic() - began) * 1000, 1)
    try:
        server, memory = await redis.info("server"), await redis.info("memory")
    except (RedisError, OSError) as error:
        # Some hosts do not let anybody ask.
        return RedisHealth(ok=True, ms=ms, version=None, used_memory_bytes=None, detail=f"tells no more: {error}")
    return RedisHealth(
        ok=True,
        ms=ms,
        version=str(server["redis_version"]),
        used_memory_bytes=int(memory["used_memory"]),
        detail=None,
    )


def _model(count: ModelCount) -> ModelFigures:
    failed = sum(count.errors.values())
    return ModelFigures(
        provider=count.provider,
        model=count.model,
        calls=count.calls,
        failed=failed,
        error_rate=failed / count.calls if count.calls else None,
        errors=count.errors,
        first_p50_ms=percentile_ms(count.first, 0.5),
        first_p95_ms=percentile_ms(count.first, 0.95),
        whole_p50_ms=percentile_ms(count.whole, 0.5),
        whole_p95_ms=percentile_ms(count.whole, 0.95),
    )


async def _retention(conn: Conn) -> RetentionState:
    oldest = await retention.oldest(conn)
    return RetentionState(
        message_days=retention.MESSAGE_DAYS,
        tool_days=retention.TOOL_DAYS,
        oldest_content_at=oldest.content,
        oldest_event_at=oldest.event,
        oldest_tool_call_at=oldest.tool_call,
        overdue=overdue(oldest),
        run_at=await audit.latest(conn, action=retention.ACTION),
    )


ENDPOINTS = (
    guarded(
        "GET",
        "/operations",
        read_operations,
        "What runs at this moment",
        Operations,
        needs="owner",
        about="Of all instances; each tells of itself every 5 s.",
    ),
)
