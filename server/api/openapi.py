"""The OpenAPI document, generated from the endpoints and the structs they take and return."""

import re
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from server.protocol.http import ErrorBody
from server.services import Services
from server.web.endpoint import Credential, Endpoint, Parameter

_SCHEMES: dict[Credential, dict[str, Any]] = {
    "secret key": {
        "type": "http",
        "scheme": "bearer",
        "description": "A client's secret key, sk_..., server to server",
    },
    "session token": {"type": "http", "scheme": "bearer", "description": "A session's token, st_..."},
    "public key": {
        "type": "apiKey",
        "in": "header",
        "name": "Origin",
        "description": "An allowed origin of the client",
    },
    "operator session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "__Host-frontdesk",
        "description": "The console's cookie; on loopback its name is `frontdesk`",
    },
}
_MEANING = {
    204: "The stream's reader has it all",
    304: "Not changed since",
    400: "Malformed: not JSON, not UTF-8, too deep",
    401: "No or a bad key or token",
    403: "Origin not allowed, the client is suspended, no CSRF token, or another role is needed",
    404: "Not there, or not yours",
    409: "It was done before, or changed meanwhile; `code` says which",
    410: "Too late: nobody waits for it any more",
    413: "The body is too large",
    422: "A field is wrong; `field` names it",
    429: "Too many; says which limit and when it resets",
    503: "A dependency is down",
}


def document(endpoints: tuple[Endpoint, ...], *, version: str) -> dict[str, Any]:
    """OpenAPI 3.1 of these endpoints."""
    structs: list[type[msgspec.Struct]] = [ErrorBody]
    for endpoint in endpoints:
        structs += [each for each in (endpoint.takes, endpoint.returns) if each is not None]
    unique = list(dict.fromkeys(structs))
    refs, components = msgspec.json.schema_components(unique, ref_template="#/components/schemas/{name}")
    ref = dict(zip(unique, refs, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, ref)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Frontdesk",
            "version": version,
            "description": "The API of an AI front desk. The widget speaks a WebSocket at `/api/v1/ws` besides, the "
            "console one at `/api/v1/admin/ws`.",
            "license": {"name": "MIT"},
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {_scheme(name): scheme for name, scheme in _SCHEMES.items()},
        },
    }


def _operation(endpoint: Endpoint, ref: dict[type[msgspec.Struct], dict[str, Any]]) -> dict[str, Any]:
    content: dict[str, Any] = {endpoint.media_type: {"schema": ref[endpoint.returns]} if endpoint.returns else {}}
    if endpoint.stream:
        content["text/event-stream"] = {"schema": {"type": "string", "description": endpoint.stream}}
    operation: dict[str, Any] = {
        "operationId": _scheme(f"{endpoint.method} {endpoint.path}"),
        "summary": endpoint.summary,
        "tags": [_tag(endpoint.path)],
        "responses": {
            str(endpoint.status): {
                "description": endpoint.summary,
                **({} if endpoint.status == 204 else {"content": content}),
            },
            **{str(status): _also(status, content) for status in endpoint.also},
            **{str(status): _refusal(_MEANING[status], ref) for status in endpoint.refuses},
            "default": _refusal("Anything else, 500 for one", ref),
        },
    }
    if endpoint.about:
        operation["description"] = endpoint.about
    if endpoint.takes is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": ref[endpoint.takes]}},
        }
    if parameters := [*map(_parameter, endpoint.parameters), *_query(endpoint.asks)]:
        operation["parameters"] = parameters
    if endpoint.credentials:
        operation["security"] = [{_scheme(name): []} for name in endpoint.credentials]
    return operation


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": parameter.where,
        "required": parameter.required,
        "description": parameter.about,
        "schema": {"type": "string"},
    }


def _query(asks: type[msgspec.Struct] | None) -> list[dict[str, Any]]:
    """The fields of the struct, each with its own schema."""
    if asks is None:
        return []
    (_,), components = msgspec.json.schema_components([asks], ref_template="#/components/schemas/{name}")
    schema = components[asks.__name__]
    required = schema.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in required, "schema": each}
        for name, each in schema["properties"].items()
    ]


def _tag(path: str) -> str:
    if path.startswith("/api/v1/admin/"):
        return "Console"
    return "Conversations" if path.startswith("/api/") else "Operation"


def _also(status: int, content: dict[str, Any]) -> dict[str, Any]:
    return {"description": _MEANING[status], **({} if status in {204, 304} else {"content": content})}


def _refusal(meaning: str, ref: dict[type[msgspec.Struct], dict[str, Any]]) -> dict[str, Any]:
    return {"description": meaning, "content": {"application/json": {"schema": ref[ErrorBody]}}}


def _scheme(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_").lower()


class Documents:
    """Serves the document and a page that shows it. Built once."""

    def __init__(self, endpoints: tuple[Endpoint, ...], *, version: str) -> None:
        self.body = msgspec.json.encode(document(endpoints, version=version))

    def endpoints(self) -> tuple[Endpoint, ...]:
        return (
            Endpoint("GET", "/openapi.json", self.read, "This document", None),
            Endpoint("GET", "/docs", self.show, "This document, as a page", None, media_type="text/html"),
        )

    async def read(self, _request: Request, _services: Services) -> Response:
        return Response(self.body, media_type="application/json")

    async def show(self, _request: Request, _services: Services) -> Response:
        return HTMLResponse(_PAGE, headers={"content-security-policy": _POLICY})


# Swagger UI from our own wheel; its styles are written by its script, so they need `unsafe-inline`, on this page alone.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'"
)
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Frontdesk API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
