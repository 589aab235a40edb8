"""Turns: leases, gens, and what happens when two want the same."""

import asyncio
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from server import errors
from server.repositories import faults, turn_leases, turn_records, turn_steps, turns
from server.repositories.pool import Pool, reading, unit_of_work
from server.repositories.turn_leases import Orphan
from server.repositories.turns import Turn
from tests.repositories.conftest import Shop
from tests.repositories.world import another_conversation, ask, say

LEASE = {"lease_s": 15.0, "deadline_s": 120.0}


async def _queued(pool: Pool, shop: Shop, conversation_id: int | None = None, *, owner: str | None = None) -> str:
    cnv = shop.cnv if conversation_id is None else conversation_id
    return await ask(pool, shop.id, cnv, await say(pool, shop.id, cnv, seq=1), owner=owner)


async def _turn(pool: Pool, shop: Shop, public_id: str) -> Turn:
    async with reading(pool) as conn:
        turn = await turns.find(conn, client_id=shop.id, public_id=public_id)
    assert turn is not None
    return turn


async def _age(pool: Pool, *, queued: bool = False) -> None:
    """Time passes: every lease runs out, or every queued turn has waited."""
    async with unit_of_work(pool) as conn:
        if queued:
            await conn.execute("update turns set created_at = created_at - interval '3 s' where status = 'queued'")
        else:
            await conn.execute("update turns set lease_until = now() - interval '1 s' where status = 'running'")


async def _claim_next(pool: Pool, shop: Shop, owner: str) -> Turn | None:
    async with unit_of_work(pool) as conn:
        return await turn_leases.claim_next(conn, client_id=shop.id, conversation_id=shop.cnv, owner=owner, **LEASE)


async def _orphans(
    pool: Pool,
    *,
    limit: int = 100,
    dead: tuple[str, ...] = (),
    spared: tuple[str, ...] = (),
    held: tuple[int, ...] = (),
) -> list[Orphan]:
    async with unit_of_work(pool) as conn:
        return await turn_leases.orphans(
            conn, dead=list(dead), spared=list(spared), held=list(held), lease_s=LEASE["lease_s"], limit=limit
        )


async def _take(pool: Pool, owner: str, orphan: Orphan) -> Turn | None:
    """As a sweep does."""
    async with unit_of_work(pool) as conn:
        if orphan.lease_until is None:
            return await turn_leases.claim_next(
                conn, client_id=orphan.client_id, conversation_id=orphan.conversation_id, owner=owner, **LEASE
            )
        return await turn_leases.take_over(
            conn,
            client_id=orphan.client_id,
            turn_id=orphan.id,
            gen=orphan.gen,
            lease_until=orphan.lease_until,
            owner=owner,
            lease_s=LEASE["lease_s"],
            deadline_s=LEASE["deadline_s"],
        )


async def _claim_orphans(pool: Pool, owner: str, limit: int = 100, *, dead: tuple[str, ...] = ()) -> list[Turn]:
    """A whole sweep."""
    found = await _orphans(pool, limit=limit, dead=dead)
    return [turn for each in found if (turn := await _take(pool, owner, each)) is not None]


async def test_a_turn_begins_running_or_queued(pool: Pool, pizza: Shop) -> None:
    """With an owner it has a lease, a deadline and one attempt; without, none of them."""
    message = await say(pool, pizza.id, pizza.cnv, seq=1)
    running = await _turn(pool, pizza, await ask(pool, pizza.id, pizza.cnv, message, owner="ins_a"))
    assert (running.status, running.owner, running.gen, running.attempts) == ("running", "ins_a", 1, 1)
    assert running.lease_until is not None and running.deadline is not None
    # Each reads the clock for itself.
    assert abs(running.deadline - running.lease_until - timedelta(seconds=105)) < timedelta(seconds=1)
    queued = await _turn(pool, pizza, await ask(pool, pizza.id, pizza.cnv, message, owner=None))
    assert (queued.status, queued.owner, queued.gen, queued.attempts) == ("queued", None, 1, 0)
    assert (queued.lease_until, queued.deadline) == (None, None)
    async with reading(pool) as conn:
        assert await turns.running(conn, client_id=pizza.id, conversation_id=pizza.cnv) == running
        found = await turns.find_by_message(
            conn, client_id=pizza.id, conversation_id=pizza.cnv, message_public_id=message
        )
        assert found in (running, queued)
        assert await turns.find(conn, client_id=pizza.id, public_id="trn_") is None


