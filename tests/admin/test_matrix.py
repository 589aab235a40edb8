"""Every route of the console against everybody who may knock: a route that is missing here fails."""

import pytest

from server.admin.routes import ENDPOINTS
from tests.admin.console import Console
from tests.flows.support import Desk
from tests.staffing import hire

ROUTES = [f"{endpoint.method} {endpoint.path}" for endpoint in ENDPOINTS]
# Those that nobody is signed in for yet.
OPEN = {"POST /api/v1/admin/login", "POST /api/v1/admin/link"}
# Which roles may pass. Those that are about oneself are for all.
ROLES = ("owner", "admin", "operator")
ALLOWED: dict[str, tuple[str, ...]] = {
    "GET /api/v1/admin/me": ROLES,
    "POST /api/v1/admin/logout": ROLES,
    "POST /api/v1/admin/ws-ticket": ROLES,
}


def test_the_matrix_is_whole() -> None:
    """Each route is open or says which roles may pass."""
    assert set(ROUTES) == OPEN | set(ALLOWED)


@pytest.mark.parametrize("route", sorted(ALLOWED))
async def test_nobody_passes_without_a_session(desk: Desk, route: str) -> None:
    """401, though the page is ours."""
    method, path = route.split()
    answer = await desk.http.request(method, desk.url + path, headers={"origin": desk.url, "x-csrf-token": "x"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "signed_out")


@pytest.mark.parametrize("role", ROLES)
async def test_each_role(desk: Desk, role: str) -> None:
    """Passes where it may, is refused where it may not."""
    shop = await desk.shop()
    operator = await hire(desk.pool, desk.keyring, role=role, client_id=None if role == "owner" else shop.id)
    for route, allowed in ALLOWED.items():
        method, path = route.split()
        async with Console.of(desk.url) as console:
            await console.sign_in(operator)
            answer = await console.http.request(method, path, headers=console.headers)
        assert answer.is_success if role in allowed else answer.status_code == 403
