"""Operators and a conversation's state, for tests of who answers."""

from server.access import Session
from server.repositories import conversations, operators
from server.repositories.conversations import Conversation
from server.repositories.operators import Operator
from server.repositories.pool import reading
from server.services import Services
from tests.support import rows


async def new_operator(services: Services, name: str, *, client_id: int | None = None) -> Operator:
    """Somebody of this client's staff, or of the installation's when there is none."""
    async with reading(services.pool) as conn:
        return await operators.create(
            conn,
            client_id=client_id,
            email=f"{name.lower()}@x.example",
            name=name,
            password_hash="$argon2id$",
            role="owner" if client_id is None else "operator",
        )


async def now(services: Services, session: Session) -> Conversation:
    """The conversation as the database has it."""
    async with reading(services.pool) as conn:
        found = await conversations.find(conn, client_id=session.client.id, conversation_id=session.conversation.id)
    assert found is not None
    return found


async def owner(services: Services, session: Session) -> tuple[str, int | None]:
    """Who answers: the owner, and the operator's id."""
    found = await now(services, session)
    return found.owner, found.owner_operator_id


async def audited(services: Services) -> list[tuple[str, int | None]]:
    """Every action on record, and who did it, oldest first."""
    return [(row[0], row[1]) for row in await rows(services, "select action, operator_id from audit_log order by id")]
