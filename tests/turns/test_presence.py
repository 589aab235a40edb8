"""Who is taken for dead, and who is not."""

import pytest

from server.repositories import presence as locks
from server.repositories.presence import Look
from server.services import Services
from server.turns import presence, supervisor
from server.turns.presence import Presence
from tests.support import eventually, rows


@pytest.fixture
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two looks in a row are enough, however close."""
    monkeypatch.setattr(presence, "MISSING_S", 0.0)


def _look(*living: str, owners: tuple[str, ...] = ("ins_a", "ins_b")) -> Look:
    return Look(living=frozenset(locks.key(each) for each in living), owners=list(owners))


@pytest.fixture
async def mine(services: Services) -> Presence:
    """Of an instance that has its lock."""
    return services.supervisor._presence


async def test_missing_for_a_while_is_dead(mine: Presence, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not at the first look, not before the time is over, and not when it came back in between."""
    assert mine.dead(_look("ins_a", "ins_b")) == []
    assert mine.dead(_look("ins_a")) == []
    assert mine.dead(_look("ins_a")) == [], "too soon"
    assert mine.dead(_look("ins_a", "ins_b")) == []
    monkeypatch.setattr(presence, "MISSING_S", 0.0)
    assert mine.dead(_look("ins_a")) == ["ins_b"]


@pytest.mark.usefixtures("no_patience")
async def test_whom_nobody_saw_is_left_to_its_lease(mine: Presence, services: Services) -> None:
    """An owner without a lock, as of a version that held none; and never oneself."""
    assert mine.dead(_look("ins_a", owners=("ins_other", services.instance))) == []
    assert mine.dead(_look(owners=("ins_other", services.instance, "ins_a"))) == ["ins_a"]


async def test_blindness_begins_anew(mine: Presence, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a look that failed the others get their time again to come back."""
    mine.dead(_look("ins_a", "ins_b"))
    assert mine.dead(_look("ins_a")) == []
    mine.blind()
    monkeypatch.setattr(presence, "MISSING_S", 3_600.0)
    assert mine.dead(_look("ins_a")) == []


@pytest.mark.usefixtures("no_patience")
async def test_without_an_own_lock_nobody_is_judged(services: Services) -> None:
    """It is Postgres that went away, not the others."""
    absent = Presence(services.pool, "ins_me")
    absent.dead(_look("ins_a", "ins_b"))
    assert absent.dead(_look("ins_a")) == []


async def test_owners_are_spared_after_a_blindness(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """All for a moment, those who live for longer, and never oneself; one who was not blind spares nobody."""
    me = Presence(services.pool, "ins_a")
    look = _look("ins_a", "ins_b", owners=("ins_a", "ins_b", "ins_gone"))
    assert me.spared(look) == ["ins_b"], "it has just begun"
    monkeypatch.setattr(presence, "FAIR_S", 0.0)
    assert me.spared(look) == []
    me.blind()
    assert me.spared(look) == ["ins_b", "ins_gone"]
    monkeypatch.setattr(presence, "RETURN_S", 0.0)
    monkeypatch.setattr(presence, "FAIR_S", 3_600.0)
    assert me.spared(look) == ["ins_b"]


async def test_a_look_that_comes_late_is_a_blindness(mine: Presence, monkeypatch: pytest.MonkeyPatch) -> None:
    """Postgres hung, or this process was frozen: nothing failed, and leases have run out all the same."""
    monkeypatch.setattr(presence, "MISSING_S", 0.0)
    look = _look("ins_a", owners=("ins_a", "ins_b"))
    mine.dead(_look("ins_a", "ins_b"))
    assert mine.dead(look) == ["ins_b"]
    monkeypatch.setattr(presence, "LATE_S", 0.0)
    assert (mine.dead(look), mine.spared(look)) == ([], ["ins_a", "ins_b"])


async def test_nobody_is_dead_right_after_a_blindness(mine: Presence, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each comes back in its own time, which may be longer than a lock may be missing else."""
    monkeypatch.setattr(presence, "MISSING_S", 0.0)
    mine.dead(_look("ins_a", "ins_b"))
    mine.blind()
    assert mine.dead(_look("ins_a")) == []
    monkeypatch.setattr(presence, "RETURN_S", 0.0)
    assert mine.dead(_look("ins_a")) == ["ins_b"]


async def test_the_lock_comes_back(services: Services) -> None:
    """Its connection is killed: the instance is there again within moments, on a new one."""
    # Of this test's database: others run on the same server.
    query = """
        select l.pid from pg_locks l join pg_database d on d.oid = l.database
        where l.locktype = 'advisory' and l.classid = %s and d.datname = current_database()
    """
    [(before,)] = await rows(services, query, locks.SPACE)
    await rows(services, "select pg_terminate_backend(%s)", before)

    async def back() -> bool:
        return [pid for (pid,) in await rows(services, query, locks.SPACE) if pid != before] != []

    await eventually(back, "the lock is held again")


def test_the_sweep_notices_within_two_looks() -> None:
    """A death is noticed at the second look without the lock: the time it must be missing is under a sweep's."""
    assert presence.MISSING_S < supervisor.SWEEP_S


@pytest.mark.usefixtures("no_patience")
async def test_who_lives_at_the_start_is_seen(services: Services) -> None:
    """An instance that dies before the younger one's first sweep is not left to its lease."""
    young = Presence(services.pool, "ins_young")
    try:
        async with locks.held(services.pool, instance="ins_old"):
            await young.start()
        assert young.dead(_look("ins_young", owners=("ins_old",))) == ["ins_old"]
    finally:
        await young.stop()
