"""The doctor over HTTP."""

from typing import Any

import httpx

from tests.admin.console import BASE, Console
from tests.flows.support import Desk, use_up
from tests.staffing import hire

NEEDS = {
    f"GET {BASE}/doctor": "owner",
    f"POST {BASE}/clients/{{client_id}}/doctor": "admin",
}


def by_check(answer: httpx.Response) -> dict[str, dict[str, Any]]:
    """Findings by check."""
    assert answer.status_code == 200, answer.text
    return {each["check"]: each for each in answer.json()["findings"]}


async def test_the_installation(console: Console) -> None:
    """Every finding with what was found and what to do; not ok where one is an error."""
    answer = await console.http.get(f"{BASE}/doctor")
    findings = by_check(answer)
    assert findings["database"]["status"] == "ok" and findings["servers"]["status"] == "ok"
    assert findings["address"]["status"] == "warning" and findings["address"]["advice"]
    assert set(findings["redis"]) == {"check", "status", "says", "advice", "ms"}
    told = answer.json()
    assert told["client_id"] is None
    assert told["ok"] is all(each["status"] != "error" for each in told["findings"])


async def test_a_client(console: Console, desk: Desk) -> None:
    """Its own findings alone, for its own admin too."""
    shop = await desk.shop("pizza", allowed_origins=[])
    answer = await console.post(f"/clients/{shop.id}/doctor")
    findings = by_check(answer)
    assert findings["origins"]["status"] == "error"
    assert (answer.json()["ok"], answer.json()["client_id"]) == (False, shop.id)
    assert "database" not in findings
    async with Console.of(desk.url) as own:
        await own.sign_in(await hire(desk.pool, desk.keyring, role="admin", client_id=shop.id))
        assert by_check(await own.post(f"/clients/{shop.id}/doctor")).keys() == findings.keys()
    unknown = await console.post("/clients/999999/doctor")
    assert unknown.status_code == 404


async def test_not_without_end(console: Console, desk: Desk) -> None:
    """It asks others, so 20 times a minute are enough."""
    shop = await desk.shop()
    for key in ("doctor", f"doctor:{shop.id}"):
        await use_up(desk, key, 20)
    for answer in (await console.http.get(f"{BASE}/doctor"), await console.post(f"/clients/{shop.id}/doctor")):
        assert (answer.status_code, answer.headers["retry-after"].isdigit()) == (429, True)