async def test_one_turn_of_a_conversation_runs(pool: Pool, pizza: Shop) -> None:
    """The database refuses a second running one; the answer is an error of its own."""
    await _queued(pool, pizza, owner="ins_a")
    with pytest.raises(faults.TurnRunning):
        await _queued(pool, pizza, owner="ins_b")


async def test_a_turn_needs_its_message(pool: Pool, pizza: Shop) -> None:
    """A message that is not there, or of another conversation, is NotFound."""
    elsewhere = await say(pool, pizza.id, await another_conversation(pool, pizza.id), seq=1)
    for message in ("msg_", elsewhere):
        with pytest.raises(errors.NotFound):
            await ask(pool, pizza.id, pizza.cnv, message, owner=None)


async def test_the_oldest_is_claimed_and_only_when_none_runs(pool: Pool, pizza: Shop) -> None:
    """First come, first served, one at a time; the first claim keeps gen 1."""
    first, second = await _queued(pool, pizza), await _queued(pool, pizza)
    claimed = await _claim_next(pool, pizza, "ins_a")
    assert claimed is not None
    assert (claimed.public_id, claimed.status, claimed.gen, claimed.attempts) == (first, "running", 1, 1)
    assert await _claim_next(pool, pizza, "ins_b") is None
    async with unit_of_work(pool) as conn:
        await turns.finish(conn, client_id=pizza.id, turn_id=claimed.id, gen=1, status="done")
    claimed = await _claim_next(pool, pizza, "ins_b")
    assert claimed is not None and claimed.public_id == second


async def test_whether_a_turn_waits(pool: Pool, pizza: Shop, bakery: Shop) -> None:
    """One that is queued does; one that runs or is over, and another client's, does not."""

    async def waits() -> bool:
        async with unit_of_work(pool) as conn:
            asked = await turns.waiting(conn, client_id=pizza.id, conversation_id=pizza.cnv)
        told = await asked.fetchone()
        assert told is not None
        return told.waits

    await _queued(pool, bakery)
    assert not await waits()
    await _queued(pool, pizza)
    assert await waits()
    claimed = await _claim_next(pool, pizza, "ins_a")
    assert claimed is not None and not await waits()
    await _queued(pool, pizza)
    assert await waits()
    async with unit_of_work(pool) as conn:
        await turns.finish(conn, client_id=pizza.id, turn_id=claimed.id, gen=1, status="done")
    assert await waits()


async def test_a_younger_running_turn_keeps_an_older_queued_one_waiting(pool: Pool, pizza: Shop) -> None:
    """Whichever runs, none other is claimed."""
    await _queued(pool, pizza)
    await _queued(pool, pizza, owner="ins_a")
    assert await _claim_next(pool, pizza, "ins_b") is None


async def test_two_claims_at_once(pool: Pool, pizza: Shop) -> None:
    """Six instances claim at the same instant, again and again: one gets the turn, nobody gets a second one."""
    for _ in range(10):
        await _queued(pool, pizza)
        await _queued(pool, pizza)
        claims = await asyncio.gather(*(_claim_next(pool, pizza, f"ins_{n}") for n in range(6)), return_exceptions=True)
        got = [claim for claim in claims if isinstance(claim, Turn)]
        assert len(got) == 1
        assert all(claim is None or isinstance(claim, Turn | faults.TurnRunning) for claim in claims)
        async with unit_of_work(pool) as conn:
            await turns.finish(conn, client_id=pizza.id, turn_id=got[0].id, gen=1, status="done")


async def test_the_sweep_takes_over_the_dead(pool: Pool, pizza: Shop, bakery: Shop) -> None:
    """An expired lease of any client is taken with gen + 1; a living one is not."""
    dead = [await _queued(pool, shop, owner="ins_dead") for shop in (pizza, bakery)]
    await _age(pool)
    alive = await _queued(pool, pizza, await another_conversation(pool, pizza.id), owner="ins_alive")
    claimed = await _claim_orphans(pool, "ins_new")
    assert {turn.public_id for turn in claimed} == set(dead)
    assert {(turn.gen, turn.attempts, turn.owner, turn.status) for turn in claimed} == {(2, 2, "ins_new", "running")}
    assert (await _turn(pool, pizza, alive)).owner == "ins_alive"
    assert await _claim_orphans(pool, "ins_new") == []


