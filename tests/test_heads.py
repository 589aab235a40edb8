"""The newest seqs for pings: many asked for, few read."""

import asyncio
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from msgspec.structs import replace

from server.errors import FrontdeskError, NotFound, Unavailable
from server.heads import Heads
from server.repositories import conversations
from server.repositories.conversations import Conversation
from server.repositories.pool import Conn, open_pool
from server.services import Services
from server.settings import Settings
from tests.support import Shop, ask, cable, eventually, new_shop, rows, visit

Answers = list[int | FrontdeskError]


async def told(heads: Heads, *wanted: Conversation) -> Answers:
    """What each of them is told, all asked for in one moment."""
    futures = [asyncio.get_running_loop().create_future() for _ in wanted]
    for conversation, future in zip(wanted, futures, strict=True):
        heads.ask(conversation, future.set_result)
    return [await future for future in futures]


async def test_each_is_told_its_own(services: Services, shop: Shop) -> None:
    """A conversation that was spoken in, one that was not, and the first once more."""
    talk, silent = await visit(services, shop), await visit(services, shop)
    await ask(services, talk, "one")
    wanted = (talk.conversation, silent.conversation, talk.conversation)
    assert await told(services.heads, *wanted) == [3, 0, 3]


async def test_a_crowd_is_read_for_together(services: Services, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first is answered at once; who asks within the moment after it shares the second read."""
    reads: list[int] = []
    real = conversations.heads

    async def counted(conn: Conn, *, wanted: list[tuple[int, int]]) -> dict[tuple[int, int], int]:
        reads.append(len(wanted))
        return await real(conn, wanted=wanted)

    monkeypatch.setattr(conversations, "heads", counted)
    monkeypatch.setattr("server.heads.GATHER_S", 1.0)
    loop = asyncio.get_running_loop()
    session = await visit(services, shop)
    began = loop.time()
    assert await told(services.heads, session.conversation) == [0]
    later = [asyncio.create_task(told(services.heads, session.conversation)) for _ in range(50)]
    assert await asyncio.gather(*later) == [[0]] * 50
    assert reads == [1, 50]
    assert loop.time() - began >= 0.9


async def test_an_erased_conversation_and_a_strangers(services: Services, shop: Shop) -> None:
    """Neither is there; the one asked for beside them is."""
    talk, gone = await visit(services, shop), await visit(services, shop)
    stranger = await new_shop(services, "bakery")
    theirs = replace(talk.conversation, client_id=stranger.id)
    await rows(services, "delete from conversations where id = %s", gone.conversation.id)
    erased, foreign, own = await told(services.heads, gone.conversation, theirs, talk.conversation)
    for refusal in (erased, foreign):
        assert isinstance(refusal, NotFound) and refusal.code == "erased"
    assert own == 0
    assert await services.heads.read([theirs, talk.conversation]) == [None, 0]


async def test_without_postgres_all_are_told_so(
    services: Services, settings: Settings, shop: Shop, tmp_path: Path
) -> None:
    """Nobody waits for an answer that does not come, and the next who asks is answered again."""
    session = await visit(services, shop)
    here = parse_qs(urlsplit(settings.database_url).query)["host"][0]
    async with cable(Path(here) / ".s.PGSQL.5432", tmp_path / ".s.PGSQL.5432") as wire:
        pool = await open_pool(
            settings.database_url.replace(here, str(tmp_path)), max_size=1, application_name="frontdesk test"
        )
        behind = Heads(pool)
        try:
            assert await told(behind, session.conversation) == [0]
            await wire.cut()
            assert all(isinstance(answer, Unavailable) for answer in await told(behind, *[session.conversation] * 3))
            await wire.mend()

            async def answered() -> bool:
                return await told(behind, session.conversation) == [0]

            await eventually(answered, "Postgres is back, and so is the head")
        finally:
            await pool.close()


async def test_a_bug_costs_the_pings_alone(services: Services, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asked is told that something went wrong."""

    async def broken(conn: Conn, *, wanted: list[tuple[int, int]]) -> dict[tuple[int, int], int]:
        raise ZeroDivisionError

    session = await visit(services, shop)
    monkeypatch.setattr(conversations, "heads", broken)
    (answer,) = await told(services.heads, session.conversation)
    assert type(answer) is FrontdeskError
