"""Steps of turns: what the model decided and what came of it, so that a crash asks and does nothing twice."""

from datetime import datetime
from typing import Any

import msgspec
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from server.repositories.pool import Conn


class TurnStep(msgspec.Struct, frozen=True):
    """A committed decision, numbered from 1. `kind` is `llm` or `tool`; `result` is what it gave."""

    turn_id: int
    no: int
    kind: str
    state: str
    request_hash: bytes
    result: Any
    gen: int
    created_at: datetime
    finished_at: datetime | None


async def create(
    conn: Conn,
    *,
    client_id: int,
    turn_id: int,
    no: int,
    kind: str,
    state: str,
    request_hash: bytes,
    gen: int,
    result: Any = None,
) -> None:
    """Records a decision, or one about to be tried (`started`). `no` is taken once: Conflict `step_exists`."""
    # A step that ends as it begins has its end already.
    await conn.execute(
        """
        insert into turn_steps (client_id, turn_id, no, kind, state, request_hash, result, gen, finished_at)
        values (
            %(client_id)s, %(turn_id)s, %(no)s, %(kind)s, %(state)s, %(request_hash)s, %(result)s, %(gen)s,
            case when %(state)s::text <> 'started' then now() end
        )
        """,
        {
            "client_id": client_id,
            "turn_id": turn_id,
            "no": no,
            "kind": kind,
            "state": state,
            "request_hash": request_hash,
            "result": None if result is None else Jsonb(result, dumps=msgspec.json.encode),
            "gen": gen,
        },
    )


async def finish(
    conn: Conn, *, client_id: int, turn_id: int, no: int, gen: int, state: str, result: Any = None
) -> None:
    """`done`, `failed` or `unknown`, by the gen that entered last. Changes nothing for an older one."""
    # Only what is under way can end.
    await conn.execute(
        """
        update turn_steps set state = %(state)s, result = %(result)s, gen = %(gen)s, finished_at = now()
        where client_id = %(client_id)s and turn_id = %(turn_id)s and no = %(no)s and state = 'started'
          and gen <= %(gen)s
        """,
        {
            "client_id": client_id,
            "turn_id": turn_id,
            "no": no,
            "gen": gen,
            "state": state,
            "result": None if result is None else Jsonb(result, dumps=msgspec.json.encode),
        },
    )


async def of_turn(conn: Conn, *, client_id: int, turn_id: int) -> list[TurnStep]:
    """What was decided so far, in order."""
    async with conn.cursor(row_factory=class_row(TurnStep)) as cursor:
        # For the replay after a takeover.
        await cursor.execute(
            """
            select turn_id, no, kind, state, request_hash, result, gen, created_at, finished_at
            from turn_steps
            where client_id = %(client_id)s and turn_id = %(turn_id)s
            order by no
            """,
            {"client_id": client_id, "turn_id": turn_id},
        )
        return await cursor.fetchall()
