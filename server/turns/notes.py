"""Notes that operators leave each other about a conversation. Neither the visitor nor the AI ever reads them.

They are rows of their own and no events: a visitor's `seq` has no gaps.
"""

from server.errors import Conflict, Forbidden, NotFound
from server.repositories import audit, notes
from server.repositories.conversations import Conversation
from server.repositories.notes import NoteRow
from server.repositories.operators import Operator
from server.repositories.pool import Pool, unit_of_work
from server.staff import serves
from server.turns.intake import clean

# Notes of one conversation: more is a document, which belongs elsewhere.
MOST = 200


async def write(pool: Pool, operator: Operator, conversation: Conversation, *, text: str) -> NoteRow:
    """Raises Invalid for the text, Conflict `too_many_notes`. The caller has proven that they serve the client."""
    text = clean(text)
    async with unit_of_work(pool) as conn:
        row = await notes.create(
            conn,
            client_id=conversation.client_id,
            conversation_id=conversation.id,
            operator_id=operator.id,
            content=text,
            most=MOST,
        )
        if row is None:
            raise Conflict(f"a conversation has {MOST} notes at most", code="too_many_notes")
        await audit.record(
            conn,
            client_id=row.client_id,
            operator_id=operator.id,
            action="note.create",
            target_type="conversation",
            target_id=row.conversation_public_id,
            details={"note": row.id},
        )
    return row


async def remove(pool: Pool, operator: Operator, note_id: int, *, any_of_them: bool) -> None:
    """Deletes one's own note; `any_of_them`: anybody's, of the clients whom the operator serves.

    Raises NotFound, Forbidden `not_yours`.
    """
    async with unit_of_work(pool) as conn:
        row = await notes.find_of_any(conn, note_id=note_id)
        if row is None or not serves(operator, row.client_id):
            raise NotFound("there is no such note")
        if row.operator_id != operator.id and not any_of_them:
            raise Forbidden("this note is somebody else's; an admin may delete it", code="not_yours")
        if not await notes.delete(conn, client_id=row.client_id, note_id=note_id):
            raise NotFound("there is no such note")
        await audit.record(
            conn,
            client_id=row.client_id,
            operator_id=operator.id,
            action="note.delete",
            target_type="conversation",
            target_id=row.conversation_public_id,
            details={"note": row.id, "by": row.operator_id},
        )
