"""Conversations: one per session, numbered events, an owner."""

from collections.abc import Collection
from datetime import datetime

import msgspec
from psycopg import AsyncCursor
from psycopg.rows import class_row

from server.repositories.pool import Conn

# The channel of the playground and of test runs. No inbox is told of them as they happen; no plan's month and no
# visitor's minute counts them.
CONSOLE = "console"


class Conversation(msgspec.Struct, frozen=True):
    """`last_seq` is its newest event; `summary` covers the messages up to id `summary_through`.

    The visitor counts as verified until `verified_until`, by the database's clock; None is never. They have waited for
    a person since `waiting_since`. `whispered`: whispers wait for the AI's next turn.
    """

    id: int
    public_id: str
    client_id: int
    session_id: str
    session_token_hash: bytes
    visitor_id: int | None
    verified_until: datetime | None
    user_identifier: str | None
    channel: str
    locale: str
    owner: str
    owner_operator_id: int | None
    epoch: str
    last_seq: int
    total_messages: int
    summary: str | None
    summary_through: int | None
    rating: str | None
    started_at: datetime
    last_activity_at: datetime
    ended_at: datetime | None
    waiting_since: datetime | None
    whispered: bool


class LockedConversation(Conversation, frozen=True):
    """A conversation that nobody else writes until the transaction ends. `at` is the transaction's time."""

    at: datetime


async def create(
    conn: Conn,
    *,
    client_id: int,
    public_id: str,
    session_id: str,
    session_token_hash: bytes,
    epoch: str,
    channel: str,
    locale: str,
    user_identifier: str | None = None,
) -> Conversation:
    """Raises Conflict `session_exists` at the end of the unit of work when the session has one already."""
    async with conn.cursor(row_factory=class_row(Conversation)) as cursor:
        # A session's conversation, empty.
        await cursor.execute(
            """
            insert into conversations (
                public_id, client_id, session_id, session_token_hash, user_identifier, channel, locale, epoch
            ) values (
                %(public_id)s, %(client_id)s, %(session_id)s, %(session_token_hash)s, %(user_identifier)s,
                %(channel)s, %(locale)s, %(epoch)s
            )
            returning id, public_id, client_id, session_id, session_token_hash, visitor_id, verified_until,
                      user_identifier, channel, locale, owner, owner_operator_id, epoch, last_seq, total_messages,
                      summary, summary_through, rating, started_at, last_activity_at, ended_at,
                      waiting_since, whispered
            """,
            {
                "public_id": public_id,
                "client_id": client_id,
                "session_id": session_id,
                "session_token_hash": session_token_hash,
                "user_identifier": user_identifier,
                "channel": channel,
                "locale": locale,
                "epoch": epoch,
            },
        )
        row = await cursor.fetchone()
        assert row is not None
        return row


async def find_by_session(conn: Conn, *, client_id: int, session_id: str) -> Conversation | None:
    async with conn.cursor(row_factory=class_row(Conversation)) as cursor:
        # The conversation of one browser.
        await cursor.execute(
            """
            select id, public_id, client_id, session_id, session_token_hash, visitor_id, verified_until,
                   user_identifier, channel, locale, owner, owner_operator_id, epoch, last_seq, total_messages,
                   summary, summary_through, rating, started_at, last_activity_at, ended_at,
                   waiting_since, whispered
            from conversations
            where client_id = %(client_id)s and session_id = %(session_id)s
            """,
            {"client_id": client_id, "session_id": session_id},
        )
        return await cursor.fetchone()


async def find_by_token(conn: Conn, *, session_token_hash: bytes) -> Conversation | None:
    """System-wide: the token is the credential, and says whose conversation it is."""
    async with conn.cursor(row_factory=class_row(Conversation)) as cursor:
        # One at most: tokens are random.
        await cursor.execute(
            """
            select id, public_id, client_id, session_id, session_token_hash, visitor_id, verified_until,
                   user_identifier, channel, locale, owner, owner_operator_id, epoch, last_seq, total_messages,
                   summary, summary_through, rating, started_at, last_activity_at, ended_at,
                   waiting_since, whispered
            from conversations
            where session_token_hash = %(session_token_hash)s
            """,
            {"session_token_hash": session_token_hash},
        )
        return await cursor.fetchone()


async def find(conn: Conn, *, client_id: int, conversation_id: int) -> Conversation | None:
    async with conn.cursor(row_factory=class_row(Conversation)) as cursor:
        # By the inner id.
        await cursor.execute(
            """
            select id, public_id, client_id, session_id, session_token_hash, visitor_id, verified_until,
                   user_identifier, channel, locale, owner, owner_operator_id, epoch, last_seq, total_messages,
                   summary, summary_through, rating, started_at, last_activity_at, ended_at,
                   waiting_since, whispered
            from conversations
            where client_id = %(client_id)s and id = %(conversation_id)s
            """,
            {"client_id": client_id, "conversation_id": conversation_id},
        )
        return await cursor.fetchone()


