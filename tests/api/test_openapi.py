"""The OpenAPI document: valid, complete, and true of what the routes really answer."""

import json
import re
from typing import Any

import httpx
from jsonschema import Draft202012Validator

from server.admin import routes as console
from server.api import routes as public
from tests.flows.support import Desk
from tests.flows.world import World

ENDPOINTS = (*public.ENDPOINTS, *console.ENDPOINTS)


async def document(desk: Desk) -> dict[str, Any]:
    response = await desk.http.get(f"{desk.url}/openapi.json")
    assert response.status_code == 200 and response.headers["content-type"] == "application/json"
    found: dict[str, Any] = response.json()
    return found


def operations(found: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (method.upper(), path): operation for path, item in found["paths"].items() for method, operation in item.items()
    }


def refs(node: object) -> set[str]:
    """Every `$ref` within."""
    match node:
        case dict():
            here = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
            return here.union(*(refs(value) for value in node.values()))
        case list():
            return set().union(*(refs(value) for value in node))
    return set()


async def test_it_is_a_valid_document(world: World) -> None:
    """3.1, every schema valid, every reference there, every id once, every path parameter declared."""
    found = await document(world.desk)
    assert found["openapi"] == "3.1.0" and set(found["info"]) >= {"title", "version"}
    for name, schema in found["components"]["schemas"].items():
        assert re.fullmatch(r"[A-Za-z0-9._-]+", name)
        Draft202012Validator.check_schema(schema)
    for ref in refs(found):
        assert ref.startswith("#/components/schemas/")
        assert ref.rpartition("/")[2] in found["components"]["schemas"]
    seen = [operation["operationId"] for operation in operations(found).values()]
    assert len(seen) == len(set(seen))
    for (_, path), operation in operations(found).items():
        assert operation["summary"] and operation["responses"]
        declared = {each["name"] for each in operation.get("parameters", []) if each["in"] == "path"}
        assert declared == set(re.findall(r"{(\w+)}", path))
        assert all(each["required"] for each in operation.get("parameters", []) if each["in"] == "path")
        for status, response in operation["responses"].items():
            assert re.fullmatch(r"[1-5]\d\d|default", status) and response["description"]
        for requirement in operation.get("security", []):
            assert set(requirement) <= set(found["components"]["securitySchemes"])


async def test_every_route_and_every_refusal_is_in_it(world: World) -> None:
    """What an endpoint says of itself is what the document says."""
    found = operations(await document(world.desk))
    assert set(found) == {(endpoint.method, endpoint.path) for endpoint in ENDPOINTS}
    for endpoint in ENDPOINTS:
        operation = found[endpoint.method, endpoint.path]
        expected = {str(status) for status in (endpoint.status, *endpoint.also, *endpoint.refuses)} | {"default"}
        assert set(operation["responses"]) == expected
        assert ("requestBody" in operation) == (endpoint.takes is not None)
        for status in (*map(str, endpoint.refuses), "default"):
            schema = operation["responses"][status]["content"]["application/json"]["schema"]
            assert schema == {"$ref": "#/components/schemas/ErrorBody"}


async def test_what_the_routes_answer_is_what_it_says(world: World) -> None:
    """Real answers, good ones and refusals, validate against the schemas of their status."""
    desk, shop = world.desk, world.shop
    found = await document(desk)
    secret = {"authorization": f"Bearer {shop.secret_key}"}
    token = {"authorization": f"Bearer {world.mine.token}"}
    base = f"{desk.url}/api/v1"
    answers: list[tuple[str, str, httpx.Response]] = [
        ("POST", "/api/v1/chat", await desk.http.post(f"{base}/chat", headers=secret, json={"message": "Hello"})),
        ("POST", "/api/v1/chat", await desk.http.post(f"{base}/chat", headers=secret, json={"message": ""})),
        ("POST", "/api/v1/chat", await desk.http.post(f"{base}/chat", json={"message": "Hello"})),
        (
            "POST",
            "/api/v1/sessions",
            await desk.http.post(f"{base}/sessions", headers={"origin": shop.origin}, json={"key": shop.key}),
        ),
        ("POST", "/api/v1/sessions", await desk.http.post(f"{base}/sessions", json={"key": shop.key})),
        (
            "GET",
            "/api/v1/sessions/{session_id}/messages",
            await desk.http.get(f"{base}/sessions/{world.mine.id}/messages?limit=1", headers=token),
        ),
        (
            "GET",
            "/api/v1/sessions/{session_id}/messages",
            await desk.http.get(f"{base}/sessions/{world.mine.id}/messages?limit=0", headers=token),
        ),
        ("GET", "/api/v1/config", await desk.http.get(f"{base}/config?key={shop.key}")),
        ("GET", "/api/v1/config", await desk.http.get(f"{base}/config?key=pk_nobody")),
        ("GET", "/healthz", await desk.http.get(f"{desk.url}/healthz")),
        ("GET", "/readyz", await desk.http.get(f"{desk.url}/readyz")),
    ]
    met = set()
    for method, path, response in answers:
        described = operations(found)[method, path]["responses"][str(response.status_code)]
        media = response.headers["content-type"].partition(";")[0]
        schema = {**described["content"][media]["schema"], "components": found["components"]}
        Draft202012Validator(schema).validate(json.loads(response.content))
        met.add(response.status_code)
    assert met == {200, 201, 401, 403, 422}
