"""How instances reach each other without Redis: notices of Postgres, and a look at what was committed.

System-wide: an instance speaks for all clients. It asks for conversations by public id, and only for those that
somebody is subscribed to here, which was authorised when they subscribed.
"""

from collections.abc import Callable, Collection, Mapping, Sequence

import msgspec
from psycopg.rows import class_row

from server.repositories.pool import Conn, Pool, reading

# What the listening connection of an instance calls itself, followed by the instance's id: by it instances are counted.
LISTENER = "frontdesk listener "


class Missed(msgspec.Struct, frozen=True):
    """A conversation that is further than its reader: an event, or only its newest number, with `payload` None."""

    public_id: str
    seq: int
    payload: bytes | None


async def post(conn: Conn, *, notices: Sequence[str]) -> None:
    """Tells every instance that listens, once the transaction commits. Each under 8,000 bytes, no U+0000."""
    # Its result is nothing: it may travel with others, unfetched.
    await conn.execute(
        "select pg_notify('frontdesk', n.notice) from unnest(%(notices)s::text[]) as n (notice)",
        {"notices": list(notices)},
    )


async def listen(conn: Conn) -> None:
    """From now on this connection hears what is posted."""
    # Until it is closed.
    await conn.execute("listen frontdesk")


async def missed(conn: Conn, *, heads: Mapping[str, int], recent_s: float, most: int) -> list[Missed]:
    """System-wide: what came after these heads (public id: seq), in order within a conversation, `most` at most.

    A head of 0 is not known. Then events of the last `recent_s` seconds are given, or else the newest number alone.
    """
    async with conn.cursor(row_factory=class_row(Missed), binary=True) as cursor:
        # One index look-up for each that is where it was; the last 50 bound what an unknown head may bring.
        await cursor.execute(
            """
            select a.public_id, coalesce(e.seq, c.last_seq) as seq, e.payload
            from unnest(%(public_ids)s::text[], %(seqs)s::bigint[]) as a (public_id, seq)
            join conversations c on c.public_id = a.public_id and c.last_seq > a.seq
            left join lateral (
                select seq, convert_to(payload::text, 'UTF8') as payload
                from events
                where client_id = c.client_id and conversation_id = c.id
                  and case when a.seq > 0 then events.seq > a.seq
                           else events.seq > c.last_seq - 50
                            and created_at > now() - make_interval(secs => %(recent_s)s) end
                order by seq
                limit 50
            ) e on true
            order by a.public_id, seq
            limit %(most)s
            """,
            {"public_ids": list(heads), "seqs": list(heads.values()), "recent_s": recent_s, "most": most},
        )
        return await cursor.fetchall()


async def answering(conn: Conn, *, public_ids: Collection[str]) -> list[str]:
    """System-wide: which of these conversations have a running turn."""
    # Along the index of running turns.
    cursor = await conn.execute(
        """
        select c.public_id
        from conversations c
        join turns t on t.client_id = c.client_id and t.conversation_id = c.id and t.status = 'running'
        where c.public_id = any(%(public_ids)s)
        """,
        {"public_ids": list(public_ids)},
    )
    return [public_id for (public_id,) in await cursor.fetchall()]


async def instances(conn: Conn) -> int:
    """How many instances are connected now. One that died is not: the kernel closed its connection."""
    # Names are shown to every role; an instance has one listener.
    cursor = await conn.execute(
        """
        select count(distinct application_name) from pg_stat_activity
        where datname = current_database() and starts_with(application_name, %(listener)s)
        """,
        {"listener": LISTENER},
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


class Noticeboard:
    """`ears` is a pool of one connection, named `LISTENER` and the instance's id; it is held for listening."""

    def __init__(self, pool: Pool, ears: Pool) -> None:
        self._pool = pool
        self._ears = ears

    async def post(self, notices: Sequence[str]) -> None:
        async with reading(self._pool) as conn:
            await post(conn, notices=notices)

    async def listen(self, on_begin: Callable[[], None], on_notice: Callable[[str], None]) -> None:
        """Hears notices until the connection is lost; then raises Unavailable."""
        async with reading(self._ears) as conn:
            await listen(conn)
            on_begin()
            async for notice in conn.notifies():
                on_notice(notice.payload)

    async def missed(
        self, heads: Mapping[str, int], *, recent_s: float, most: int
    ) -> list[tuple[str, int, bytes | None]]:
        async with reading(self._pool) as conn:
            found = await missed(conn, heads=heads, recent_s=recent_s, most=most)
        return [(each.public_id, each.seq, each.payload) for each in found]

    async def answering(self, public_ids: Collection[str]) -> list[str]:
        async with reading(self._pool) as conn:
            return await answering(conn, public_ids=public_ids)

    async def instances(self) -> int:
        async with reading(self._pool) as conn:
            return await instances(conn)
