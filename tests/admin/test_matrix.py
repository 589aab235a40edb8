"""Every route of the console against everybody who may knock: a route that is missing here fails.

Each test module of this folder says in `NEEDS` which role its routes need at least.
"""

import pkgutil
import re
from importlib import import_module

import pytest

import tests.admin
from server.admin.gate import RANK
from server.admin.routes import ENDPOINTS
from tests.admin.console import Console
from tests.flows.support import Desk
from tests.staffing import hire

ROUTES = [f"{endpoint.method} {endpoint.path}" for endpoint in ENDPOINTS]
# Those that nobody is signed in for yet.
OPEN = {"POST /api/v1/admin/login", "POST /api/v1/admin/link"}


def _needs() -> dict[str, str]:
    needs: dict[str, str] = {}
    for each in pkgutil.iter_modules(tests.admin.__path__):
        if each.name.startswith("test_") and each.name != "test_matrix":
            needs |= getattr(import_module(f"tests.admin.{each.name}"), "NEEDS", {})
    return needs


NEEDS = _needs()
OF_CLIENT = sorted(route for route in NEEDS if "{client_id}" in route)


def _filled(path: str, client_id: int) -> str:
    """The path with the client, and for the rest ids that nobody has."""
    return re.sub(r"{\w+}", "999999", path.replace("{client_id}", str(client_id)))


def test_the_matrix_is_whole() -> None:
    """Each route is open or says which role it needs."""
    assert set(ROUTES) == OPEN | set(NEEDS)


async def test_nobody_passes_without_a_session(desk: Desk) -> None:
    """401, though the page is ours."""
    headers = {"origin": desk.url, "x-csrf-token": "x"}
    for route in NEEDS:
        method, path = route.split()
        answer = await desk.http.request(method, desk.url + _filled(path, 1), headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "signed_out"), route


@pytest.mark.parametrize("role", RANK)
async def test_each_role(desk: Desk, role: str) -> None:
    """Is refused where another role is needed, whatever it sends, and is not where it may pass."""
    shop = await desk.shop()
    operator = await hire(desk.pool, desk.keyring, role=role, client_id=None if role == "owner" else shop.id)
    async with Console.of(desk.url) as console:
        await console.sign_in(operator)
        for route, needs in sorted(NEEDS.items(), key=_sign_out_last):
            method, path = route.split()
            answer = await console.http.request(method, _filled(path, shop.id), headers=console.headers)
            if RANK.index(operator.role) >= RANK.index(needs):
                assert answer.status_code not in {401, 403, 500}, route
            else:
                assert (answer.status_code, answer.json()["error"]["code"]) == (403, "role_needed"), route


async def test_no_change_without_the_token(desk: Desk) -> None:
    """403 `csrf`: the cookie alone changes nothing."""
    async with Console.of(desk.url) as console:
        await console.sign_in(await hire(desk.pool, desk.keyring))
        del console.headers["x-csrf-token"]
        for route in NEEDS:
            method, path = route.split()
            if method == "GET":
                continue
            answer = await console.http.request(method, _filled(path, 1), headers=console.headers)
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "csrf"), route


async def test_another_clients(desk: Desk) -> None:
    """An admin of another client gets the 404 of a client that is not there."""
    shop, other = await desk.shop(), await desk.shop()
    async with Console.of(desk.url) as console:
        await console.sign_in(await hire(desk.pool, desk.keyring, role="admin", client_id=other.id))
        for route in OF_CLIENT:
            method, path = route.split()
            answers = [
                await console.http.request(method, _filled(path, client_id), headers=console.headers)
                for client_id in (shop.id, 999_999)
            ]
            if NEEDS[route] == "owner":
                assert {answer.status_code for answer in answers} == {403}, route
            else:
                told = [(answer.status_code, answer.json()["error"]["message"]) for answer in answers]
                assert told == [(404, "there is no such client")] * 2, route


def _sign_out_last(route: tuple[str, str]) -> tuple[bool, str]:
    return route[0].endswith("/logout"), route[0]
