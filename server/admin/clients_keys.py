"""A client's keys, which are shown once, and how its widget gets on a page and is seen there."""

from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from server.admin.gate import Caller, guarded, path_id
from server.clients import PREFIX, inline_script, script
from server.errors import NotFound
from server.protocol.admin.clients import (
    ApiKeyShown,
    EmbedCode,
    IdentitySecretCreate,
    IdentitySecretShown,
    OriginSeen,
    ScriptSeen,
)
from server.repositories import clients, sightings
from server.repositories.clients import Client
from server.repositories.pool import Conn, reading
from server.services import Services
from server.web.responses import body, json

_PRIVATE = {"cache-control": "no-store"}


async def rotate_api_key(request: Request, services: Services, caller: Caller) -> Response:
    client_id = path_id(request, "client_id")
    made = await services.clients.rotate_api_key(client_id, by=caller.operator.id)
    return json(ApiKeyShown(client_id=client_id, api_key=made, api_key_prefix=made[:PREFIX]), headers=_PRIVATE)


async def identity_secret(request: Request, services: Services, caller: Caller) -> Response:
    client_id = path_id(request, "client_id")
    given = await body(request, IdentitySecretCreate)
    made = await services.clients.new_identity_secret(client_id, rotate=given.rotate, by=caller.operator.id)
    return json(IdentitySecretShown(client_id=client_id, identity_secret=made), headers=_PRIVATE)


async def embed(request: Request, services: Services, caller: Caller) -> Response:
    async with reading(services.pool) as conn:
        client = await _known(conn, path_id(request, "client_id"))
    base = caller.site.origin
    socket = urlsplit(base)._replace(scheme="wss" if caller.site.secure else "ws").geturl()
    told = EmbedCode(
        public_key=client.public_key,
        script=script(client.public_key, base),
        inline=inline_script(client.public_key, base),
        csp=[f"script-src {base}", f"connect-src {base} {socket}", f"img-src {base}"],
    )
    return json(told)


async def seen(request: Request, services: Services, _caller: Caller) -> Response:
    async with reading(services.pool) as conn:
        client = await _known(conn, path_id(request, "client_id"))
        rows = await sightings.list_for_client(conn, client_id=client.id)
    by_origin = {row.origin: row for row in rows}
    origins = []
    for origin in [*client.allowed_origins, *(each for each in by_origin if each not in client.allowed_origins)]:
        row = by_origin.get(origin)
        origins.append(
            OriginSeen(
                origin=origin,
                allowed=origin in client.allowed_origins,
                first_at=row.created_at if row else None,
                last_at=row.seen_at if row else None,
            )
        )
    last = max((each.last_at for each in origins if each.allowed and each.last_at), default=None)
    return json(ScriptSeen(client_id=client.id, seen_at=last, origins=origins))


async def _known(conn: Conn, client_id: int) -> Client:
    found = await clients.find(conn, client_id=client_id)
    if found is None:
        raise NotFound("there is no such client")
    return found


ENDPOINTS = (
    guarded(
        "POST",
        "/clients/{client_id}/rotate-api-key",
        rotate_api_key,
        "Make another secret key",
        ApiKeyShown,
        needs="admin",
        about="It is shown here only; the old one stops working at once.",
    ),
    guarded(
        "POST",
        "/clients/{client_id}/identity-secret",
        identity_secret,
        "Make the secret with which a client's backend vouches for visitors",
        IdentitySecretShown,
        needs="admin",
        takes=IdentitySecretCreate,
        about="It is shown here only. 409 `identity_secret_exists` where there is one, unless it is to be rotated.",
        refuses=(409,),
    ),
    guarded(
        "GET",
        "/clients/{client_id}/embed",
        embed,
        "Read what goes into the website's HTML",
        EmbedCode,
        needs="admin",
    ),
    guarded(
        "GET",
        "/clients/{client_id}/script",
        seen,
        "See whether the widget is on the site",
        ScriptSeen,
        needs="admin",
        about="By the origins whose pages have asked for its configuration, to the minute.",
    ),
)
