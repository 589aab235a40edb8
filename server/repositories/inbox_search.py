"""The inbox by words that were said in it, or that a visitor is called by.

    words everywhere    the newest conversations are looked through: enough of them have the words
    words hardly ever   the index on words names the few that have them, and those are sorted

Which it is shows in the newest conversations of those that are wanted. So the work is bounded on both sides, where
either way alone would go through all messages for one word or another.
"""

from collections.abc import Awaitable, Callable, Sequence

from psycopg.rows import class_row

from server.repositories import inbox
from server.repositories.inbox import ANY, NEWEST, After, Filter, InboxEntry
from server.repositories.pool import Conn

# Conversations that are looked through at first, and at most in all. Ten messages take some 15 microseconds, as they
# lie together; one that the index on words names takes 30, as it lies anywhere. With 100,000 conversations either way
# is the better one on its side of 2 in 100.
SAMPLE = 200
MOST = 2_500

# The next ones in their order, and the next ones that have the words.
Near = Callable[[After, int], Awaitable[list[After]]]
Hits = Callable[[After, int], Awaitable[list[After]]]


async def words(conn: Conn, *, text: str) -> str | None:
    """A text's words as Postgres asks for them, each as the beginning of one; None when there is no word in it.

    A letter or digit alone is a whole word: a tenth of all words begins with it.
    """
    # Cut into words as messages are. None of them has a quote or a backslash: they are punctuation.
    cursor = await conn.execute(
        """
        select string_agg('''' || w.word || case when w.word ~ '^[a-z0-9]$' then '''' else ''':*' end, ' & ')
        from unnest(tsvector_to_array(words_of(%(text)s))) as w (word)
        """,
        {"text": text},
    )
    row = await cursor.fetchone()
    return row[0] if row else None


async def matching(conn: Conn, *, places: Sequence[After], words: str) -> set[int]:
    """System-wide: which of these conversations have all the words, each named with its client. Their ids.

    All of them in one message, or in the visitor's name and e-mail address.
    """
    # `offset 0`: message by message of that conversation, never by the index on words.
    cursor = await conn.execute(
        """
        select k.id
        from unnest(%(client_ids)s::bigint[], %(ids)s::bigint[]) as k (client_id, id)
        left join lateral (
            select true as hit from (
                select m.search from messages m
                where m.client_id = k.client_id and m.conversation_id = k.id
                order by m.id desc
                offset 0
            ) said where said.search @@ %(words)s::tsquery
            limit 1
        ) s on true
        left join lateral (
            select true as hit from (
                select v.search from conversations c
                join visitors v on v.client_id = c.client_id and v.id = c.visitor_id
                where c.client_id = k.client_id and c.id = k.id
                offset 0
            ) called where called.search @@ %(words)s::tsquery
            limit 1
        ) v on true
        where s.hit or v.hit
        """,
        {
            "client_ids": [each.client_id for each in places],
            "ids": [each.id for each in places],
            "words": words,
        },
    )
    return {row[0] for row in await cursor.fetchall()}


async def hits(
    conn: Conn, *, client_id: int, words: str, wanted: Filter = ANY, after: After | None = None, limit: int
) -> list[After]:
    """The next ones of one client that have all the words, by the index on words."""
    after = after or NEWEST
    async with conn.cursor(row_factory=class_row(After)) as cursor:
        # The client's own word leads to nobody else's rows; `offset 0`: each hit by its key, not all conversations.
        await cursor.execute(
            """
            with hit as materialized (
                select m.conversation_id as id from messages m
                where m.client_id = %(client_id)s and m.search @@ %(words)s::tsquery
                union
                select t.id from visitors v
                cross join lateral (
                    select c.id from conversations c where c.client_id = v.client_id and c.visitor_id = v.id offset 0
                ) t
                where v.client_id = %(client_id)s and v.search @@ %(words)s::tsquery
            )
            select c.last_activity_at, c.id, c.client_id
            from hit cross join lateral (
                select o.last_activity_at, o.id, o.client_id from conversations o
                where o.client_id = %(client_id)s and o.id = hit.id and o.total_messages > 0
                  and o.inbox_state = any(%(states)s::text[])
                  and (o.last_activity_at, o.id) < (%(last_activity_at)s, %(id)s)
                offset 0
            ) c
            order by c.last_activity_at desc, c.id desc
            limit %(limit)s
            """,
            {
                "client_id": client_id,
                "words": f"'@{client_id}' & {words}",
                "states": wanted.states,
                "last_activity_at": after.last_activity_at,
                "id": after.id,
                "limit": limit,
            },
            prepare=False,
        )
        return await cursor.fetchall()


