"""Notifications over HTTP."""

from typing import Any

import pytest

from server.repositories import notifications
from server.repositories.pool import unit_of_work
from tests.admin.console import BASE, Console
from tests.admin.talking import audited, get, refusal, refused, signed_in, talk
from tests.flows.support import Desk, Shop

NEEDS = {
    f"GET {BASE}/notifications": "operator",
    f"POST {BASE}/notifications/read-all": "operator",
    f"POST {BASE}/notifications/{{notification_id}}/read": "operator",
}


async def notify(desk: Desk, *shops: Shop) -> list[int]:
    """One notification of each, numbered; their ids."""
    async with unit_of_work(desk.pool) as conn:
        for number, shop in enumerate(shops):
            await notifications.create(conn, client_id=shop.id, kind="limit_near", details={"n": number})
        newest = await notifications.page_of_all(conn, limit=len(shops))
    return [row.id for row in reversed(newest)]


def numbers(page: dict[str, Any]) -> list[int]:
    return [row["details"]["n"] for row in page["rows"]]


async def test_pages(desk: Desk, console: Console) -> None:
    """Newest first, of all clients and of one, with how many nobody has read."""
    pizza, bakery = await desk.shop(), await desk.shop()
    made = await notify(desk, pizza, bakery, pizza, bakery, pizza)
    page = await get(console, "/notifications")
    assert (numbers(page), page["before"], page["unread"]) == ([4, 3, 2, 1, 0], None, 5)
    page = await get(console, "/notifications", limit=2)
    assert (numbers(page), page["before"]) == ([4, 3], made[3])
    rest = await get(console, "/notifications", limit=3, before=page["before"])
    assert (numbers(rest), rest["before"]) == ([2, 1, 0], None)
    mine = await get(console, "/notifications", client_id=bakery.id)
    assert (numbers(mine), mine["unread"]) == ([3, 1], 2)
    async with signed_in(desk, pizza) as ana:
        told = await get(ana, "/notifications")
        assert (numbers(told), told["unread"]) == ([4, 2, 0], 3)
        for client_id in (bakery.id, 999_999):
            assert (await refused(ana, "/notifications", client_id=client_id))[0] == 404


async def test_one_is_read(desk: Desk, console: Console) -> None:
    """By the first who reads it, for everybody; once in the log; its conversation is named."""
    shop = await desk.shop()
    made = await talk(desk, shop, "Hello")
    async with unit_of_work(desk.pool) as conn:
        await notifications.create(
            conn, client_id=shop.id, kind="handoff_requested", conversation_id=made.id, details={"reason": "x"}
        )
    [row] = (await get(console, "/notifications", unread="true"))["rows"]
    assert (row["kind"], row["conversation_id"], row["read_at"]) == ("handoff_requested", made.public_id, None)
    first = await console.post(f"/notifications/{row['id']}/read")
    second = await console.post(f"/notifications/{row['id']}/read")
    assert first.status_code == 200 and first.json()["read_at"] is not None
    assert second.json() == first.json()
    page = await get(console, "/notifications", unread="true")
    assert (page["rows"], page["unread"]) == ([], 0)
    assert [action for action, _, _ in await audited(desk, "notification.")] == ["notification.read"]
    async with signed_in(desk, await desk.shop(), "admin") as other:
        for each in (row["id"], 999_999, "x"):
            assert refusal(await other.post(f"/notifications/{each}/read"))[:2] == (404, "not_found")


async def test_all_are_read(desk: Desk, console: Console) -> None:
    """Up to the one that was seen, of the clients whom the operator serves."""
    pizza, bakery = await desk.shop(), await desk.shop()
    made = await notify(desk, pizza, bakery, pizza, bakery, pizza)
    async with signed_in(desk, pizza) as ana:
        answer = await ana.post("/notifications/read-all", {"through_id": made[3]})
        assert (answer.status_code, answer.json()) == (200, {"marked": 2})
        answer = await ana.post("/notifications/read-all", {"through_id": made[4], "client_id": bakery.id})
        assert refusal(answer)[:2] == (404, "not_found")
    assert numbers(await get(console, "/notifications", unread="true")) == [4, 3, 1]
    answer = await console.post("/notifications/read-all", {"through_id": made[1], "client_id": bakery.id})
    assert answer.json() == {"marked": 1}
    assert (await console.post("/notifications/read-all", {"through_id": made[4]})).json() == {"marked": 2}
    assert (await console.post("/notifications/read-all", {"through_id": made[4]})).json() == {"marked": 0}
    log = await audited(desk, "notification.read_all")
    assert [target for _, target, _ in log] == [str(made[3]), str(made[1]), str(made[4])]


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        *[({"limit": each}, "limit") for each in ("0", "101", "x")],
        *[({"before": each}, "before") for each in ("0", "x", str(2**63))],
        *[({"client_id": each}, "client_id") for each in ("0", "x", str(2**64))],
        ({"unread": "maybe"}, "unread"),
    ],
)
async def test_bad_questions(console: Console, asked: dict[str, str], field: str) -> None:
    """Each names the parameter that is wrong."""
    assert (await refused(console, "/notifications", **asked))[::2] == (422, field)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "through_id"),
        *[({"through_id": each}, "through_id") for each in (0, -1, "7", None, 2**63)],
        ({"through_id": 1, "client_id": 0}, "client_id"),
    ],
)
async def test_bad_bodies(console: Console, body: object, field: str) -> None:
    """Each names the field that is wrong."""
    answer = await console.post("/notifications/read-all", body)
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, field)
