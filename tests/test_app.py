"""The application as a whole: what is around every request, whatever serves it."""

import re
from collections.abc import AsyncIterator

import pytest

from server.settings import Settings
from tests.flows.support import Desk, open_desk


@pytest.fixture
async def desk(settings: Settings) -> AsyncIterator[Desk]:
    """One instance."""
    async with open_desk(settings) as desk:
        yield desk


async def test_every_answer_has_an_id_of_its_own(desk: Desk) -> None:
    """Good or bad, built file or API; what a caller sends as one is not taken for it."""
    paths = (
        "/healthz",
        "/widget.js",
        "/openapi.json",
        "/docs",
        "/docs/start.js",
        "/nope",
        "/api/v1/chat",
        "/api/v1/config",
    )
    seen = []
    for path in paths:
        for _ in range(2):
            response = await desk.http.get(desk.url + path, headers={"x-request-id": "mine"})
            ids = response.headers.get_list("x-request-id")
            assert len(ids) == 1 and re.fullmatch(r"req_[0-9a-z]{16}", ids[0])
            seen += ids
    assert len(set(seen)) == 2 * len(paths)


async def test_a_preflight_is_answered_for_any_page(desk: Desk) -> None:
    """With the methods and headers that the widget uses, for ten minutes; no other header, no credentials."""
    asked = "authorization, content-type, x-frontdesk-key, idempotency-key, last-event-id"
    headers = {
        "origin": "https://shop.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": asked,
    }
    response = await desk.http.options(f"{desk.url}/api/v1/chat", headers=headers)
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == "*"
    assert response.headers["access-control-max-age"] == "600"
    assert {each.strip() for each in response.headers["access-control-allow-methods"].split(",")} == {"GET", "POST"}
    allowed = {each.strip().lower() for each in response.headers["access-control-allow-headers"].split(",")}
    assert set(asked.split(", ")) <= allowed
    assert "access-control-allow-credentials" not in response.headers
    for name, value in (
        ("access-control-request-headers", "x-secret"),
        ("access-control-request-method", "DELETE"),
    ):
        refused = await desk.http.options(f"{desk.url}/api/v1/chat", headers={**headers, name: value})
        assert refused.status_code == 400


async def test_a_page_may_read_ids_and_waiting_times(desk: Desk) -> None:
    """Of good answers and refusals alike."""
    for path in ("/healthz", "/nope"):
        response = await desk.http.get(desk.url + path, headers={"origin": "https://shop.example"})
        assert response.headers["access-control-allow-origin"] == "*"
        exposed = {each.strip() for each in response.headers["access-control-expose-headers"].split(",")}
        assert exposed == {"x-request-id", "retry-after"}


async def test_it_does_not_say_what_it_runs_on(desk: Desk) -> None:
    """No header names the server."""
    response = await desk.http.get(f"{desk.url}/healthz")
    assert "server" not in response.headers and "x-powered-by" not in response.headers