async def test_the_sweep_takes_over_whose_owner_is_known_to_be_dead(pool: Pool, pizza: Shop, bakery: Shop) -> None:
    """Its lease need not run out, but a turn claimed within the last second is left, and everybody else's too."""
    dead = [await _queued(pool, shop, owner="ins_dead") for shop in (pizza, bakery)]
    await _queued(pool, pizza, await another_conversation(pool, pizza.id), owner="ins_alive")
    assert await _claim_orphans(pool, "ins_new", dead=("ins_dead",)) == []
    async with unit_of_work(pool) as conn:
        await conn.execute("update turns set lease_until = lease_until - interval '1 s'")
    claimed = await _claim_orphans(pool, "ins_new", dead=("ins_dead", "ins_never"))
    assert {turn.public_id for turn in claimed} == set(dead)
    assert {(turn.gen, turn.attempts, turn.owner) for turn in claimed} == {(2, 2, "ins_new")}


async def test_the_sweep_takes_queued_turns_that_nobody_took(pool: Pool, pizza: Shop) -> None:
    """After 2 s, one of a conversation, none beside a running one, gen unchanged."""
    busy = await another_conversation(pool, pizza.id)
    await _queued(pool, pizza, busy, owner="ins_a")
    await _queued(pool, pizza, busy)
    first, second = await _queued(pool, pizza), await _queued(pool, pizza)
    assert await _claim_orphans(pool, "ins_b") == []
    await _age(pool, queued=True)
    [claimed] = await _claim_orphans(pool, "ins_b")
    assert (claimed.public_id, claimed.gen, claimed.attempts) == (first, 1, 1)
    assert (await _turn(pool, pizza, second)).status == "queued"


async def test_a_dead_turn_goes_before_its_queued_sibling(pool: Pool, pizza: Shop) -> None:
    """Never two turns of one conversation, even when both are orphans."""
    dead = await _queued(pool, pizza, owner="ins_dead")
    await _queued(pool, pizza)
    await _age(pool)
    await _age(pool, queued=True)
    assert [turn.public_id for turn in await _claim_orphans(pool, "ins_b")] == [dead]


async def test_sweeps_at_once_share_the_orphans(pool: Pool, pizza: Shop) -> None:
    """Five sweeps that look at the same instant and then take: every orphan is taken by exactly one, none twice."""
    conversations = [await another_conversation(pool, pizza.id) for _ in range(20)]
    dead = [await _queued(pool, pizza, cnv, owner="ins_dead") for cnv in conversations[:10]]
    waiting = [await _queued(pool, pizza, cnv) for cnv in conversations[10:]]
    await _age(pool)
    await _age(pool, queued=True)
    swept = await asyncio.gather(*(_claim_orphans(pool, f"ins_{n}", limit=6) for n in range(5)))
    rest = await _claim_orphans(pool, "ins_last")
    taken = [turn.public_id for claims in [*swept, rest] for turn in claims]
    assert sorted(taken) == sorted(dead + waiting)
    assert max(len(claims) for claims in swept) <= 6


async def test_a_sweep_skips_what_its_owner_is_writing(pool: Pool, pizza: Shop) -> None:
    """A fence that is held is not waited for: SKIP LOCKED."""
    turn = await _turn(pool, pizza, await _queued(pool, pizza, owner="ins_a"))
    async with unit_of_work(pool) as conn:
        assert await turn_leases.fence(conn, client_id=pizza.id, turn_id=turn.id, gen=1, owner="ins_a")
        await conn.execute("update turns set lease_until = now() - interval '1 s' where id = %s", [turn.id])
        assert await asyncio.wait_for(_claim_orphans(pool, "ins_b"), 5) == []
    assert [taken.id for taken in await _claim_orphans(pool, "ins_b")] == [turn.id]


async def test_what_a_sweep_leaves_alone(pool: Pool, pizza: Shop) -> None:
    """Turns of owners who are spared, and those that the instance itself runs, though their leases ran out."""
    mine = await _turn(pool, pizza, await _queued(pool, pizza, owner="ins_me"))
    other = await another_conversation(pool, pizza.id)
    theirs = await _turn(pool, pizza, await _queued(pool, pizza, other, owner="ins_them"))
    await _age(pool)
    assert {each.id for each in await _orphans(pool)} == {mine.id, theirs.id}
    assert {each.id for each in await _orphans(pool, held=(mine.id,))} == {theirs.id}
    assert {each.id for each in await _orphans(pool, spared=("ins_them", "ins_x"))} == {mine.id}
    assert await _orphans(pool, spared=("ins_them",), dead=("ins_them",), held=(mine.id,)) == []


