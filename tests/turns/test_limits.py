"""A client's limits as they stand."""

from datetime import UTC, datetime, timedelta

import msgspec

from server.cache.rate_limit import RateLimiter
from server.protocol.admin.usage import LimitInfo
from server.repositories import usage
from server.repositories.pool import reading
from server.services import Services, open_redis
from server.turns.limits import limits_now
from tests.support import Shop, new_shop, send, visit


async def _limits(services: Services, shop: Shop, limiter: RateLimiter | None = None) -> dict[str, LimitInfo]:
    rows = await limits_now(
        shop.client, pool=services.pool, limiter=limiter or services.limiter, settings=services.settings
    )
    return {row.name: row for row in rows}


async def test_limits_now(services: Services, shop: Shop) -> None:
    """The month against the plan, the minute as it is counted, and those that each has alone."""
    now = datetime.now(UTC)
    before = await _limits(services, shop)
    session = await visit(services, shop)
    await send(services, session, "Hello")
    async with reading(services.pool) as conn:
        await usage.record(conn, client_id=shop.id, day=now.date().replace(day=1), messages=41)
    after = await _limits(services, shop)
    month, minute = after["messages_month"], after["requests_minute"]
    assert before["messages_month"].value == 0
    assert month.value is not None and month.value >= 42
    assert (month.limit, month.unit, month.per) == (shop.client.monthly_messages, "messages", "client")
    assert month.resets_at is not None and (month.resets_at.day, month.resets_at.tzinfo) == (1, UTC)
    assert now < month.resets_at < now + timedelta(days=32)
    assert minute.resets_at is not None and now < minute.resets_at <= datetime.now(UTC) + timedelta(minutes=1)
    # The minute may have ended in between.
    assert minute.limit == shop.client.requests_per_minute and minute.value in {0, 1}
    for name, per in (("visitor_minute", "visitor"), ("address_minute", "address"), ("client_sockets", "instance")):
        assert (after[name].value, after[name].per) == (None, per) and after[name].limit
    assert after["client_sockets"].limit == services.settings.sockets_per_client


async def test_a_plan_without_a_limit(services: Services) -> None:
    """The month is counted all the same."""
    shop = await new_shop(services)
    endless = Shop(msgspec.structs.replace(shop.client, monthly_messages=None), shop.secret_key)
    month = (await _limits(services, endless))["messages_month"]
    assert (month.value, month.limit) == (0, None)


async def test_without_redis(services: Services, shop: Shop) -> None:
    """What only Redis knows is not known."""
    nowhere = open_redis("unix:///nowhere/redis.sock")
    try:
        rows = await _limits(services, shop, RateLimiter(nowhere))
        away = await _limits(services, shop, RateLimiter(services.redis, away=lambda: True))
    finally:
        await nowhere.aclose()
    for each in (rows, away):
        assert (each["requests_minute"].value, each["messages_month"].value) == (None, 0)