async def hits_of_all(
    conn: Conn, *, words: str, wanted: Filter = ANY, after: After | None = None, limit: int
) -> list[After]:
    """System-wide: for operators who serve all clients, and nobody else."""
    after = after or NEWEST
    async with conn.cursor(row_factory=class_row(After)) as cursor:
        # The same, whosever it is.
        await cursor.execute(
            """
            with hit as materialized (
                select m.client_id, m.conversation_id as id from messages m where m.search @@ %(words)s::tsquery
                union
                select v.client_id, t.id from visitors v
                cross join lateral (
                    select c.id from conversations c where c.client_id = v.client_id and c.visitor_id = v.id offset 0
                ) t
                where v.search @@ %(words)s::tsquery
            )
            select c.last_activity_at, c.id, c.client_id
            from hit cross join lateral (
                select o.last_activity_at, o.id, o.client_id from conversations o
                where o.client_id = hit.client_id and o.id = hit.id and o.total_messages > 0
                  and o.inbox_state = any(%(states)s::text[])
                  and (o.last_activity_at, o.id) < (%(last_activity_at)s, %(id)s)
                offset 0
            ) c
            order by c.last_activity_at desc, c.id desc
            limit %(limit)s
            """,
            {
                "words": words,
                "states": wanted.states,
                "last_activity_at": after.last_activity_at,
                "id": after.id,
                "limit": limit,
            },
            prepare=False,
        )
        return await cursor.fetchall()


async def page(
    conn: Conn, *, client_id: int, words: str, wanted: Filter = ANY, after: After | None = None, limit: int
) -> list[InboxEntry]:
    """One client's next rows that have all the words."""

    async def near(after: After, limit: int) -> list[After]:
        return await inbox.near(conn, client_id=client_id, wanted=wanted, after=after, limit=limit)

    async def named(after: After, limit: int) -> list[After]:
        return await hits(conn, client_id=client_id, words=words, wanted=wanted, after=after, limit=limit)

    return await _page(conn, words, near, named, after or NEWEST, limit)


async def page_of_all(
    conn: Conn, *, words: str, wanted: Filter = ANY, after: After | None = None, limit: int
) -> list[InboxEntry]:
    """System-wide: for operators who serve all clients, and nobody else."""

    async def near(after: After, limit: int) -> list[After]:
        return await inbox.near_of_all(conn, wanted=wanted, after=after, limit=limit)

    async def named(after: After, limit: int) -> list[After]:
        return await hits_of_all(conn, words=words, wanted=wanted, after=after, limit=limit)

    return await _page(conn, words, near, named, after or NEWEST, limit)


async def _page(conn: Conn, words: str, near: Near, named: Hits, after: After, limit: int) -> list[InboxEntry]:
    found: list[After] = []
    looked, step = 0, SAMPLE
    while step:
        places = await near(after, step)
        there = await matching(conn, places=places, words=words)
        found += [each for each in places if each.id in there]
        looked += len(places)
        if len(found) >= limit or len(places) < step:
            return await inbox.rows(conn, places=found[:limit])
        after = places[-1]
        step = _worth(found=len(found), looked=looked, limit=limit)
    found += await named(after, limit - len(found))
    return await inbox.rows(conn, places=found)


def _worth(*, found: int, looked: int, limit: int) -> int:
    """How many more to look through: as many as it takes if it goes on like this; 0 when that is too many."""
    if found == 0:
        return 0
    # A quarter more than it takes on average: one look more costs little, another way costs much.
    takes = (limit - found) * looked * 5 // (found * 4) + 1
    return takes if looked + takes <= MOST else 0
