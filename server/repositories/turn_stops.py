"""Stops of turns: what has not ended in a conversation, and the end of all of it. One turn's is `turns.stop`."""

from psycopg.rows import class_row

from server.repositories.pool import Conn
from server.repositories.turns import Paid, Turn, columns_of


async def unended(conn: Conn, *, client_id: int, conversation_id: int) -> list[Turn]:
    """A conversation's running and queued turns, oldest first."""
    async with conn.cursor(row_factory=class_row(Turn)) as cursor:
        # At most one of them runs.
        await cursor.execute(
            """
            select id, public_id, conversation_id, client_id, message_id, answer_id, status, gen, owner, lease_until,
                   attempts, deadline, error
            from turns
            where client_id = %(client_id)s and conversation_id = %(conversation_id)s
              and status in ('queued', 'running')
            order by id
            """,
            {"client_id": client_id, "conversation_id": conversation_id},
        )
        return await cursor.fetchall()


async def stop_all(
    conn: Conn,
    *,
    client_id: int,
    conversation_id: int,
    error: str,
    begun: bool = True,
    spoke: int | None = None,
    paid: Paid | None = None,
) -> list[Turn]:
    """Stops all, as `turns.stop` does one; `error` says why. Oldest first. Without `begun` only those that never began.

    `paid` is what the turn with the id `spoke` used. The caller holds the conversation's lock.
    """
    async with conn.cursor(row_factory=class_row(Turn)) as cursor:
        # A turn that an instance gave back is queued again, with a gen above 1: it has begun.
        await cursor.execute(
            """
            with stopped as (
                update turns
                set status = 'stopped', error = %(error)s, gen = gen + 1, lease_until = null, finished_at = now(),
                    model = case when id = %(spoke)s::bigint then %(model)s::text end,
                    tokens_input = case when id = %(spoke)s::bigint then %(tokens_input)s::integer end,
                    tokens_output = case when id = %(spoke)s::bigint then %(tokens_output)s::integer end,
                    cost = case when id = %(spoke)s::bigint then %(cost)s::numeric end
                where client_id = %(client_id)s and conversation_id = %(conversation_id)s
                  and status in ('queued', 'running') and (%(begun)s or (status = 'queued' and gen = 1))
                returning id, public_id, conversation_id, client_id, message_id, answer_id, status, gen, owner,
                          lease_until, attempts, deadline, error
            )
            select id, public_id, conversation_id, client_id, message_id, answer_id, status, gen, owner, lease_until,
                   attempts, deadline, error
            from stopped order by id
            """,
            {
                "client_id": client_id,
                "conversation_id": conversation_id,
                "error": error,
                "begun": begun,
                "spoke": spoke,
                **columns_of(paid),
            },
        )
        return await cursor.fetchall()