async def test_an_orphan_is_taken_as_it_was_found(pool: Pool, pizza: Shop) -> None:
    """One that was extended, taken or ended since the look is left alone."""
    turn = await _turn(pool, pizza, await _queued(pool, pizza, owner="ins_a"))
    await _age(pool)
    [found] = await _orphans(pool)
    assert (found.id, found.client_id, found.conversation_id, found.gen) == (turn.id, pizza.id, pizza.cnv, 1)
    async with unit_of_work(pool) as conn:
        assert await turn_leases.extend(conn, owner="ins_a", gens={turn.id: 1}, lease_s=15) == [turn.id]
    assert await _take(pool, "ins_b", found) is None
    await _age(pool)
    [found] = await _orphans(pool)
    taken = await _take(pool, "ins_b", found)
    assert taken is not None and (taken.owner, taken.gen, taken.attempts) == ("ins_b", 2, 2)
    assert await _take(pool, "ins_c", found) is None
    async with unit_of_work(pool) as conn:
        await turns.finish(conn, client_id=pizza.id, turn_id=turn.id, gen=2, status="done")
    assert await _take(pool, "ins_c", found) is None


async def test_a_lease_is_extended_while_nobody_took_it(pool: Pool, pizza: Shop) -> None:
    """Only one's own, running turns of this gen; also one whose lease ran out while the database was away."""
    mine = await _turn(pool, pizza, await _queued(pool, pizza, owner="ins_a"))
    other = await another_conversation(pool, pizza.id)
    theirs = await _turn(pool, pizza, await _queued(pool, pizza, other, owner="ins_b"))
    async with unit_of_work(pool) as conn:
        assert await turn_leases.extend(conn, owner="ins_a", gens={mine.id: 1, theirs.id: 1}, lease_s=60) == [mine.id]
        assert await turn_leases.extend(conn, owner="ins_a", gens={mine.id: 2}, lease_s=60) == []
    after = await _turn(pool, pizza, mine.public_id)
    assert after.lease_until is not None and mine.lease_until is not None
    assert after.lease_until - mine.lease_until > timedelta(seconds=44)
    await _age(pool)
    async with unit_of_work(pool) as conn:
        assert not await turn_leases.fence(conn, client_id=pizza.id, turn_id=mine.id, gen=1, owner="ins_a")
        assert await turn_leases.extend(conn, owner="ins_a", gens={}, lease_s=60) == []
        assert await turn_leases.extend(conn, owner="ins_a", gens={mine.id: 1}, lease_s=60) == [mine.id]
        assert await turn_leases.fence(conn, client_id=pizza.id, turn_id=mine.id, gen=1, owner="ins_a")
    await _age(pool)
    [theirs_now, mine_now] = sorted(await _claim_orphans(pool, "ins_c"), key=lambda turn: turn.id, reverse=True)
    assert (mine_now.gen, theirs_now.gen) == (2, 2)
    async with unit_of_work(pool) as conn:
        assert await turn_leases.extend(conn, owner="ins_a", gens={mine.id: 1}, lease_s=60) == [], "somebody took it"


async def test_what_an_instance_has_ended_itself(pool: Pool, pizza: Shop) -> None:
    """Done or failed by it; not what runs, was stopped, or was another's."""
    ended = {}
    for status, owner in (("done", "ins_a"), ("failed", "ins_a"), ("running", "ins_a"), ("done", "ins_b")):
        conversation = await another_conversation(pool, pizza.id)
        turn = await _turn(pool, pizza, await _queued(pool, pizza, conversation, owner=owner))
        ended[status, owner] = turn.id
        if status != "running":
            async with unit_of_work(pool) as conn:
                await turns.finish(conn, client_id=pizza.id, turn_id=turn.id, gen=1, status=status)
    async with unit_of_work(pool) as conn:
        found = await turn_leases.ended_by(conn, owner="ins_a", turn_ids=list(ended.values()))
        assert set(found) == {ended["done", "ins_a"], ended["failed", "ins_a"]}
        assert await turn_leases.ended_by(conn, owner="ins_a", turn_ids=[]) == []


