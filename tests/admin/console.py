"""A browser of the console, as far as HTTP sees it: its cookies, its origin, the CSRF token that it was given."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx

from server.repositories.operators import Operator
from tests.flows.peer import PATIENCE_S
from tests.staffing import PASSWORD

BASE = "/api/v1/admin"


class Console:
    """`headers` are what the browser adds to a POST by itself and from the page; change them to be somebody else."""

    def __init__(self, http: httpx.AsyncClient, origin: str) -> None:
        self.http = http
        self.headers = {"origin": origin, "user-agent": "Firefox"}

    @classmethod
    @asynccontextmanager
    async def of(cls, url: str, *, origin: str | None = None) -> AsyncIterator["Console"]:
        """A page of `origin`, the server's own unless told, which talks to the server at `url`."""
        async with httpx.AsyncClient(base_url=url, timeout=PATIENCE_S, trust_env=False) as http:
            yield cls(http, origin or url)

    async def sign_in(self, operator: Operator, password: str = PASSWORD) -> dict[str, Any]:
        """Signs in; keeps the cookie and the CSRF token."""
        answer = await self.post("/login", {"email": operator.email, "password": password})
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        self.headers["x-csrf-token"] = told["csrf"]
        return told

    async def post(self, path: str, json: object = None, **headers: str | None) -> httpx.Response:
        """A POST; a header given as None is left out (`_` stands for `-`)."""
        given = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return await self.http.post(BASE + path, json=json, headers=_bytes(given))

    async def send(self, method: str, path: str, json: object = None, **query: str | int) -> httpx.Response:
        """Any request below the console's API, as a page of ours makes it."""
        return await self.http.request(
            method, BASE + path, json=json, params=query or None, headers=_bytes(self.headers)
        )

    async def me(self, **headers: str) -> httpx.Response:
        """Who is signed in, asked as a page asks its own server: without an origin."""
        return await self.http.get(f"{BASE}/me", headers=_bytes(headers))


def _bytes(headers: Mapping[str, str | None]) -> dict[bytes, bytes]:
    """As they travel: httpx itself takes ASCII alone."""
    return {name.encode(): value.encode("latin-1") for name, value in headers.items() if value is not None}
