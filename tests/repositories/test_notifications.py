"""Notifications: read by the first who reads them."""

from typing import Any

import pytest

from server.repositories import notifications
from server.repositories.pool import Pool, reading, unit_of_work
from tests.repositories.conftest import Shop
from tests.repositories.plans import crowd, plan_of


async def test_pages(pool: Pool, pizza: Shop, bakery: Shop) -> None:
    """Newest first, of one client and of all, read and unread; each names its conversation by its public id."""
    async with unit_of_work(pool) as conn:
        for number in range(5):
            shop = (pizza, bakery)[number % 2]
            await notifications.create(
                conn, client_id=shop.id, kind="turn_failed", conversation_id=shop.cnv, details={"n": number}
            )
    async with reading(pool) as conn:
        everything = await notifications.page_of_all(conn, limit=10)
        assert [row.details["n"] for row in everything] == [4, 3, 2, 1, 0]
        assert everything[0].conversation_public_id == pizza.conversation.public_id
        mine = [row for row in everything if row.client_id == pizza.id]
        assert await notifications.page(conn, client_id=pizza.id, limit=10) == mine
        assert await notifications.page(conn, client_id=pizza.id, before=mine[0].id, limit=1) == mine[1:2]
        assert await notifications.page_of_all(conn, before=everything[2].id, limit=10) == everything[3:]
        where: dict[str, Any] = {"client_id": pizza.id}
        assert await notifications.mark_one_read(conn, **where, notification_id=mine[1].id)
        assert not await notifications.mark_one_read(conn, **where, notification_id=mine[1].id)
        assert not await notifications.mark_one_read(conn, client_id=bakery.id, notification_id=mine[0].id)
        read = await notifications.find_of_any(conn, notification_id=mine[1].id)
        assert read is not None and read.read_at is not None
        assert await notifications.list_unread(conn, **where, limit=10) == [mine[0], mine[2]]
        assert await notifications.list_unread(conn, **where, before=mine[0].id, limit=10) == [mine[2]]
        unread = [row for row in everything if row.id != read.id]
        assert await notifications.list_unread_of_all(conn, limit=10) == unread
        assert await notifications.list_unread_of_all(conn, before=unread[0].id, limit=2) == unread[1:3]
        assert await notifications.count_unread(conn, **where, most=10) == 2
        assert await notifications.count_unread(conn, **where, most=1) == 1
        assert await notifications.count_unread_of_all(conn, most=10) == 4
        assert await notifications.find_of_any(conn, notification_id=10**9) is None


async def test_all_read(pool: Pool, pizza: Shop, bakery: Shop) -> None:
    """Up to one of them, of one client or of all; how many were not read before."""
    async with unit_of_work(pool) as conn:
        for shop in (pizza, bakery, pizza, bakery):
            await notifications.create(conn, client_id=shop.id, kind="limit_near")
        newest = (await notifications.page_of_all(conn, limit=1))[0].id
        assert await notifications.mark_read(conn, client_id=pizza.id, through_id=newest - 3) == 1
        assert await notifications.mark_read(conn, client_id=pizza.id, through_id=newest - 3) == 0
        assert await notifications.mark_read_of_all(conn, through_id=newest - 1) == 2
        [left] = await notifications.list_unread_of_all(conn, limit=10)
    assert left.id == newest


OF_ONE = {"notifications_client_id_id_idx", "notifications_unread_idx"}


@pytest.mark.parametrize(
    ("function", "given", "index"),
    [
        (notifications.page, {"before": 5, "limit": 5}, "notifications_client_id_id_idx"),
        (notifications.page_of_all, {"before": None, "limit": 5}, "notifications_pkey"),
        (notifications.list_unread, {"before": 10**6, "limit": 51}, "notifications_unread_idx"),
        (notifications.list_unread_of_all, {"before": 5, "limit": 5}, "notifications_unread_of_all_idx"),
        (notifications.count_unread, {"most": 51}, "notifications_unread_idx"),
        (notifications.count_unread_of_all, {"most": 5}, "notifications_unread_of_all_idx"),
    ],
)
@pytest.mark.usefixtures("bakery")
def test_they_have_indexes(database_url: str, pizza: Shop, function: Any, given: dict[str, Any], index: str) -> None:
    """Each is a walk along its index, without a sort."""
    crowd(database_url)
    plan = plan_of(database_url, function, **given, **({"client_id": pizza.id} if index in OF_ONE else {}))
    assert index in plan and "Seq Scan" not in plan, plan
