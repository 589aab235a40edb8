"""On whose behalf a turn's tools run."""

from server.repositories import visitors
from server.repositories.pool import Pool, reading
from server.tools.tool import Caller, Person
from server.turns.job import Job

# Stands for the visitor of a recorded conversation who was signed in: nothing is done in anybody's name.
TEST_PERSON = Person(id="test", email="test@example.invalid", name="Test")


async def caller_of(pool: Pool, job: Job) -> Caller:
    """Read anew for each step: a visitor counts as verified for as long as their backend vouched for them, and a client
    may take that back at any moment."""
    conversation, person = job.conversation, _stand_in(job)
    # Whom no backend ever vouched for when the turn began costs no query.
    if conversation.visitor_id is not None:
        async with reading(pool) as conn:
            visitor = await visitors.verified(conn, client_id=job.client.id, conversation_id=conversation.id)
        if visitor is not None:
            person = Person(id=visitor.external_id, email=visitor.email, name=visitor.name)
    return Caller(
        client_id=job.client.id,
        client_key=job.client.public_key,
        client_name=job.client.name,
        conversation_id=conversation.public_id,
        turn_id=job.turn.public_id,
        turn_row=job.turn.id,
        locale=conversation.locale,
        channel=conversation.channel,
        visitor=person,
    )


def _stand_in(job: Job) -> Person | None:
    """Who is tested as a signed-in visitor; None for everybody else."""
    recording = job.played.recording if job.played else None
    return TEST_PERSON if recording is not None and recording.verified else None