async def heads(conn: Conn, *, wanted: Collection[tuple[int, int]]) -> dict[tuple[int, int], int]:
    """System-wide, for sockets of many clients: the newest seqs of the conversations `wanted`, each a client's id and
    its own. Without those that are not kept, or not that client's."""
    async with conn.cursor(binary=True) as cursor:
        # By the inner ids.
        await cursor.execute(
            """
            select c.client_id, c.id, c.last_seq
            from unnest(%(client_ids)s::bigint[], %(ids)s::bigint[]) as w (client_id, id)
            join conversations c on c.client_id = w.client_id and c.id = w.id
            """,
            {"client_ids": [client_id for client_id, _ in wanted], "ids": [own for _, own in wanted]},
        )
        return {(client_id, own): seq for client_id, own, seq in await cursor.fetchall()}


async def find_by_public_id(conn: Conn, *, client_id: int, public_id: str) -> Conversation | None:
    async with conn.cursor(row_factory=class_row(Conversation)) as cursor:
        # By the id that callers see.
        await cursor.execute(
            """
            select id, public_id, client_id, session_id, session_token_hash, visitor_id, verified_until,
                   user_identifier, channel, locale, owner, owner_operator_id, epoch, last_seq, total_messages,
                   summary, summary_through, rating, started_at, last_activity_at, ended_at,
                   waiting_since, whispered
            from conversations
            where client_id = %(client_id)s and public_id = %(public_id)s
            """,
            {"client_id": client_id, "public_id": public_id},
        )
        return await cursor.fetchone()


async def find_of_any(conn: Conn, *, public_id: str) -> Conversation | None:
    """System-wide: for operators who serve all clients, and nobody else."""
    async with conn.cursor(row_factory=class_row(Conversation)) as cursor:
        # By the id that callers see, whosever it is.
        await cursor.execute(
            """
            select id, public_id, client_id, session_id, session_token_hash, visitor_id, verified_until,
                   user_identifier, channel, locale, owner, owner_operator_id, epoch, last_seq, total_messages,
                   summary, summary_through, rating, started_at, last_activity_at, ended_at,
                   waiting_since, whispered
            from conversations
            where public_id = %(public_id)s
            """,
            {"public_id": public_id},
        )
        return await cursor.fetchone()


async def lock(conn: Conn, *, client_id: int, conversation_id: int) -> AsyncCursor[LockedConversation]:
    """Issues the lock and leaves the row unfetched, so that more can travel with it."""
    cursor = conn.cursor(row_factory=class_row(LockedConversation))
    # Whoever writes a conversation goes through here: seq has no gaps because writers take turns.
    await cursor.execute(
        """
        select id, public_id, client_id, session_id, session_token_hash, visitor_id, verified_until, user_identifier,
               channel, locale, owner, owner_operator_id, epoch, last_seq, total_messages, summary, summary_through,
               rating, started_at, last_activity_at, ended_at, waiting_since, whispered, now() as at
        from conversations
        where client_id = %(client_id)s and id = %(conversation_id)s
        for update
        """,
        {"client_id": client_id, "conversation_id": conversation_id},
    )
    return cursor


class Advanced(msgspec.Struct, frozen=True):
    """What the inbox shows of a conversation after a write. The operator is who has it; None when nobody does."""

    owner: str
    owner_operator_id: int | None
    operator_name: str | None
    operator_avatar_url: str | None
    last_activity_at: datetime
    waiting_since: datetime | None


async def advance(
    conn: Conn, *, client_id: int, conversation_id: int, last_seq: int, messages_added: int
) -> AsyncCursor[Advanced]:
    """The new head, after the events were appended. The caller holds the lock.

    Leaves the row unfetched, so that it costs no round trip. There is none when `last_seq` is below the head.
    """
    cursor = conn.cursor(row_factory=class_row(Advanced))
    # Never backwards.
    await cursor.execute(
        """
        update conversations c
        set last_seq = %(last_seq)s, total_messages = total_messages + %(messages_added)s, last_activity_at = now()
        where c.client_id = %(client_id)s and c.id = %(conversation_id)s and c.last_seq <= %(last_seq)s
        returning c.owner, c.owner_operator_id,
                  (select o.name from operators o where o.id = c.owner_operator_id) as operator_name,
                  (select o.avatar_url from operators o where o.id = c.owner_operator_id) as operator_avatar_url,
                  c.last_activity_at, c.waiting_since
        """,
        {
            "client_id": client_id,
            "conversation_id": conversation_id,
            "last_seq": last_seq,
            "messages_added": messages_added,
        },
    )
    return cursor