async def test_a_fence_is_lost(pool: Pool, pizza: Shop) -> None:
    """By another gen, another owner, an expired lease, an end: each is a no."""
    turn = await _turn(pool, pizza, await _queued(pool, pizza, owner="ins_a"))

    async def fence(gen: int, owner: str) -> bool:
        async with unit_of_work(pool) as conn:
            return await turn_leases.fence(conn, client_id=pizza.id, turn_id=turn.id, gen=gen, owner=owner)

    assert await fence(1, "ins_a")
    assert not await fence(2, "ins_a")
    assert not await fence(1, "ins_b")
    await _age(pool)
    assert not await fence(1, "ins_a")
    await _claim_orphans(pool, "ins_b")
    assert not await fence(1, "ins_a")
    assert await fence(2, "ins_b")
    async with unit_of_work(pool) as conn:
        await turns.finish(conn, client_id=pizza.id, turn_id=turn.id, gen=2, status="done")
    assert not await fence(2, "ins_b")


async def test_a_lease_that_ends_within_a_transaction_is_lost(pool: Pool, pizza: Shop) -> None:
    """The clock of the statement counts, not that of the transaction's beginning."""
    message = await say(pool, pizza.id, pizza.cnv, seq=1)
    async with unit_of_work(pool) as conn:
        await conn.execute("select 1")
        await turns.create(
            conn,
            client_id=pizza.id,
            conversation_id=pizza.cnv,
            public_id="trn_short",
            message_public_id=message,
            answer_id="msg_a",
            owner="ins_a",
            lease_s=0.02,
            deadline_s=120,
        )
        turn = await turns.find(conn, client_id=pizza.id, public_id="trn_short")
        assert turn is not None
        await conn.execute("select pg_sleep(0.03)")  # the database's own clock moves on
        assert not await turn_leases.fence(conn, client_id=pizza.id, turn_id=turn.id, gen=1, owner="ins_a")


async def test_a_stale_writer_finishes_nothing(pool: Pool, pizza: Shop) -> None:
    """finish() of an older gen changes nothing; of the right one it ends the turn once."""
    public_id = await _queued(pool, pizza, owner="ins_a")
    await _age(pool)
    [turn] = await _claim_orphans(pool, "ins_b")
    async with unit_of_work(pool) as conn:
        await turns.finish(conn, client_id=pizza.id, turn_id=turn.id, gen=1, status="done")
    assert (await _turn(pool, pizza, public_id)).status == "running"
    async with unit_of_work(pool) as conn:
        await turns.finish(conn, client_id=pizza.id, turn_id=turn.id, gen=2, status="failed", error="model_timeout")
        await turns.finish(conn, client_id=pizza.id, turn_id=turn.id, gen=2, status="done")
    ended = await _turn(pool, pizza, public_id)
    assert (ended.status, ended.error, ended.lease_until) == ("failed", "model_timeout", None)


async def test_what_a_turn_used_is_written_with_its_end(pool: Pool, pizza: Shop) -> None:
    """Failed or stopped without an answer, it tells what was paid; by an older gen nothing is written."""
    where: dict[str, Any] = {"client_id": pizza.id, "conversation_id": pizza.cnv}
    paid = turns.Paid("m1", 500, 50, Decimal("0.25"))

    async def told(public_id: str) -> tuple[object, ...]:
        async with reading(pool) as conn:
            [row] = [
                each
                for each in await turn_records.page(conn, **where, before=None, limit=9)
                if each.public_id == public_id
            ]
        return row.status, row.model, row.tokens_input, row.tokens_output, row.cost

    failed = await _queued(pool, pizza, owner="ins_a")
    turn = await _turn(pool, pizza, failed)
    names: dict[str, Any] = {"client_id": pizza.id, "turn_id": turn.id, "status": "failed", "error": "x"}
    async with unit_of_work(pool) as conn:
        await turns.finish(conn, **names, gen=2, paid=paid)
    assert await told(failed) == ("running", None, None, None, None)
    async with unit_of_work(pool) as conn:
        await turns.finish(conn, **names, gen=1, paid=paid)
    assert await told(failed) == ("failed", "m1", 500, 50, Decimal("0.25"))
    stopped = await _queued(pool, pizza, owner="ins_a")
    async with unit_of_work(pool) as conn:
        assert await turns.stop(conn, **where, public_id=stopped, paid=paid)
    assert await told(stopped) == ("stopped", "m1", 500, 50, Decimal("0.25"))
    free = await _queued(pool, pizza, owner="ins_a")
    async with unit_of_work(pool) as conn:
        assert await turns.stop(conn, **where, public_id=free)
    assert await told(free) == ("stopped", None, None, None, None)


