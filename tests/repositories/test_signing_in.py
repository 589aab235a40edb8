"""What signing in leaves in the database: sessions, tickets and links that work once, failed attempts."""

import asyncio
from typing import Any

import pytest

from server.repositories import operator_sessions, operator_tickets, operators, sign_in_attempts
from server.repositories.operator_sessions import LiveSession
from server.repositories.operators import Operator
from server.repositories.pool import Conn, Pool, reading, unit_of_work
from tests.repositories.conftest import Shop

HASH = "$argon2id$x"
# So few that a test sees the lock, and so long that it does not see its end.
LIMITS: dict[str, Any] = {"free": 3, "first_s": 100.0, "most_s": 350.0, "forget_s": 3600.0}


async def _owner(conn: Conn, email: str = "o@x.example") -> Operator:
    return await operators.create(conn, client_id=None, email=email, name="O", password_hash=HASH, role="owner")


async def _session(
    conn: Conn, operator: Operator, token_hash: bytes, *, lifetime_s: float = 60.0, password_hash: str | None = HASH
) -> LiveSession | None:
    return await operator_sessions.create(
        conn,
        operator_id=operator.id,
        password_hash=password_hash,
        token_hash=token_hash,
        lifetime_s=lifetime_s,
        user_agent="Firefox",
    )


async def test_sessions(pool: Pool, pizza: Shop) -> None:
    """A session holds good until it expires, is revoked, or its operator is disabled; it shows who they are now."""
    async with unit_of_work(pool) as conn:
        owner = await _owner(conn)
        staff = await operators.create(
            conn, client_id=pizza.id, email="s@x.example", name="S", password_hash=HASH, role="operator"
        )
        made = await _session(conn, staff, b"staff")
        assert made is not None and made.operator == staff
        assert (made.expires_at - made.last_seen_at).total_seconds() == 60
        for name in (b"a", b"b", b"c"):
            await _session(conn, owner, name, password_hash=None)
        await _session(conn, owner, b"old", lifetime_s=-1)
        found = await operator_sessions.find_by_token(conn, token_hash=b"a")
        assert found is not None and found.operator == owner
        assert await operator_sessions.find(conn, session_id=found.id) == found
        assert await operator_sessions.find_by_token(conn, token_hash=b"old") is None
        assert await operator_sessions.find_by_token(conn, token_hash=b"unknown") is None
        await operator_sessions.revoke(conn, session_id=found.id)
        assert await operator_sessions.find_by_token(conn, token_hash=b"a") is None
        assert await operator_sessions.find(conn, session_id=found.id) is None
        await operators.set_status(conn, operator_id=owner.id, status="disabled")
        assert await operator_sessions.find_by_token(conn, token_hash=b"b") is None
        await operators.set_status(conn, operator_id=owner.id, status="active")
        assert await operator_sessions.find_by_token(conn, token_hash=b"b") is not None
        await operator_sessions.revoke_all(conn, operator_id=owner.id)
        assert await operator_sessions.find_by_token(conn, token_hash=b"b") is None
        assert await operator_sessions.find_by_token(conn, token_hash=b"c") is None
        assert await operator_sessions.find_by_token(conn, token_hash=b"staff") == made
        assert await operator_sessions.delete_expired(conn) == 1
        assert await operator_sessions.delete_expired(conn) == 0


async def test_the_other_sessions_end(pool: Pool) -> None:
    """All of the operator's but this one, and nobody else's."""
    async with unit_of_work(pool) as conn:
        ann, bob = await _owner(conn), await _owner(conn, "b@x.example")
        here = await _session(conn, ann, b"here")
        assert here is not None
        for who, token in ((ann, b"there"), (bob, b"bob")):
            await _session(conn, who, token)
        await operator_sessions.revoke_others(conn, operator_id=ann.id, session_id=here.id)
        left = [await operator_sessions.find_by_token(conn, token_hash=each) for each in (b"here", b"there", b"bob")]
        assert [each is not None for each in left] == [True, False, True]