async def set_summary(conn: Conn, *, client_id: int, conversation_id: int, summary: str, summary_through: int) -> None:
    """`summary_through` is the id of the last message that `summary` covers."""
    # A later summary stays when an earlier one arrives late.
    await conn.execute(
        """
        update conversations set summary = %(summary)s, summary_through = %(summary_through)s
        where client_id = %(client_id)s and id = %(conversation_id)s
          and coalesce(summary_through, 0) <= %(summary_through)s
        """,
        {
            "client_id": client_id,
            "conversation_id": conversation_id,
            "summary": summary,
            "summary_through": summary_through,
        },
    )


async def set_owner(
    conn: Conn,
    *,
    client_id: int,
    conversation_id: int,
    owner: str,
    owner_operator_id: int | None = None,
    waiting: bool = False,
) -> None:
    """`owner` is `ai`, `queued`, `human` or `closed`; the operator only where a human owns it.

    `waiting`: the visitor waits for a person, from now on or since before; else nobody waits. A closed one has ended,
    any other has not; the first end counts.
    """
    # Who answers from now on.
    await conn.execute(
        """
        update conversations set
            owner = %(owner)s,
            owner_operator_id = %(owner_operator_id)s,
            waiting_since = case when %(waiting)s then coalesce(waiting_since, now()) end,
            ended_at = case when %(owner)s = 'closed' then coalesce(ended_at, now()) end
        where client_id = %(client_id)s and id = %(conversation_id)s
        """,
        {
            "client_id": client_id,
            "conversation_id": conversation_id,
            "owner": owner,
            "owner_operator_id": owner_operator_id,
            "waiting": waiting,
        },
    )


async def set_waiting(conn: Conn, *, client_id: int, conversation_id: int, waiting: bool) -> None:
    """Whether the visitor waits for a person's answer. Since when is kept."""
    # What the inbox shows first to whoever looks for work.
    await conn.execute(
        """
        update conversations set waiting_since = case when %(waiting)s then coalesce(waiting_since, now()) end
        where client_id = %(client_id)s and id = %(conversation_id)s
        """,
        {"client_id": client_id, "conversation_id": conversation_id, "waiting": waiting},
    )


async def set_locale(conn: Conn, *, client_id: int, conversation_id: int, locale: str) -> None:
    # The language the visitor reads.
    await conn.execute(
        """
        update conversations set locale = %(locale)s
        where client_id = %(client_id)s and id = %(conversation_id)s
        """,
        {"client_id": client_id, "conversation_id": conversation_id, "locale": locale},
    )


async def verify(
    conn: Conn, *, client_id: int, conversation_id: int, visitor_id: int, verified_until: datetime
) -> bool:
    """The person behind the session, vouched for until then or until a later time already known.

    False when the conversation belongs to another visitor, or is not there. Then nobody counts as verified in it any
    more: somebody else is at the keyboard.
    """
    # One person a conversation: what the first said must not be read to a second.
    cursor = await conn.execute(
        """
        update conversations set
            visitor_id = coalesce(visitor_id, %(visitor_id)s),
            verified_until = case when coalesce(visitor_id, %(visitor_id)s) = %(visitor_id)s
                                  then greatest(verified_until, %(verified_until)s) end
        where client_id = %(client_id)s and id = %(conversation_id)s
        returning visitor_id = %(visitor_id)s
        """,
        {
            "client_id": client_id,
            "conversation_id": conversation_id,
            "visitor_id": visitor_id,
            "verified_until": verified_until,
        },
    )
    row = await cursor.fetchone()
    return row is not None and bool(row[0])


async def set_rating(conn: Conn, *, client_id: int, conversation_id: int, rating: str) -> None:
    """`up` or `down`, of the conversation as a whole."""
    # The visitor's verdict.
    await conn.execute(
        """
        update conversations set rating = %(rating)s
        where client_id = %(client_id)s and id = %(conversation_id)s
        """,
        {"client_id": client_id, "conversation_id": conversation_id, "rating": rating},
    )


async def end(conn: Conn, *, client_id: int, conversation_id: int) -> None:
    """Closes it. Nobody owns a closed conversation."""
    await set_owner(conn, client_id=client_id, conversation_id=conversation_id, owner="closed")


async def list_for_client(conn: Conn, *, client_id: int, limit: int, offset: int) -> list[Conversation]:
    """Most recently active first."""
    async with conn.cursor(row_factory=class_row(Conversation)) as cursor:
        # One page of a client's conversations.
        await cursor.execute(
            """
            select id, public_id, client_id, session_id, session_token_hash, visitor_id, verified_until,
                   user_identifier, channel, locale, owner, owner_operator_id, epoch, last_seq, total_messages,
                   summary, summary_through, rating, started_at, last_activity_at, ended_at,
                   waiting_since, whispered
            from conversations
            where client_id = %(client_id)s
            order by last_activity_at desc, id desc
            limit %(limit)s offset %(offset)s
            """,
            {"client_id": client_id, "limit": limit, "offset": offset},
        )
        return await cursor.fetchall()
