"""Built files over HTTP: the widget in its encodings, the API page, the demo shops."""

import gzip
import re
from collections.abc import AsyncIterator
from urllib.parse import urljoin

import brotli  # type: ignore[import-untyped]  # it has no stubs
import httpx
import msgspec
import pytest

from server.embedded import demo
from server.net.vault import Vault
from server.repositories.pool import reading
from server.settings import Settings
from tests.flows.support import Desk, open_desk
from tests.flows.world import World


async def widget(world: World, name: str = "widget.js", **headers: str) -> httpx.Response:
    """The file as it comes over the wire: its encoding is not undone."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    given.setdefault("accept-encoding", "identity")
    async with world.desk.http.stream("GET", f"{world.desk.url}/{name}", headers=given) as response:
        raw = b"".join([chunk async for chunk in response.aiter_raw()])
    response.extensions["raw"] = raw
    return response


def raw(response: httpx.Response) -> bytes:
    body: bytes = response.extensions["raw"]
    return body


@pytest.mark.parametrize(
    ("accepts", "encoding"),
    [
        ("identity", None),
        ("", None),
        ("gzip", "gzip"),
        ("gzip, deflate", "gzip"),
        ("gzip, deflate, br, zstd", "br"),
        ("br;q=1.0, gzip;q=0.8", "br"),
        ("br;q=0, gzip", "gzip"),
        ("gzip;q=0, br; q=0", None),
        ("deflate", None),
        ("brr, gzipped", None),
    ],
)
async def test_the_widget_in_the_encoding_a_browser_takes(world: World, accepts: str, encoding: str | None) -> None:
    """The same script each time; each encoding has a strong ETag of its own, and its 304."""
    plain = raw(await widget(world))
    response = await widget(world, accept_encoding=accepts)
    assert response.status_code == 200
    assert response.headers.get("content-encoding") == encoding
    undone = {"br": brotli.decompress, "gzip": gzip.decompress, None: bytes}[encoding](raw(response))
    assert undone == plain and int(response.headers["content-length"]) == len(raw(response))
    assert response.headers["content-type"] == "text/javascript; charset=utf-8"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "accept-encoding" in response.headers["vary"]
    assert response.headers["cross-origin-resource-policy"] == "cross-origin"
    assert response.headers["cache-control"] == "public, max-age=300"
    etag = response.headers["etag"]
    assert re.fullmatch(r'"[0-9a-f]{16}(-br|-gzip)?"', etag) and etag.endswith(f'-{encoding}"' if encoding else '"')
    again = await widget(world, accept_encoding=accepts, if_none_match=etag)
    assert (again.status_code, raw(again)) == (304, b"")
    assert (again.headers["etag"], again.headers["vary"]) == (etag, response.headers["vary"])
    # Of another encoding, it is another file.
    other = await widget(world, accept_encoding="identity" if encoding else "gzip", if_none_match=etag)
    assert other.status_code == 200


async def test_the_widget_under_its_hashed_name(world: World) -> None:
    """Kept for ever, since another build has another name."""
    plain = await widget(world)
    name = f"widget.{plain.headers['etag'].strip(chr(34))}.js"
    named = await widget(world, name)
    assert named.status_code == 200 and raw(named) == raw(plain)
    assert named.headers["cache-control"] == "public, max-age=31536000, immutable"


async def test_any_website_may_load_the_widget(world: World) -> None:
    """With `crossorigin` on the script tag too."""
    response = await widget(world, origin="https://shop.example")
    assert response.headers["access-control-allow-origin"] == "*"


async def load_all(http: httpx.AsyncClient, page: httpx.Response) -> dict[str, httpx.Response]:
    """Every file that a page's HTML names, by its path."""
    links = re.findall(r'<(?:script|link|img)[^>]*?(?:src|href)="([^"]+)"', page.text)
    own = [link for link in links if not link.startswith("data:")]
    return {link: await http.get(urljoin(str(page.url), link)) for link in own}


def policy(page: httpx.Response) -> dict[str, list[str]]:
    """The page's Content-Security-Policy by directive."""
    return {
        name: sources
        for name, *sources in (each.split() for each in page.headers["content-security-policy"].split(";"))
    }


