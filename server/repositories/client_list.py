"""Clients as the console lists them: a page at a time, with what they used this month."""

from datetime import date, datetime
from decimal import Decimal

import msgspec
from psycopg.rows import class_row

from server.repositories.pool import Conn


class ListedClient(msgspec.Struct, frozen=True):
    """A client with its month so far. `seen_at`: when a page of an allowed origin last loaded its widget.

    `cost` is US dollars.
    """

    id: int
    name: str
    domain: str
    public_key: str
    plan_type: str
    status: str
    created_at: datetime
    seen_at: datetime | None
    monthly_messages: int | None
    conversations: int
    messages: int
    tokens_input: int
    tokens_output: int
    tool_calls: int
    cached_answers: int
    cost: Decimal


async def page(
    conn: Conn,
    *,
    client_id: int | None,
    query: str | None,
    status: str | None,
    before: int | None,
    limit: int,
    today: date,
) -> list[ListedClient]:
    """Newest first: this client alone, or system-wide where it is None. `query` is a part of name or domain.

    `before` is the last id of the page before this one.
    """
    async with conn.cursor(row_factory=class_row(ListedClient)) as cursor:
        # The page first, from the end of the key; usage and sightings only of its rows.
        await cursor.execute(
            """
            select c.id, c.name, c.domain, c.public_key, c.plan_type, c.status, c.created_at, s.seen_at,
                   p.monthly_messages, u.conversations, u.messages, u.tokens_input, u.tokens_output, u.tool_calls,
                   u.cached_answers, u.cost
            from (
                select id, name, domain, allowed_origins, public_key, plan_type, status, created_at from clients
                where (%(client_id)s::bigint is null or id = %(client_id)s)
                  and (%(before)s::bigint is null or id < %(before)s)
                  and (%(status)s::text is null or status = %(status)s)
                  and (%(query)s::text is null or strpos(lower(name), lower(%(query)s)) > 0
                       or strpos(lower(domain), lower(%(query)s)) > 0)
                order by id desc
                limit %(limit)s
            ) c
            join plans p on p.name = c.plan_type
            cross join lateral (
                select max(seen_at) as seen_at from script_sightings
                where client_id = c.id and origin = any(c.allowed_origins)
            ) s
            cross join lateral (
                select coalesce(sum(conversation_count), 0)::bigint as conversations,
                       coalesce(sum(message_count), 0)::bigint as messages,
                       coalesce(sum(tokens_input), 0)::bigint as tokens_input,
                       coalesce(sum(tokens_output), 0)::bigint as tokens_output,
                       coalesce(sum(tool_calls_count), 0)::bigint as tool_calls,
                       coalesce(sum(cached_answers), 0)::bigint as cached_answers,
                       coalesce(sum(cost_estimate), 0) as cost
                from api_usage
                where client_id = c.id and date between %(month)s and %(today)s
            ) u
            order by c.id desc
            """,
            {
                "client_id": client_id,
                "query": query,
                "status": status,
                "before": before,
                "limit": limit,
                "month": today.replace(day=1),
                "today": today,
            },
        )
        return await cursor.fetchall()
