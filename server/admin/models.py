"""Which models a client can choose from."""

from datetime import UTC, datetime

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from server.admin.gate import Caller, guarded
from server.llm import offer
from server.llm.pricing import Price
from server.protocol.admin.models import Models
from server.repositories import prices
from server.repositories.pool import reading
from server.services import Services
from server.web.responses import json


async def index(_request: Request, services: Services, _caller: Caller) -> Response:
    async with reading(services.pool) as conn:
        rows = await prices.list_all(conn)
    listed = [msgspec.convert(row, Price, from_attributes=True) for row in rows]
    return json(await offer.models(services.registry, listed, datetime.now(UTC).date()))


ENDPOINTS = (
    guarded(
        "GET",
        "/models",
        index,
        "List the models that can be chosen",
        Models,
        needs="admin",
        about="The configured providers, what is known of their models, and what they cost.",
    ),
)
