"""Who changed what, over HTTP."""

from typing import Any

from server.repositories import audit
from server.repositories.pool import unit_of_work
from tests.admin.console import BASE, Console
from tests.flows.support import Desk, Shop
from tests.staffing import hire

NEEDS = {f"GET {BASE}/audit": "admin"}


async def record(desk: Desk, shop: Shop | None, action: str, operator_id: int | None = None) -> None:
    """A change."""
    async with unit_of_work(desk.pool) as conn:
        await audit.record(
            conn,
            client_id=shop.id if shop else None,
            operator_id=operator_id,
            action=action,
            target_type="client",
            target_id="x",
            details={"name": "<b>"},
        )


async def page(console: Console, **query: Any) -> dict[str, Any]:
    """One page."""
    answer = await console.http.get(f"{BASE}/audit", params=query)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def test_page_by_page(console: Console, desk: Desk) -> None:
    """Newest first, without a gap, to the last, which says that there is no more."""
    shop = await desk.shop("pizza")
    for number in range(5):
        await record(desk, shop, f"test.{number}")
    seen: list[str] = []
    before: int | None = None
    while True:
        told = await page(console, client_id=shop.id, limit=2, **({} if before is None else {"before": before}))
        seen += [row["action"] for row in told["rows"]]
        before = told["before"]
        if before is None:
            break
    assert seen == [f"test.{number}" for number in reversed(range(5))]
    [row] = (await page(console, client_id=shop.id, limit=1))["rows"]
    assert {**row, "id": 0, "created_at": ""} == {
        "id": 0,
        "created_at": "",
        "action": "test.4",
        "target_type": "client",
        "target_id": "x",
        "details": {"name": "<b>"},
        "client_id": shop.id,
        "client_name": "pizza",
        "operator_id": None,
        "operator_name": None,
    }


async def test_narrowed(console: Console, desk: Desk) -> None:
    """By person and by action, over all clients and the installation."""
    ann = await hire(desk.pool, desk.keyring, name="Ann")
    shop = await desk.shop()
    await record(desk, shop, "test.a", ann.id)
    await record(desk, None, "test.b", ann.id)
    await record(desk, shop, "test.b")
    mine = (await page(console, operator_id=ann.id))["rows"]
    assert [(row["action"], row["operator_name"]) for row in mine] == [("test.b", "Ann"), ("test.a", "Ann")]
    both = (await page(console, action="test.b"))["rows"]
    assert [row["client_id"] for row in both] == [shop.id, None]
    assert (await page(console, action="test.b", operator_id=ann.id))["rows"] == both[1:]
    assert (await page(console, action="test"))["rows"] == []


async def test_who_serves_one_client_sees_what_concerns_it(desk: Desk) -> None:
    """Nobody else's, and nothing of the installation."""
    shop, other = await desk.shop(), await desk.shop()
    await record(desk, shop, "test.mine")
    await record(desk, other, "test.theirs")
    await record(desk, None, "test.ours")
    async with Console.of(desk.url) as console:
        await console.sign_in(await hire(desk.pool, desk.keyring, role="admin", client_id=shop.id))
        seen = {row["client_id"] for row in (await page(console))["rows"]}
        assert seen == {shop.id}
        for client_id in (other.id, 999_999):
            answer = await console.http.get(f"{BASE}/audit", params={"client_id": client_id})
            assert (answer.status_code, answer.json()["error"]["message"]) == (404, "there is no such client")


async def test_a_wrong_question(console: Console) -> None:
    """Refused with the parameter's name."""
    for name, value in (
        ("limit", "0"),
        ("limit", "101"),
        ("before", "-1"),
        ("before", "x"),
        ("client_id", "pizza"),
        ("operator_id", "1.5"),
        ("action", ""),
        ("action", "x" * 101),
        ("action", "a\0b"),
        ("who", "me"),
    ):
        answer = await console.http.get(f"{BASE}/audit", params={name: value})
        assert (answer.status_code, answer.json()["error"]["field"]) == (422, name), answer.text
