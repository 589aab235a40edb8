"""How a client's widget looks and greets."""

import hashlib

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from server import log
from server.api.endpoint import Endpoint, Parameter
from server.errors import Invalid
from server.protocol import codec, limits
from server.protocol.http import Config, WidgetConfig
from server.protocol.parts import Limits
from server.repositories.clients import Client
from server.services import Services

logger = log.get("api")

CACHE = "public, max-age=60"


async def read(request: Request, services: Services) -> Response:
    key = request.query_params.get("key", "")
    if not key:
        raise Invalid("`key` is missing: the public key, pk_...", code="missing", field="key")
    client = await services.access.client_by_public_key(key)
    body = codec.encode(config_of(client))
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {"etag": etag, "cache-control": CACHE}
    if etag in [each.strip() for each in request.headers.get("if-none-match", "").split(",")]:
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type="application/json")


def config_of(client: Client) -> Config:
    """A row that makes no sense must not take the widget off the client's website: it falls back to the defaults."""
    try:
        widget = msgspec.convert(client.widget_config, WidgetConfig)
    except msgspec.ValidationError as error:
        logger.warning("widget_config is wrong, so the default shows", client=client.id, reason=str(error))
        widget = WidgetConfig()
    return Config(
        name=client.name,
        locale=client.locale,
        widget=widget,
        limits=Limits(message_characters=limits.MESSAGE_CHARACTERS, frame_bytes=limits.FRAME_BYTES),
    )


ENDPOINTS = (
    Endpoint(
        "GET",
        "/api/v1/config",
        read,
        "Read a widget's configuration",
        Config,
        about="With an ETag, cacheable for 60 s.",
        parameters=(Parameter("key", "query", "The public key, pk_...", required=True),),
        refuses=(401, 403, 422, 503),
    ),
)