async def test_stop(pool: Pool, pizza: Shop) -> None:
    """A queued or running turn stops with gen + 1, once; its owner may not write any more."""
    running = await _queued(pool, pizza, owner="ins_a")
    queued = await _queued(pool, pizza)
    for public_id in (running, queued):
        async with unit_of_work(pool) as conn:
            where: dict[str, Any] = {"client_id": pizza.id, "conversation_id": pizza.cnv}
            stopped = await turns.stop(conn, **where, public_id=public_id)
            assert stopped is not None and (stopped.status, stopped.gen) == ("stopped", 2)
            assert not await turn_leases.fence(conn, client_id=pizza.id, turn_id=stopped.id, gen=1, owner="ins_a")
            assert await turns.stop(conn, **where, public_id=public_id) is None


async def test_give_back(pool: Pool, pizza: Shop) -> None:
    """One turn goes back to the queue, before those that wait; the attempt does not count. Only its owner's gen may."""
    turn = await _turn(pool, pizza, await _queued(pool, pizza, owner="ins_a"))
    await _queued(pool, pizza)

    async def give_back(gen: int, owner: str) -> bool:
        async with unit_of_work(pool) as conn:
            return await turn_leases.give_back(conn, client_id=pizza.id, turn_id=turn.id, gen=gen, owner=owner)

    assert not await give_back(2, "ins_a")
    assert not await give_back(1, "ins_b")
    await _age(pool)
    assert await give_back(1, "ins_a")
    assert not await give_back(1, "ins_a")
    claimed = await _claim_next(pool, pizza, "ins_b")
    assert claimed is not None
    assert (claimed.id, claimed.gen, claimed.attempts, claimed.owner) == (turn.id, 2, 1, "ins_b")


async def test_release(pool: Pool, pizza: Shop) -> None:
    """A draining instance hands back its own running turns; the attempt does not count."""
    mine = await _queued(pool, pizza, owner="ins_a")
    theirs = await _queued(pool, pizza, await another_conversation(pool, pizza.id), owner="ins_b")
    async with unit_of_work(pool) as conn:
        [released] = await turn_leases.release(conn, owner="ins_a")
    assert (released.public_id, released.status, released.gen, released.attempts) == (mine, "queued", 2, 0)
    assert (released.owner, released.lease_until) == (None, None)
    assert (await _turn(pool, pizza, theirs)).status == "running"
    claimed = await _claim_next(pool, pizza, "ins_b")
    assert claimed is not None and (claimed.public_id, claimed.gen, claimed.attempts) == (mine, 2, 1)


async def test_steps(pool: Pool, pizza: Shop) -> None:
    """Steps are read in order; a number is taken once; an older gen ends none; an end is final."""
    turn = await _turn(pool, pizza, await _queued(pool, pizza, owner="ins_a"))
    where: dict[str, Any] = {"client_id": pizza.id, "turn_id": turn.id}
    async with unit_of_work(pool) as conn:
        await turn_steps.create(conn, **where, no=2, kind="tool", state="started", request_hash=b"2", gen=2)
        await turn_steps.create(
            conn, **where, no=1, kind="llm", state="done", request_hash=b"1", gen=1, result={"text": "hi"}
        )
        await turn_steps.finish(conn, **where, no=2, gen=1, state="done", result="stale")
        await turn_steps.finish(conn, **where, no=2, gen=2, state="unknown", result=None)
        await turn_steps.finish(conn, **where, no=2, gen=3, state="done", result="too late")
        one, two = await turn_steps.of_turn(conn, **where)
    assert (one.no, one.kind, one.state, one.result, one.request_hash) == (1, "llm", "done", {"text": "hi"}, b"1")
    assert (two.no, two.kind, two.state, two.result, two.gen) == (2, "tool", "unknown", None, 2)
    assert one.finished_at is not None and two.finished_at is not None
    with pytest.raises(errors.Conflict) as caught:
        async with unit_of_work(pool) as conn:
            await turn_steps.create(conn, **where, no=1, kind="llm", state="done", request_hash=b"x", gen=1)
    assert caught.value.code == "step_exists"