async def test_a_session_that_is_seen(pool: Pool) -> None:
    """Marked with the time of the mark."""
    async with unit_of_work(pool) as conn:
        made = await _session(conn, await _owner(conn), b"a")
        assert made is not None
    async with unit_of_work(pool) as conn:
        await operator_sessions.touch(conn, session_id=made.id)
        seen = await operator_sessions.find(conn, session_id=made.id)
    assert seen is not None and seen.last_seen_at > made.last_seen_at


async def test_no_session_for_another_password(pool: Pool) -> None:
    """The hash that was compared must be the one that is there; a disabled operator gets none either way."""
    async with unit_of_work(pool) as conn:
        owner = await _owner(conn)
        assert await _session(conn, owner, b"a", password_hash="$argon2id$y") is None
        await operators.set_status(conn, operator_id=owner.id, status="disabled")
        assert await _session(conn, owner, b"b") is None
        assert await _session(conn, owner, b"c", password_hash=None) is None


async def test_a_session_begun_while_the_password_changes(pool: Pool) -> None:
    """Who signs in waits for the change that is under way, and then has the wrong password."""
    async with unit_of_work(pool) as conn:
        owner = await _owner(conn)

    async def begin() -> LiveSession | None:
        async with unit_of_work(pool) as conn:
            return await _session(conn, owner, b"late")

    async with unit_of_work(pool) as conn:
        assert await operators.set_password(conn, operator_id=owner.id, password_hash="$argon2id$new")
        beginning = asyncio.create_task(begin())
        async with reading(pool) as watch:
            while not await _somebody_waits(watch):
                assert not beginning.done()
        await operator_sessions.revoke_all(conn, operator_id=owner.id)
    assert await beginning is None


async def _somebody_waits(conn: Conn) -> bool:
    cursor = await conn.execute(
        "select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
    )
    return cursor.rowcount > 0


async def test_a_hash_is_made_anew_unless_it_changed(pool: Pool) -> None:
    """A new form of the same password never replaces another password."""
    async with unit_of_work(pool) as conn:
        owner = await _owner(conn)
        await operators.rehash(conn, operator_id=owner.id, old="$argon2id$other", new="$argon2id$1")
        await operators.rehash(conn, operator_id=owner.id, old=HASH, new="$argon2id$2")
        login = await operators.find_login(conn, email=owner.email)
    assert login is not None and login.password_hash == "$argon2id$2"


async def test_the_owners_who_are_left(pool: Pool, pizza: Shop) -> None:
    """Active ones alone, and nobody of a lesser role."""
    async with unit_of_work(pool) as conn:
        one, two, gone = [await _owner(conn, f"{name}@x.example") for name in ("one", "two", "gone")]
        await operators.create(conn, client_id=None, email="a@x.example", name="A", password_hash=HASH, role="admin")
        await operators.set_status(conn, operator_id=gone.id, status="disabled")
        assert await operators.lock_owners(conn) == [one.id, two.id]


async def test_tickets_work_once(pool: Pool) -> None:
    """For what they were made for, once, in time."""
    async with unit_of_work(pool) as conn:
        owner = await _owner(conn)
        session = await _session(conn, owner, b"a")
        assert session is not None
        for name, lifetime_s in ((b"socket", 30.0), (b"late", -1.0)):
            assert await operator_tickets.create_socket(
                conn, session_id=session.id, secret_hash=name, lifetime_s=lifetime_s
            )
        assert await operator_tickets.create_link(conn, operator_id=owner.id, secret_hash=b"link", lifetime_s=30)
        assert await operator_tickets.use(conn, kind="link", secret_hash=b"socket") is None
        assert await operator_tickets.use(conn, kind="socket", secret_hash=b"link") is None
        assert await operator_tickets.use(conn, kind="socket", secret_hash=b"late") is None
        assert await operator_tickets.use(conn, kind="socket", secret_hash=b"socket") == operator_tickets.Ticket(
            owner.id, session.id
        )
        assert await operator_tickets.use(conn, kind="socket", secret_hash=b"socket") is None
        assert await operator_tickets.use(conn, kind="link", secret_hash=b"link") == operator_tickets.Ticket(
            owner.id, None
        )
        assert await operator_tickets.use(conn, kind="link", secret_hash=b"link") is None
        assert await operator_tickets.delete_expired(conn) == 1
        assert await operator_tickets.delete_expired(conn) == 0


