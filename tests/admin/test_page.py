"""The console's page and its files, as a browser gets them."""

import gzip
import re
from pathlib import Path

import brotli  # type: ignore[import-untyped]  # it has no stubs
import httpx
import msgspec
import pytest

from server.admin.page import Page
from server.assets import static_path
from server.errors import SettingsError
from tests.flows.support import Desk

FOR_EVER = "public, max-age=31536000, immutable"


async def _raw(desk: Desk, path: str, **headers: str) -> tuple[httpx.Response, bytes]:
    """The answer, and its body as it travels."""
    given = {"accept-encoding": "identity", **{name.replace("_", "-"): value for name, value in headers.items()}}
    async with desk.http.stream("GET", desk.url + path, headers=given) as answer:
        return answer, b"".join([chunk async for chunk in answer.aiter_raw()])


@pytest.mark.parametrize("path", ["/admin/", "/admin/inbox", "/admin/clients/3/looks?tab=a", "/admin/a/b/c/d.txt"])
async def test_every_address_is_the_page(desk: Desk, path: str) -> None:
    """With a policy that lets nothing in but our own files; asked for anew each time, and 304 when it is the same."""
    answer, body = await _raw(desk, path)
    assert answer.status_code == 200 and b'<div id="app"></div>' in body
    headers = answer.headers
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert headers["cache-control"] == "no-cache"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    policy = dict(each.strip().partition(" ")[::2] for each in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert (policy["require-trusted-types-for"], policy["trusted-types"]) == ("'script'", "'none'")
    assert "unsafe" not in headers["content-security-policy"]
    again, nothing = await _raw(desk, path, if_none_match=headers["etag"])
    assert (again.status_code, nothing) == (304, b"")
    assert again.headers["content-security-policy"] == headers["content-security-policy"]


async def test_without_the_slash(desk: Desk) -> None:
    """It leads to the page."""
    answer = await desk.http.get(f"{desk.url}/admin", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (307, "/admin/")


async def test_the_page_has_no_script_or_style_of_its_own(desk: Desk) -> None:
    """Every element of it that could hold some names a file."""
    _, body = await _raw(desk, "/admin/")
    page = body.decode()
    assert re.findall(r"<script[^>]*>(?!</script>)", page) == []
    assert "<style" not in page and " style=" not in page and not re.search(r"\son\w+=", page)


async def test_its_files_are_kept_for_ever(desk: Desk) -> None:
    """Each that the page names and each that those load, in three encodings; the name changes with what it holds."""
    _, body = await _raw(desk, "/admin/")
    named = set(re.findall(r'(?:src|href)="(/admin/assets/[^"]+)"', body.decode()))
    manifest = msgspec.json.decode((static_path() / "manifest.json").read_bytes())["admin"]
    every = {f"/admin/assets/{name}" for name in manifest["files"]}
    assert named <= every and len(named) >= 3
    kinds = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}
    for path in every:
        assert re.search(r"\.[0-9A-Za-z]{8,16}\.(js|css|svg)$", path), path
        answer, plain = await _raw(desk, path)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == kinds[Path(path).suffix]
        assert answer.headers["cache-control"] == FOR_EVER
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        for encoding, undo in (("gzip", gzip.decompress), ("br", brotli.decompress)):
            packed, raw = await _raw(desk, path, accept_encoding=encoding)
            assert packed.headers["content-encoding"] == encoding
            assert undo(raw) == plain


@pytest.mark.parametrize("name", ["admin.00000000.js", "..%2Fmanifest.json", "manifest.json", "%00"])
async def test_another_version_s_file_is_not_there(desk: Desk, name: str) -> None:
    """404, and not the page: a browser would take that for a script."""
    answer, _ = await _raw(desk, f"/admin/assets/{name}")
    assert answer.status_code == 404


async def test_only_reading(desk: Desk) -> None:
    """The page takes nothing."""
    assert (await desk.http.post(f"{desk.url}/admin/")).status_code == 405


async def test_the_preview_s_page_runs_nothing(desk: Desk) -> None:
    """An empty page for a frame of the console: pictures may come from elsewhere, scripts from nowhere."""
    answer, body = await _raw(desk, "/admin/preview")
    policy = answer.headers["content-security-policy"]
    assert "script-src" not in policy and "default-src 'none'" in policy and "sandbox allow-same-origin" in policy
    assert "frame-ancestors 'self'" in policy and answer.headers["x-frame-options"] == "SAMEORIGIN"
    assert b"<script" not in body


def test_the_first_load_is_small() -> None:
    """What comes before the start page shows: at most 150 KB gzip."""
    front = msgspec.json.decode((static_path() / "manifest.json").read_bytes())["admin"]
    first = [front["script"], *front["preload"]]
    sizes = [(static_path() / "admin" / f"{name}.gz").stat().st_size for name in first]
    assert sum(sizes) == front["gzip"] <= 150 * 1024


@pytest.mark.parametrize("manifest", [None, b'{"widget": {}}'])
def test_what_was_not_built_is_said(tmp_path: Path, manifest: bytes | None) -> None:
    """In one line with what to do, before anything serves."""
    if manifest is not None:
        (tmp_path / "manifest.json").write_bytes(manifest)
    with pytest.raises(SettingsError, match="make install"):
        Page(tmp_path)
