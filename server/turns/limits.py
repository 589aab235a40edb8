"""What limits a client has, how much of each is used now, and when it begins anew."""

from datetime import UTC, datetime, timedelta

from server.cache.rate_limit import RateLimiter
from server.protocol.admin.usage import LimitInfo, LimitPer
from server.repositories import usage
from server.repositories.clients import Client
from server.repositories.pool import Pool, reading
from server.settings import Settings
from server.turns.intake import ADDRESS_REQUESTS, VISITOR_MESSAGES, limits_of


async def limits_now(client: Client, *, pool: Pool, limiter: RateLimiter, settings: Settings) -> list[LimitInfo]:
    """The plan's month first, then the minute's, then sockets. Raises Unavailable."""
    month = datetime.now(UTC).date().replace(day=1)
    async with reading(pool) as conn:
        messages = await usage.messages_since(conn, client_id=client.id, start=month)
    of_client = limits_of(client, visitor=None, address="")[0]
    [requests] = await limiter.used(of_client)
    next_month = (month + timedelta(days=31)).replace(day=1)
    minute = limiter.resets_at()
    return [
        LimitInfo(
            name="messages_month",
            label="Messages this month",
            unit="messages",
            per="client",
            value=messages,
            limit=client.monthly_messages,
            resets_at=datetime(next_month.year, next_month.month, 1, tzinfo=UTC),
        ),
        LimitInfo(
            name="requests_minute",
            label="Messages and sessions a minute",
            unit="requests",
            per="client",
            value=requests,
            limit=client.requests_per_minute,
            resets_at=minute,
        ),
        _each("visitor_minute", "Messages a minute", "messages", "visitor", VISITOR_MESSAGES, minute),
        _each("address_minute", "Messages and sessions a minute", "requests", "address", ADDRESS_REQUESTS, minute),
        _each("client_sockets", "Open connections", "sockets", "instance", settings.sockets_per_client),
        _each("address_sockets", "Open connections", "sockets", "address", settings.sockets_per_address),
    ]


def _each(name: str, label: str, unit: str, per: LimitPer, limit: int, resets_at: datetime | None = None) -> LimitInfo:
    """One that each has for itself, so that there is no one value."""
    return LimitInfo(name=name, label=label, unit=unit, per=per, value=None, limit=limit, resets_at=resets_at)
