"""Who changed a thing last, from the audit log: for whoever edited it at the same time."""

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
from psycopg.rows import class_row

from server.errors import Conflict
from server.repositories.pool import Conn


class Change(msgspec.Struct, frozen=True):
    """`operator_name` is None for the command line, and for somebody who is gone."""

    operator_name: str | None
    created_at: datetime


async def find_last(
    conn: Conn, *, client_id: int | None, target_type: str, target_id: str, actions: Sequence[str] | None = None
) -> Change | None:
    """The newest change of this thing, of all kinds unless told which. `client_id` is None for the installation's."""
    async with conn.cursor(row_factory=class_row(Change)) as cursor:
        # The newest entry on one target.
        await cursor.execute(
            """
            select o.name as operator_name, a.created_at
            from audit_log a left join operators o on o.id = a.operator_id
            where a.target_type = %(target_type)s and a.target_id = %(target_id)s
                and coalesce(a.client_id, 0) = coalesce(%(client_id)s::bigint, 0)
                and (%(actions)s::text[] is null or a.action = any(%(actions)s))
            order by a.id desc
            limit 1
            """,
            {
                "client_id": client_id,
                "target_type": target_type,
                "target_id": target_id,
                "actions": None if actions is None else list(actions),
            },
        )
        return await cursor.fetchone()


def changed_meanwhile(what: str, last: Change | None) -> Conflict:
    """For whoever edited an older version. `what` begins the sentence; nobody is named where nobody is known."""
    by = "by somebody"
    if last is not None:
        who = last.operator_name or "the command line"
        by = f"by {who} at {last.created_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    return Conflict(
        f"{what} was changed meanwhile, {by}; nothing of yours was saved: load it again", code="changed_meanwhile"
    )
