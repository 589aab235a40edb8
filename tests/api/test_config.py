"""`GET /api/v1/config` over HTTP: what a widget needs, and how long a browser may keep it."""

import pytest

from server import access
from tests.flows.support import Desk
from tests.flows.world import World


async def test_it_says_what_a_widget_needs(desk: Desk) -> None:
    """Name, looks, language and limits; any page may read it, for 60 s."""
    looks = {
        "title": "Ask Bob",
        "colors": {"primary": "#c22d1b"},
        "position": "left",
        "suggestions": ["Menu?"],
        "unknown": 1,
    }
    shop = await desk.shop("pizza", widget_config=looks, locale="en-US")
    response = await desk.http.get(
        f"{desk.url}/api/v1/config?key={shop.key}", headers={"origin": "https://any.example"}
    )
    assert response.status_code == 200
    assert response.headers["cache-control"] == "public, max-age=60"
    assert response.headers["access-control-allow-origin"] == "*"
    assert response.headers["etag"].startswith('"')
    body = response.json()
    assert (body["name"], body["locale"]) == ("pizza", "en-US")
    assert body["limits"] == {"message_characters": 5_000, "frame_bytes": 65_536}
    assert body["widget"] == {
        "title": "Ask Bob",
        "colors": {"primary": "#c22d1b"},
        "position": "left",
        "suggestions": ["Menu?"],
    }
    assert shop.secret_key[:12] not in response.text


async def test_a_browser_that_has_it_is_told_so(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """304 without a body for the same version, in a list and weakened by a proxy too; a change is a new version."""
    monkeypatch.setattr(access, "CLIENT_AGE_S", 0.0)
    shop = await desk.shop()
    url = f"{desk.url}/api/v1/config?key={shop.key}"
    first = await desk.http.get(url)
    etag = first.headers["etag"]
    for known in (etag, f'"other", {etag}', f"W/{etag}", "*"):
        again = await desk.http.get(url, headers={"if-none-match": known})
        assert (again.status_code, again.content) == (304, b"")
        assert (again.headers["etag"], again.headers["cache-control"]) == (etag, "public, max-age=60")
    for unknown in ('"other"', etag.strip('"'), ""):
        assert (await desk.http.get(url, headers={"if-none-match": unknown})).status_code == 200
    await desk.rows("update clients set name = 'Another' where id = %s", shop.id)
    changed = await desk.http.get(url, headers={"if-none-match": etag})
    assert changed.status_code == 200 and changed.json()["name"] == "Another"
    assert changed.headers["etag"] != etag


async def test_looks_that_make_no_sense_fall_back(desk: Desk) -> None:
    """A wrong row must not take the widget off the client's website."""
    shop = await desk.shop(widget_config={"position": "middle", "radius": 900})
    response = await desk.http.get(f"{desk.url}/api/v1/config?key={shop.key}")
    assert response.status_code == 200 and response.json()["widget"] == {}


async def test_head_has_no_body(world: World) -> None:
    """HEAD is GET without what it carries."""
    response = await world.desk.http.head(f"{world.desk.url}/api/v1/config?key={world.shop.key}")
    assert response.status_code == 200 and response.content == b"" and "etag" in response.headers
