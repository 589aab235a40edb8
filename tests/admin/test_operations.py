"""What runs, over HTTP: the same from every instance."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest

from server import __version__
from server.jobs import retention
from server.repositories.pool import open_pool
from server.settings import Settings
from server.turns import supervisor
from tests.admin.console import BASE, Console
from tests.flows.support import Desk, open_desk
from tests.staffing import hire
from tests.support import cable, eventually
from tests.wire_servers import Answer, WireServer

NEEDS = {f"GET {BASE}/operations": "owner"}


async def look(console: Console) -> dict[str, Any]:
    """What runs now."""
    answer = await console.http.get(f"{BASE}/operations")
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def test_at_rest(console: Console) -> None:
    """One instance, nothing to do, Postgres and Redis with version and time."""
    told = await look(console)
    [instance] = told["instances"]
    assert (instance["alive"], instance["here"], instance["version"]) == (True, True, __version__)
    assert (instance["visitor_sockets"], instance["running_turns"], instance["draining"]) == (0, 0, False)
    turns = told["turns"]
    assert (turns["running"], turns["queued"], turns["stuck"], turns["rows"]) == (0, 0, 0, [])
    assert (turns["oldest_queued_s"], turns["oldest_running_s"]) == (None, None)
    postgres, redis = told["postgres"], told["redis"]
    assert postgres["ok"] and postgres["migrations_missing"] == 0 and 0 < postgres["ms"] < 5_000
    assert int(postgres["version"].split(".")[0]) >= 15
    assert redis["ok"] and redis["version"][0].isdigit() and redis["used_memory_bytes"] > 0
    assert (told["models"], told["window_s"]) == ([], 900)
    assert (told["retention"]["run_at"], told["retention"]["overdue"]) == (None, False)


async def test_from_the_other_instance(two: Desk, model: WireServer) -> None:
    """Sockets, a running turn and the model's figures of one instance are seen from the other."""
    shop = await two.shop("pizza")
    model.script(Answer("Hello there"), Answer("One two three four", stall_after=2))
    async with Console.of(two.instances[1].url) as console:
        await console.sign_in(await hire(two.pool, two.keyring))
        async with two.visit(shop, on=0) as (tab, _):
            await tab.say("Hello")
            await tab.end()
            await tab.say("And now?")

            async def seen() -> bool:
                told = await look(console)
                there = next(each for each in told["instances"] if not each["here"])
                figures = (there["alive"], there["visitor_sockets"], there["running_turns"])
                return figures == (True, 1, 1) and bool(told["models"])

            await eventually(seen, "the other instance tells")
            told = await look(console)
            [row] = told["turns"]["rows"]
            assert (row["client_id"], row["client_name"], row["status"]) == (shop.id, "pizza", "running")
            assert (row["attempts"], row["why"]) == (1, None)
            assert row["instance"] == next(each["instance"] for each in told["instances"] if not each["here"])
            [figures] = told["models"]
            assert (figures["provider"], figures["calls"], figures["failed"]) == ("openai", 1, 0)
            assert figures["error_rate"] == 0 and figures["errors"] == {}
            assert 0 < figures["first_p50_ms"] <= figures["whole_p95_ms"]


async def test_without_redis(settings: Settings, tmp_path: Path) -> None:
    """It answers, says that Redis is away and why, and shows the instances all the same."""
    line = tmp_path / "redis.sock"
    async with (
        cable(Path(urlsplit(settings.redis_url).path), line) as redis,
        open_desk(msgspec.structs.replace(settings, redis_url=f"unix://{line}")) as desk,
        Console.of(desk.url) as console,
    ):
        await console.sign_in(await hire(desk.pool, desk.keyring))
        await redis.cut()

        async def away() -> bool:
            return bool((await look(console))["instances"][0]["redis_away"])

        await eventually(away, "the instance knows")
        told = await look(console)
        assert told["redis"]["ok"] is False and told["redis"]["ms"] is None
        assert "Redis cannot be reached" in told["redis"]["detail"]


async def test_one_that_was_killed(console: Console, desk: Desk) -> None:
    """Its row is there for a while, and says that it does not live."""
    await desk.rows(
        "insert into instances (instance, version, started_at, seen_at, figures) "
        "values ('ins_dead', '0.0.1', now(), now(), '{\"told\": \"by another version\"}')"
    )
    rows = {row["instance"]: row for row in (await look(console))["instances"]}
    dead = rows["ins_dead"]
    assert (dead["alive"], dead["here"], dead["memory_bytes"], dead["visitor_sockets"]) == (False, False, None, 0)
    assert sum(row["alive"] for row in rows.values()) == 1


async def test_retention_is_seen(console: Console, desk: Desk) -> None:
    """Overdue until it has run; then when it ran."""
    shop = await desk.shop()
    async with desk.visit(shop) as (tab, _):
        await tab.say("Hello")
        await tab.end()
    await desk.rows("update events set created_at = now() - interval '32 days'")
    before = (await look(console))["retention"]
    assert before["overdue"] and before["oldest_event_at"] < before["oldest_content_at"]
    pool = await open_pool(desk.settings.database_url, max_size=1, application_name="test")
    try:
        await retention.run(pool)
    finally:
        await pool.close()
    after = (await look(console))["retention"]
    assert (after["overdue"], after["oldest_event_at"]) == (False, None)
    assert after["run_at"] is not None and after["oldest_content_at"] == before["oldest_content_at"]


async def test_a_stuck_turn_says_why(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """In words, where nobody sweeps any more."""
    monkeypatch.setattr(supervisor, "SWEEP_S", 3600.0)
    async with open_desk(settings) as desk, Console.of(desk.url) as console:
        await console.sign_in(await hire(desk.pool, desk.keyring))
        await desk.rows(
            """
            with c as (
                insert into conversations (
                    public_id, client_id, session_id, session_token_hash, channel, locale, epoch
                ) values ('c', %s, 's', 'h', 'api', 'en', 'e') returning id, client_id
            ), m as (
                insert into messages (public_id, client_id, conversation_id, role, seq)
                select 'm', client_id, id, 'user', 1 from c returning id, client_id, conversation_id
            )
            insert into turns (public_id, client_id, conversation_id, message_id, answer_id, status, created_at)
            select 't', client_id, conversation_id, id, 'a', 'queued', now() - interval '1 minute' from m
            """,
            (await desk.shop()).id,
        )
        turns = (await look(console))["turns"]
        assert (turns["queued"], turns["stuck"]) == (1, 1) and 60 <= turns["oldest_queued_s"] < 120
        [row] = turns["rows"]
        assert (row["why"], row["status"]) == ("it waits, and no instance takes it", "queued")
