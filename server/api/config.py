"""How a client's widget looks and greets, and its words in the visitor's language."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from functools import cache

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server import log
from server.assets import static_path
from server.errors import Invalid, SettingsError
from server.protocol import codec, limits
from server.protocol.base import Locale
from server.protocol.http import Config, WidgetConfig
from server.protocol.parts import Limits
from server.repositories.clients import Client
from server.services import Services
from server.web.endpoint import Endpoint, Parameter
from server.web.responses import unchanged

logger = log.get("api")

CACHE = "public, max-age=60"
# The words inside the widget's own bundle.
ENGLISH = "en"
# A client's locale that leaves it to the visitor's browser.
AUTO = "auto"
# Language, script and region; extensions after them change no words.
_TAG = re.compile(r"([a-z]{2,3})(?:-[a-z]{4})?(?:-(?:[a-z]{2}|[0-9]{3}))?(?![a-z0-9])", re.IGNORECASE)
_OLD_NAMES = {"iw": "he"}

Words = Mapping[str, dict[str, str]]


@cache
def words() -> Words:
    """The widget's sentences by language, English aside. Raises SettingsError when the front end was not built."""
    folder = static_path() / "strings"
    found = {
        path.stem: msgspec.json.decode(path.read_bytes(), type=dict[str, str]) for path in sorted(folder.glob("*.json"))
    }
    if not found:
        raise SettingsError("the widget's languages were not built; run `make install`")
    return found


async def read(request: Request, services: Services) -> Response:
    key = request.query_params.get("key", "")
    if not key:
        raise Invalid("`key` is missing: the public key, pk_...", code="missing", field="key")
    client = await services.access.client_by_public_key(key)
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


def resolve(requested: str, own: Iterable[str]) -> tuple[str, dict[str, str] | None]:
    """The first locale whose language the widget speaks, and its words.

    Where it speaks none of them it shows English, and the locale is the first of `own`, for answers are not bound to
    the widget's languages.
    """
    tags = [_TAG.match(each.replace("_", "-")) for each in (requested, *own)]
    for tag in tags:
        language = tag[1].lower() if tag else ""
        strings = words().get(_OLD_NAMES.get(language, language))
        if tag and (strings is not None or language == ENGLISH):
            return tag[0], strings
    return next((tag[0] for tag in tags[1:] if tag), ENGLISH), None


def config_of(client: Client, *, requested: str = "", accepted: Iterable[str] = ()) -> Config:
    """`requested`: the page's locale. `accepted`: the browser's, the dearest first; they count for `AUTO` only.

    A row that makes no sense must not take the widget off the client's website: it falls back to the defaults.
    """
    try:
        widget = msgspec.convert(client.widget_config, WidgetConfig)
    except msgspec.ValidationError as error:
        logger.warning("widget_config is wrong, so the default shows", client=client.id, reason=str(error))
        widget = WidgetConfig()
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
