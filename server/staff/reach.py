"""Which conversations an operator may name: the one place that says so.

Whoever may not see one learns nothing of it: another tenant's and one that never was give the same answer.
"""

from server.errors import NotFound
from server.repositories import conversations
from server.repositories.conversations import Conversation
from server.repositories.operators import Operator
from server.repositories.pool import Pool, reading
from server.staff.signed import serves


async def find_conversation(pool: Pool, operator: Operator, public_id: str) -> Conversation:
    """The conversation, if the operator serves its client. Raises NotFound with the field `conversation_id`."""
    # Postgres takes no NUL; no id of ours has one.
    public_id = public_id.replace("\0", "\ufffd")
    async with reading(pool) as conn:
        if operator.client_id is None:
            found = await conversations.find_of_any(conn, public_id=public_id)
        else:
            found = await conversations.find_by_public_id(conn, client_id=operator.client_id, public_id=public_id)
    if found is None or not serves(operator, found.client_id):
        raise NotFound("there is no such conversation", field="conversation_id")
    return found
