"""`/doctor`: what is wrong with the installation or a client, and what to do."""

from starlette.requests import Request
from starlette.responses import Response

from server.admin.gate import Caller, guarded, path_id
from server.cache.rate_limit import Limit
from server.doctor import Means, examine_client, examine_installation, report
from server.protocol.admin.doctor import DoctorReport
from server.services import Services
from server.web.responses import json

# Examinations a minute: each asks models and webhooks' hosts.
A_MINUTE = 20


async def read_installation(_request: Request, services: Services, _caller: Caller) -> Response:
    await services.limiter.check(Limit("installation", "doctor", A_MINUTE))
    return json(report(await examine_installation(_means(services)), client_id=None))


async def look_at_client(request: Request, services: Services, _caller: Caller) -> Response:
    client_id = path_id(request, "client_id")
    await services.limiter.check(Limit("client", f"doctor:{client_id}", A_MINUTE))
    return json(report(await examine_client(_means(services), client_id), client_id=client_id))


def _means(services: Services) -> Means:
    return Means(
        settings=services.settings,
        redis=services.redis,
        egress=services.egress,
        vault=services.vault,
        pool=services.pool,
        registry=services.registry,
    )


ENDPOINTS = (
    guarded(
        "GET",
        "/doctor",
        read_installation,
        "What is wrong with the installation, and what to do",
        DoctorReport,
        needs="owner",
        refuses=(429,),
        about="The checks of `frontdesk doctor`. Takes as long as the slowest of them, 15 s at most.",
    ),
    guarded(
        "POST",
        "/clients/{client_id}/doctor",
        look_at_client,
        "What is wrong with a client, and what to do",
        DoctorReport,
        needs="admin",
        refuses=(429,),
        about="The checks of `frontdesk doctor --client`. It asks the model and hosts of webhooks; changes nothing.",
    ),
)
