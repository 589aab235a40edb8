"""How a client's widget looks and greets, and its words in the visitor's language."""

import hashlib
from collections.abc import Iterable

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server import log
from server.clients import AUTO
from server.errors import Invalid
from server.protocol import codec, limits
from server.protocol.base import Locale
from server.protocol.client_config import read_widget
from server.protocol.http import Config
from server.protocol.parts import Limits
from server.repositories.clients import Client
from server.services import Services
from server.web.endpoint import Endpoint, Parameter
from server.web.languages import resolve, words
from server.web.responses import unchanged

logger = log.get("api")

CACHE = "public, max-age=60"


async def read(request: Request, services: Services) -> Response:
    key = request.query_params.get("key", "")
    if not key:
        raise Invalid("`key` is missing: the public key, pk_...", code="missing", field="key")
    client = await services.access.client_by_public_key(key)
    services.sightings.note(client, request.headers.get("origin") or request.headers.get("referer"))
    headers = {"cache-control": CACHE}
    if client.locale == AUTO:
        headers["vary"] = "accept-language"
    body = codec.encode(config_of(client, requested=_locale(request), accepted=_accepted(request)))
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers["etag"] = etag
    if unchanged(request, etag):
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type="application/json")


def _locale(request: Request) -> str:
    """What the page asks for; empty where it asks for nothing."""
    locale = request.query_params.get("locale", "")
    try:
        return locale and msgspec.convert(locale, Locale)
    except msgspec.ValidationError:
        raise Invalid("`locale` is not a language tag such as de or pt-BR", code="invalid", field="locale") from None


def _accepted(request: Request) -> list[str]:
    """The browser's languages, the dearest first: that is the order in which browsers write them."""
    return [each.partition(";")[0].strip() for each in request.headers.get("accept-language", "").split(",")]


def config_of(client: Client, *, requested: str = "", accepted: Iterable[str] = ()) -> Config:
    """`requested`: the page's locale. `accepted`: the browser's, the dearest first; they count for `AUTO` only.

    A row that makes no sense must not take the widget off the client's website: what is wrong in it is its default.
    """
    widget, ignored = read_widget(client.widget_config)
    if ignored:
        logger.warning("widget_config is wrong, so defaults show", client=client.id, ignored=ignored)
    locale, strings = resolve(requested, accepted if client.locale == AUTO else [client.locale])
    return Config(
        name=client.name,
        locale=locale,
        strings=strings,
        widget=widget,
        limits=Limits(message_characters=limits.MESSAGE_CHARACTERS, frame_bytes=limits.FRAME_BYTES),
    )


class _WithWords(Endpoint, frozen=True):
    """Reads the words when the application is made: a missing build stops the start, not the first visitor."""

    def route(self) -> Route:
        words()
        return super().route()


ENDPOINTS = (
    _WithWords(
        "GET",
        "/api/v1/config",
        read,
        "Read a widget's configuration",
        Config,
        about="With an ETag, cacheable for 60 s.",
        parameters=(
            Parameter("key", "query", "The public key, pk_...", required=True),
            Parameter("locale", "query", "The language wanted, BCP 47; else the client's own is answered"),
        ),
        also=(304,),
        refuses=(401, 403, 422, 503),
    ),
)
