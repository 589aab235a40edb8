"""Whether this instance lives, and whether it should get traffic."""

from collections.abc import Awaitable

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import Response

from server import metrics
from server.errors import Unavailable
from server.protocol.http import Health, Readiness, ReadinessCheck
from server.repositories import pool
from server.services import Services, check_redis
from server.web.endpoint import Endpoint
from server.web.responses import json


async def live(_request: Request, _services: Services) -> Response:
    return json(Health())


async def ready(_request: Request, services: Services) -> Response:
    """Redis away is no reason to lose traffic: it makes things slower, and nothing wrong. Ending is one."""
    postgres = await _check(pool.check(services.pool))
    redis = await _check(check_redis(services.redis))
    checks = {"postgres": postgres, "redis": redis}
    draining = services.supervisor.draining
    if draining:
        checks["instance"] = ReadinessCheck(ok=False, detail="this instance finishes what it began, and ends")
    answer = Readiness(ready=postgres.ok and not draining, checks=checks)
    return json(answer, status=200 if answer.ready else 503, headers={"cache-control": "no-store"})


async def read_metrics(_request: Request, _services: Services) -> Response:
    return Response(generate_latest(metrics.REGISTRY), headers={"content-type": CONTENT_TYPE_LATEST})


async def _check(asked: Awaitable[None]) -> ReadinessCheck:
    try:
        await asked
    except Unavailable as error:
        return ReadinessCheck(ok=False, detail=error.message)
    return ReadinessCheck(ok=True)


ENDPOINTS = (
    Endpoint("GET", "/healthz", live, "Is the process alive", Health),
    Endpoint(
        "GET",
        "/readyz",
        ready,
        "Should it get traffic",
        Readiness,
        about=(
            "503 when Postgres is away, and while the instance ends. "
            "Redis away shows in the checks and does not refuse traffic."
        ),
        also=(503,),
    ),
    Endpoint("GET", "/metrics", read_metrics, "Figures for Prometheus", None, media_type="text/plain; version=0.0.4"),
)
