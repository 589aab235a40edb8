"""`POST /api/v1/tools/callbacks/{token}` over HTTP: what a workflow sees when it calls back."""

import asyncio
import datetime
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec
import pytest
from jsonschema import Draft202012Validator

from server.protocol.http import ErrorBody
from server.settings import Settings
from server.tools.tool import Call
from server.tools.webhook.callbacks import BODY_BYTES, PATH
from tests.flows.support import Desk, open_desk
from tests.tools.instance import PUBLIC_URL, Instance, Scene, new_scene, open_instance, signed, watching

RESULT = b'{"type":"result","result":{"table":4}}'
PROGRESS = b'{"type":"progress","text":"Looking for a table"}'
ROUTE = f"{PATH}{{token}}"


@pytest.fixture
async def desk(settings: Settings) -> AsyncIterator[Desk]:
    """An instance that knows where it is reached."""
    async with open_desk(msgspec.structs.replace(settings, public_url=PUBLIC_URL)) as desk:
        yield desk


@pytest.fixture
async def waiter(desk: Desk) -> AsyncIterator[Instance]:
    """The instance that made the call: another one than the callback reaches."""
    async with open_instance(desk.settings.database_url, desk.settings.redis_url) as instance:
        yield instance


@pytest.fixture
async def scene(waiter: Instance) -> Scene:
    """A turn with a tool."""
    return await new_scene(waiter, "https://n8n.example/webhook/tool", effect="unsafe")


async def started(waiter: Instance, scene: Scene, no: int = 1, *, expires_s: float = 60) -> tuple[Call, str]:
    """A call that went out, and the path of its callback."""
    call = scene.call(no)
    await scene.start(waiter, call)
    expires = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=expires_s)
    url = waiter.callbacks.url(call, expires_at=expires)
    assert url is not None
    return call, urlsplit(url).path


async def post(desk: Desk, path: str, secret: str, body: bytes) -> httpx.Response:
    return await desk.http.post(f"{desk.url}{path}", content=body, headers=signed(secret, body))


def code(response: httpx.Response) -> tuple[int, str, str | None]:
    error = msgspec.json.decode(response.content, type=ErrorBody).error
    return response.status_code, error.code, error.field


async def test_progress_then_the_result(desk: Desk, waiter: Instance, scene: Scene) -> None:
    """The visitor sees the one, the waiting call gets the other, both on another instance."""
    call, path = await started(waiter, scene)
    waiting = asyncio.create_task(waiter.callbacks.wait(call, timeout_s=30))
    async with watching(waiter, scene) as watcher:
        shown = await post(desk, path, scene.secret, PROGRESS)
        assert (shown.status_code, shown.json()) == (200, {"status": "shown"})
        assert shown.headers["cache-control"] == "no-store"
        assert await watcher.until(1) == ["Looking for a table"]
    taken = await post(desk, path, scene.secret, RESULT)
    assert (taken.status_code, taken.json()) == (200, {"status": "finished"})
    outcome = await waiting
    assert outcome is not None and (outcome.ok, outcome.response) == (True, {"table": 4})


async def test_what_is_refused(desk: Desk, waiter: Instance, scene: Scene) -> None:
    """Each with its status and code, as the document says; the call stays open until its one result."""
    found = (await desk.http.get(f"{desk.url}/openapi.json")).json()
    described = found["paths"][ROUTE]["post"]["responses"]
    call, path = await started(waiter, scene)
    _, late = await started(waiter, scene, 2, expires_s=-2)
    url = f"{desk.url}{path}"
    big = b'{"type":"result","result":"' + b"x" * BODY_BYTES + b'"}'
    cases: list[tuple[httpx.Response, tuple[int, str, str | None]]] = [
        (await post(desk, f"{PATH}nonsense", scene.secret, RESULT), (401, "bad_token", None)),
        (await post(desk, f"{path}x", scene.secret, RESULT), (401, "bad_token", None)),
        (await post(desk, f"{PATH}%ff%00.%20", scene.secret, RESULT), (401, "bad_token", None)),
        (await desk.http.post(url, content=RESULT), (401, "unauthorized", None)),
        (
            await desk.http.post(url, content=RESULT, headers=signed(scene.secret, PROGRESS)),
            (401, "unauthorized", None),
        ),
        (await post(desk, late, scene.secret, RESULT), (410, "too_late", None)),
        (await post(desk, path, scene.secret, big), (413, "body_too_large", None)),
        (await post(desk, path, scene.secret, b"{"), (400, "malformed", None)),
        (await post(desk, path, scene.secret, b'{"type":"done"}'), (422, "invalid", "type")),
        (await post(desk, path, scene.secret, b'{"type":"progress"}'), (422, "invalid", "text")),
    ]
    assert (await scene.row(waiter, call)).success is None
    good = await post(desk, path, scene.secret, RESULT)
    cases.append((await post(desk, path, scene.secret, RESULT), (409, "already_finished", None)))
    for response, expected in cases:
        assert code(response) == expected
    for response in (good, *(response for response, _ in cases)):
        schema = described[str(response.status_code)]["content"]["application/json"]["schema"]
        Draft202012Validator({**schema, "components": found["components"]}).validate(json.loads(response.content))
    assert (await scene.row(waiter, call)).n8n_response == {"table": 4}


async def test_a_strangers_body_is_not_read(desk: Desk) -> None:
    """A token that is not ours is refused before a byte of a body that never ends."""
    host, port = desk.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"POST {PATH}nonsense HTTP/1.1\r\nhost: {host}\r\ncontent-length: 1000000\r\n\r\n{{".encode())
    await writer.drain()
    async with asyncio.timeout(10):
        assert await reader.readline() == b"HTTP/1.1 401 Unauthorized\r\n"
    writer.close()


async def test_it_is_documented(desk: Desk) -> None:
    """The three headers and the body's schema, for whoever writes a workflow."""
    found = (await desk.http.get(f"{desk.url}/openapi.json")).json()
    operation: dict[str, Any] = found["paths"][ROUTE]["post"]
    required = {each["name"] for each in operation["parameters"] if each["required"]}
    assert required == {"token", "webhook-id", "webhook-timestamp", "webhook-signature"}
    ref = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    schema = {"$ref": ref, "components": found["components"]}
    for good in (PROGRESS, RESULT, b'{"type":"error","error":"Sold out"}'):
        Draft202012Validator(schema).validate(json.loads(good))
    assert not Draft202012Validator(schema).is_valid({"type": "done"})


async def test_tokens_stay_out_of_the_figures(desk: Desk, waiter: Instance, scene: Scene) -> None:
    """Counted by the route, never by the address."""
    _, path = await started(waiter, scene)
    await post(desk, path, scene.secret, RESULT)
    figures = (await desk.http.get(f"{desk.url}/metrics")).text
    assert f'route="{ROUTE}"' in figures and path.rpartition("/")[2] not in figures
