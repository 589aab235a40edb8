"""Long conversations: what is older than the last 20 messages is kept as a summary."""

from decimal import Decimal

import pytest

from server.access import Session
from server.protocol.client_config import ModelConfig
from server.repositories import conversations, usage
from server.repositories.conversations import Conversation
from server.repositories.pool import reading
from server.services import Services
from server.turns.accounting import Accounting
from server.turns.summary import Summariser
from tests.support import Shop, ask, eventually, remember, rows, visit
from tests.wire_servers import Answer, Failure, WireServer


@pytest.fixture
def summariser(services: Services) -> Summariser:
    """One as the engine has it."""
    return Summariser(services.pool, services.registry, Accounting(services.pool))


@pytest.fixture
async def session(services: Services, shop: Shop) -> Session:
    """A new conversation."""
    return await visit(services, shop)


async def say(services: Services, session: Session, numbers: range) -> None:
    """Messages that say their number, in turns of the visitor's and the assistant's."""
    for number in numbers:
        await remember(services, session, ("user" if number % 2 else "assistant", f"message {number}"))


async def now(services: Services, session: Session) -> Conversation:
    """The conversation as it is."""
    async with reading(services.pool) as conn:
        found = await conversations.find(conn, client_id=session.client.id, conversation_id=session.conversation.id)
    assert found is not None
    return found


async def covered(services: Services, session: Session) -> int:
    """How many messages the summary covers."""
    through = (await now(services, session)).summary_through or 0
    [(count,)] = await rows(services, "select count(*) from messages where id <= %s", through)
    return int(count)


def read(model: WireServer, request: int = -1) -> str:
    """The chat that the model was to summarise."""
    return str(model.requests[request].body["messages"][-1]["content"])


async def test_twenty_messages_need_no_summary(
    services: Services, session: Session, summariser: Summariser, model: WireServer
) -> None:
    """The model reads the last 20 as they are."""
    await say(services, session, range(1, 21))
    await summariser.cover(await now(services, session), ModelConfig())
    assert (await now(services, session)).summary is None
    assert model.requests == []


async def test_the_oldest_ten_are_covered(
    services: Services, session: Session, summariser: Summariser, model: WireServer
) -> None:
    """With the 21st message the first ten go into a summary, and only they."""
    await say(services, session, range(1, 22))
    model.script(Answer(" They said numbers. "))
    await summariser.cover(await now(services, session), ModelConfig())
    assert (await now(services, session)).summary == "They said numbers."
    assert await covered(services, session) == 10
    assert read(model) == "\n".join(
        f"{'user' if number % 2 else 'assistant'}: message {number}" for number in range(1, 11)
    )
    await summariser.cover(await now(services, session), ModelConfig())
    assert len(model.requests) == 1, "11 uncovered messages need nothing"


async def test_a_summary_is_extended(
    services: Services, session: Session, summariser: Summariser, model: WireServer
) -> None:
    """The next ten come with the summary before them."""
    await say(services, session, range(1, 22))
    model.script(Answer("First part."), Answer("Both parts."))
    await summariser.cover(await now(services, session), ModelConfig())
    await say(services, session, range(22, 32))
    await summariser.cover(await now(services, session), ModelConfig())
    assert (await now(services, session)).summary == "Both parts."
    assert await covered(services, session) == 20
    assert read(model).startswith("Earlier in this conversation, in short:\nFirst part.\nuser: message 11\n")
    assert read(model).endswith("message 20")


async def test_its_tokens_are_accounted_for(
    services: Services, session: Session, summariser: Summariser, model: WireServer
) -> None:
    """What the small model used counts for the client's day, and is no message."""
    await say(services, session, range(1, 22))
    model.script(Answer("Short.", usage=(321, 7, 0)))
    await summariser.cover(await now(services, session), ModelConfig())
    today = (await now(services, session)).last_activity_at.date()
    async with reading(services.pool) as conn:
        total = await usage.current_period(conn, client_id=session.client.id, today=today)
    assert (total.tokens_input, total.tokens_output, total.message_count) == (321, 7, 0)
    assert total.cost_estimate == Decimal(0), "no price is known in this database"


@pytest.mark.parametrize(
    "failure",
    [Failure(401), Answer("cut", cut_after=1), Answer("garbage", garbage_after=0), Answer("", tokens=())],
    ids=["refused", "cut", "garbage", "empty"],
)
async def test_a_failure_changes_nothing(
    services: Services,
    session: Session,
    summariser: Summariser,
    model: WireServer,
    failure: Failure | Answer,
) -> None:
    """The conversation stays as it is, and the next try covers the same messages."""
    await say(services, session, range(1, 22))
    model.script(failure)
    await summariser.cover(await now(services, session), ModelConfig())
    assert ((await now(services, session)).summary, (await now(services, session)).summary_through) == (None, None)
    model.script(Answer("Now."))
    await summariser.cover(await now(services, session), ModelConfig())
    assert await covered(services, session) == 10


async def test_after_many_failures_the_oldest_are_still_covered(
    services: Services, session: Session, summariser: Summariser, model: WireServer
) -> None:
    """However long no summary could be made, none of the first messages is passed over."""
    await say(services, session, range(1, 46))
    await summariser.cover(await now(services, session), ModelConfig())
    assert read(model).startswith("user: message 1\n")
    assert await covered(services, session) == 10


async def test_a_turn_makes_the_summary_and_the_next_one_reads_it(
    services: Services, session: Session, model: WireServer
) -> None:
    """It comes after the answer, when nobody waits."""
    await say(services, session, range(1, 20))
    model.script(Answer("The answer."), Answer("The summary."))
    await ask(services, session, "message 20")

    async def made() -> bool:
        return (await now(services, session)).summary == "The summary."

    await eventually(made, "a summary after the turn")
    await ask(services, session, "And?")
    assert model.requests[-1].body["messages"][0]["content"].endswith("The summary.")
