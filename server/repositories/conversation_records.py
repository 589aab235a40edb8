"""One conversation as operators read it: whose it is, who the visitor is, what it cost."""

from datetime import datetime
from decimal import Decimal

import msgspec
from psycopg.rows import class_row

from server.repositories.pool import Conn


class ConversationRecord(msgspec.Struct, frozen=True):
    """The visitor's fields are None for somebody whom nobody vouched for; `verified_until` too once that time is over.

    The totals are of all messages; `cost` is US dollars.
    """

    id: int
    public_id: str
    client_id: int
    client_name: str
    client_domain: str
    channel: str
    locale: str
    owner: str
    owner_operator_id: int | None
    operator_name: str | None
    operator_avatar_url: str | None
    waiting_since: datetime | None
    visitor_external_id: str | None
    visitor_name: str | None
    visitor_email: str | None
    verified_until: datetime | None
    user_identifier: str | None
    rating: str | None
    last_seq: int
    summary: str | None
    started_at: datetime
    last_activity_at: datetime
    ended_at: datetime | None
    messages: int
    tokens_input: int
    tokens_output: int
    cost: Decimal


async def find(conn: Conn, *, client_id: int, conversation_id: int) -> ConversationRecord | None:
    async with conn.cursor(row_factory=class_row(ConversationRecord)) as cursor:
        # By its key, with one walk along its messages.
        await cursor.execute(
            """
            select c.id, c.public_id, c.client_id, k.name as client_name, k.domain as client_domain, c.channel,
                   c.locale, c.owner, c.owner_operator_id, o.name as operator_name,
                   o.avatar_url as operator_avatar_url, c.waiting_since, v.external_id as visitor_external_id,
                   v.name as visitor_name, v.email as visitor_email,
                   case when c.verified_until > clock_timestamp() then c.verified_until end as verified_until,
                   c.user_identifier, c.rating, c.last_seq, c.summary, c.started_at, c.last_activity_at, c.ended_at,
                   t.messages, t.tokens_input, t.tokens_output, t.cost
            from conversations c
            join clients k on k.id = c.client_id
            left join visitors v on v.client_id = c.client_id and v.id = c.visitor_id
            left join operators o on o.id = c.owner_operator_id
            cross join lateral (
                select count(*) as messages, coalesce(sum(m.tokens_input), 0)::bigint as tokens_input,
                       coalesce(sum(m.tokens_output), 0)::bigint as tokens_output, coalesce(sum(m.cost), 0) as cost
                from messages m
                where m.client_id = c.client_id and m.conversation_id = c.id
            ) t
            where c.client_id = %(client_id)s and c.id = %(conversation_id)s
            """,
            {"client_id": client_id, "conversation_id": conversation_id},
        )
        return await cursor.fetchone()


async def rating_comments(
    conn: Conn, *, client_id: int, conversation_id: int, message_ids: list[str]
) -> dict[str, str]:
    """What visitors wrote with their ratings, by the public ids of the messages."""
    # Operators alone read them, so that no message carries them elsewhere.
    cursor = await conn.execute(
        """
        select public_id, rating_comment from messages
        where client_id = %(client_id)s and conversation_id = %(conversation_id)s
          and public_id = any(%(message_ids)s::text[]) and rating_comment is not null
        """,
        {"client_id": client_id, "conversation_id": conversation_id, "message_ids": message_ids},
    )
    return dict(await cursor.fetchall())
