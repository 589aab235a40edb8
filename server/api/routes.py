"""All public routes, as data."""

from starlette.routing import BaseRoute

from server import __version__
from server.api import callbacks, chat, config, confirmations, health, sessions
from server.api.assets import Widget, demo_routes, docs_routes
from server.api.openapi import Documents
from server.assets import static_path
from server.embedded import demo_tools
from server.web.endpoint import Endpoint

ENDPOINTS = (
    *chat.ENDPOINTS,
    *sessions.ENDPOINTS,
    *confirmations.ENDPOINTS,
    *config.ENDPOINTS,
    *callbacks.ENDPOINTS,
    *health.ENDPOINTS,
)


def routes(console: tuple[Endpoint, ...], *, demo: bool) -> list[BaseRoute]:
    """What the application serves over HTTP, the console's routes included, which stand in the document too.

    Raises SettingsError when the front end was not built.
    """
    endpoints = (*ENDPOINTS, *console)
    documents = Documents(endpoints, version=__version__)
    return [
        *(endpoint.route() for endpoint in (*endpoints, *documents.endpoints())),
        *docs_routes(),
        *Widget(static_path()).routes(),
        *((*demo_tools.routes(), *demo_routes()) if demo else ()),
    ]