async def test_the_api_page_loads_its_files(world: World) -> None:
    """From this server alone, as its own policy demands; its script reads the document that is there."""
    page = await world.desk.http.get(f"{world.desk.url}/docs")
    assert page.status_code == 200 and page.headers["content-type"] == "text/html; charset=utf-8"
    directives = policy(page)
    assert directives["default-src"] == ["'none'"] and directives["script-src"] == ["'self'"]
    files = await load_all(world.desk.http, page)
    assert len(files) == 3
    kinds = {".js": "text/javascript", ".css": "text/css"}
    for path, response in files.items():
        assert response.status_code == 200 and len(response.content) > 100
        assert response.headers["content-type"].startswith(kinds[path[path.rindex(".") :]])
    assert 'url: "/openapi.json"' in files["/docs/start.js"].text
    assert (await world.desk.http.get(f"{world.desk.url}/openapi.json")).json()["openapi"] == "3.1.0"
    assert re.search(r"<script(?![^>]*src=)|<style|style=|\son\w+=", page.text) is None


@pytest.fixture
async def demo_desk(settings: Settings) -> AsyncIterator[Desk]:
    """What `frontdesk dev` serves, with its two shops."""
    async with open_desk(msgspec.structs.replace(settings, demo=True)) as desk:
        async with reading(desk.pool) as conn:
            vault = Vault(settings.secret_keys)
            await demo.seed(conn, desk.keyring, vault, origins=[desk.url], base_url=desk.url)
        yield desk


@pytest.mark.parametrize(("slug", "name"), [("pizza", "Bob's Pizza Shop"), ("bakery", "Jane's Bakery")])
async def test_a_demo_shop_is_a_website_as_strict_as_a_careful_one(demo_desk: Desk, slug: str, name: str) -> None:
    """Its page names its client's key, loads only its own files, and has no inline script or style."""
    page = await demo_desk.http.get(f"{demo_desk.url}/demo/{slug}/")
    assert page.status_code == 200 and page.headers["cache-control"] == "no-cache"
    [(key,)] = await demo_desk.rows("select public_key from clients where name = %s", name)
    assert re.findall(r'data-client-key="([^"]*)"', page.text) == [key]
    assert "{{" not in page.text
    directives = policy(page)
    assert directives["default-src"] == ["'none'"]
    assert directives["script-src"] == directives["style-src"] == ["'self'"]
    assert "unsafe" not in page.headers["content-security-policy"]
    assert re.search(r"<script(?![^>]*src=)|<style|\sstyle=|\son\w+=|javascript:", page.text) is None
    files = await load_all(demo_desk.http, page)
    assert "/widget.js" in files
    assert {path: response.status_code for path, response in files.items()} == dict.fromkeys(files, 200)
    config = await demo_desk.http.get(f"{demo_desk.url}/api/v1/config?key={key}")
    assert config.json()["name"] == name
    logo = await demo_desk.http.get(demo_desk.url + config.json()["widget"]["logo_url"])
    assert logo.status_code == 200 and logo.headers["content-type"] == "image/svg+xml"
    begun = await demo_desk.http.post(
        f"{demo_desk.url}/api/v1/sessions", headers={"origin": demo_desk.url}, json={"key": key}
    )
    assert begun.status_code == 201


async def test_the_demo_is_found(demo_desk: Desk) -> None:
    """From the bare address to the choice of shops, and from there to each."""
    for path in ("/", "/demo"):
        start = await demo_desk.http.get(demo_desk.url + path)
        assert start.status_code in {302, 307} and start.headers["location"] == "/demo/"
    page = await demo_desk.http.get(f"{demo_desk.url}/demo/")
    assert page.status_code == 200 and policy(page)["script-src"] == ["'self'"]
    files = await load_all(demo_desk.http, page)
    assert all(response.status_code == 200 for response in files.values())
    for slug in ("pizza", "bakery"):
        assert f'href="/demo/{slug}/"' in page.text
    missing = await demo_desk.http.get(f"{demo_desk.url}/demo/nobody/")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "not_found")


async def test_demo_shops_without_their_data(settings: Settings) -> None:
    """A page without a client says so, as an error."""
    async with open_desk(msgspec.structs.replace(settings, demo=True)) as desk:
        page = await desk.http.get(f"{desk.url}/demo/pizza/")
        assert (page.status_code, page.json()["error"]["code"]) == (404, "not_found")