async def test_tickets_that_are_not_made(pool: Pool) -> None:
    """For a session that holds no longer, for an operator who is disabled; and those that are there can be taken."""
    async with unit_of_work(pool) as conn:
        owner = await _owner(conn)
        live, over = await _session(conn, owner, b"a"), await _session(conn, owner, b"b")
        assert live is not None and over is not None
        await operator_sessions.revoke(conn, session_id=over.id)
        assert not await operator_tickets.create_socket(conn, session_id=over.id, secret_hash=b"1", lifetime_s=30)
        assert await operator_tickets.create_socket(conn, session_id=live.id, secret_hash=b"2", lifetime_s=30)
        assert await operator_tickets.create_link(conn, operator_id=owner.id, secret_hash=b"3", lifetime_s=30)
        await operators.set_status(conn, operator_id=owner.id, status="disabled")
        assert not await operator_tickets.create_socket(conn, session_id=live.id, secret_hash=b"4", lifetime_s=30)
        assert not await operator_tickets.create_link(conn, operator_id=owner.id, secret_hash=b"5", lifetime_s=30)
        await operator_tickets.delete_all(conn, operator_id=owner.id)
        assert await operator_tickets.use(conn, kind="socket", secret_hash=b"2") is None
        assert await operator_tickets.use(conn, kind="link", secret_hash=b"3") is None


async def _charge(pool: Pool, subject: bytes = b"s", **changes: Any) -> float | None:
    async with unit_of_work(pool) as conn:
        return await sign_in_attempts.charge(conn, subject=subject, **{**LIMITS, **changes})


async def _age(pool: Pool, seconds: float) -> None:
    """As if so many seconds had passed."""
    async with reading(pool) as conn:
        await conn.execute(
            "update sign_in_attempts set last_at = last_at - make_interval(secs => %(s)s), "
            "locked_until = locked_until - make_interval(secs => %(s)s)",
            {"s": seconds},
        )


async def test_attempts_lock_for_longer_each_time(pool: Pool) -> None:
    """The third in a row locks, then every next one, for twice as long up to the most; locked ones do not count."""
    assert [await _charge(pool) for _ in range(3)] == [None] * 3
    for wait_s in (100, 200, 350, 350):
        for _ in range(2):
            left = await _charge(pool)
            assert left is not None and wait_s * 0.6 < left <= wait_s
        await _age(pool, wait_s + 1)
        assert await _charge(pool) is None
    assert await _charge(pool, b"another") is None


async def test_attempts_are_forgotten(pool: Pool) -> None:
    """By a success, by time; and one that did not fail is given back."""
    for _ in range(3):
        await _charge(pool)
    assert await _charge(pool) is not None
    async with unit_of_work(pool) as conn:
        await sign_in_attempts.forgive(conn, subject=b"s")
    assert await _charge(pool) is None
    assert await _charge(pool) is not None
    async with unit_of_work(pool) as conn:
        await sign_in_attempts.forget(conn, subject=b"s")
    assert [await _charge(pool) for _ in range(3)] == [None] * 3
    async with unit_of_work(pool) as conn:
        assert await sign_in_attempts.delete_old(conn, forget_s=3600) == 0
    await _age(pool, 3700)
    assert [await _charge(pool) for _ in range(3)] == [None] * 3
    assert await _charge(pool) is not None
    await _age(pool, 3700)
    async with unit_of_work(pool) as conn:
        assert await sign_in_attempts.delete_old(conn, forget_s=3600) == 1


@pytest.mark.parametrize("many", [5])
async def test_attempts_at_the_same_moment(pool: Pool, many: int) -> None:
    """Of many at once as many pass as one after the other would have."""
    results = await asyncio.gather(*(_charge(pool) for _ in range(many)))
    assert results.count(None) == LIMITS["free"]
