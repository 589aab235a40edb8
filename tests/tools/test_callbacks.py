"""Callbacks of long tools: who may send them, which end counts, and that none is lost."""

import asyncio
import datetime
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import psycopg
import pytest

from server.errors import Conflict, Gone, Invalid, Malformed, Unauthorized, Unavailable
from server.net import webhooks
from server.net.vault import SIGNING_SECRET
from server.repositories import client_tools, tool_executions, turns
from server.repositories.pool import reading, unit_of_work
from server.tools.tool import Call, Outcome
from server.tools.webhook import callbacks as callbacks_module
from server.tools.webhook.callbacks import PATH, PROGRESS_A_SECOND, PROGRESS_CHARACTERS
from server.tools.webhook.ticket import Ticket
from tests.support import cable, eventually
from tests.tools.instance import Instance, Scene, call_back, new_scene, open_instance, signed, watching

NOWHERE = "https://n8n.example/webhook/tool"


@pytest.fixture
async def here(database_url: str, redis_url: str) -> AsyncIterator[Instance]:
    """An instance."""
    async with open_instance(database_url, redis_url) as instance:
        yield instance


@pytest.fixture
async def there(database_url: str, redis_url: str) -> AsyncIterator[Instance]:
    """Another instance of the same deployment."""
    async with open_instance(database_url, redis_url) as instance:
        yield instance


@pytest.fixture
async def scene(here: Instance) -> Scene:
    """A turn with a tool."""
    return await new_scene(here, NOWHERE, effect="unsafe")


def in_s(seconds: float) -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)


async def started(here: Instance, scene: Scene, no: int = 1, *, expires_s: float = 60) -> tuple[Call, str]:
    """A call that went out, and its callback's address."""
    call = scene.call(no)
    await scene.start(here, call)
    url = here.callbacks.url(call, expires_at=in_s(expires_s))
    assert url is not None
    return call, url


def token_of(url: str) -> str:
    return url.rpartition(PATH)[2]


RESULT = {"type": "result", "result": {"table": 4}}


# --- addresses


async def test_an_address_stands_for_a_call(here: Instance, there: Instance, scene: Scene) -> None:
    """Any instance of the deployment knows it; nothing about it can be changed."""
    call, url = await started(here, scene)
    parts = urlsplit(url)
    assert (parts.scheme, parts.netloc, parse_qs(parts.query)) == ("https", "desk.example", {})
    ticket = there.callbacks.ticket(token_of(url))
    assert (ticket.client_id, ticket.turn_row, ticket.turn_id) == (scene.shop.id, scene.turn_row, scene.turn_id)
    assert (ticket.conversation_id, ticket.key) == (scene.shop.conversation.public_id, call.key)
    assert ticket.tool == "get_order" and 58 < ticket.expires_s - time.time() <= 61


async def test_without_a_public_address_there_is_none(database_url: str, redis_url: str, scene: Scene) -> None:
    """The caller knows before it asks."""
    async with open_instance(database_url, redis_url, public_url=None) as hidden:
        assert not hidden.callbacks.available
        assert hidden.callbacks.url(scene.call(), expires_at=in_s(60)) is None
    async with open_instance(database_url, redis_url, public_url="https://desk.example/sub/") as below:
        url = below.callbacks.url(scene.call(), expires_at=in_s(60))
        assert below.callbacks.available and url is not None
        assert url.startswith("https://desk.example/sub/api/v1/tools/callbacks/")


async def test_a_forged_address_is_nobodys(here: Instance, scene: Scene) -> None:
    """Refused before anything is read; what else is no token: `test_callback_ticket.py`."""
    _, url = await started(here, scene)
    for each in ("", "nonsense", f"{token_of(url)[:-3]}AAA"):
        with pytest.raises(Unauthorized):
            here.callbacks.ticket(each)


async def test_an_address_ends(here: Instance, scene: Scene) -> None:
    """After its time it is gone, however well signed."""
    _, url = await started(here, scene, expires_s=-2)
    with pytest.raises(Gone) as gone:
        here.callbacks.ticket(token_of(url))
    assert (gone.value.status, gone.value.code) == (410, "too_late")


# --- signatures


async def test_an_address_alone_is_worth_nothing(here: Instance, scene: Scene) -> None:
    """Without the tool's secret, with another body, too old, too early, or unsigned: refused, and nothing happens."""
    call, url = await started(here, scene)
    ticket = here.callbacks.ticket(token_of(url))
    body = msgspec.json.encode(RESULT)
    good = signed(scene.secret, body)
    bad: list[dict[str, str]] = [
        {},
        signed(webhooks.new_secret(), body),
        signed(scene.secret, body + b" "),
        signed(scene.secret, body, at=time.time() - 301),
        signed(scene.secret, body, at=time.time() + 301),
        {**good, "webhook-id": "msg_2"},
        {**good, "webhook-timestamp": str(int(good["webhook-timestamp"]) + 1)},
        {**good, "webhook-signature": "v1,"},
        {name: value for name, value in good.items() if name != "webhook-signature"},
    ]
    async with watching(here, scene) as watcher:
        for headers in bad:
            with pytest.raises(Unauthorized):
                await here.callbacks.receive(ticket, headers, body)
        assert watcher.progress == []
    row = await scene.row(here, call)
    assert (row.success, row.error, row.n8n_response) == (None, None, None)
    assert (await here.callbacks.receive(ticket, good, body)).status == "finished"


@pytest.mark.parametrize("change", ["no secret", "unreadable", "rotated", "another client's"])
async def test_without_the_tools_secret_nothing_is_taken(
    here: Instance, scene: Scene, change: str, database_url: str
) -> None:
    """Fails closed."""
    _, url = await started(here, scene)
    seal = here.vault.seal
    sealed = {
        "no secret": None,
        "unreadable": b"garbage",
        "rotated": seal(webhooks.new_secret(), client_id=scene.shop.id, field=SIGNING_SECRET),
        "another client's": seal(scene.secret, client_id=scene.shop.id + 1, field=SIGNING_SECRET),
    }[change]
    with psycopg.connect(database_url) as connection:
        connection.execute("update client_tools set signing_secret = %s", [sealed])
    with pytest.raises(Exception, match=r"signature|ciphertext|changed") as refused:
        await call_back(here, url, scene.secret, RESULT)
    assert refused.type.__name__ in {"Unauthorized", "SecretUnreadable"}


async def test_a_tool_switched_off_meanwhile_may_finish(here: Instance, scene: Scene) -> None:
    """What was begun is told to its end."""
    _, url = await started(here, scene)
    async with unit_of_work(here.pool) as conn:
        tool = await client_tools.find_by_name(conn, client_id=scene.shop.id, tool_name="get_order")
        assert tool is not None
        await client_tools.disable(conn, client_id=scene.shop.id, tool_id=tool.tool_id)
    assert (await call_back(here, url, scene.secret, RESULT)).status == "finished"


# --- bodies


@pytest.mark.parametrize(
    ("body", "error", "field"),
    [
        (b"", Malformed, None),
        (b"{", Malformed, None),
        (b'{"type":"result","result":"\xff"}', Malformed, None),
        (b"[" * 100_000, Malformed, None),
        (b"[]", Invalid, "type"),
        (b"{}", Invalid, "type"),
        (b'{"type":"done"}', Invalid, "type"),
        (b'{"type":"progress"}', Invalid, "text"),
        (b'{"type":"progress","text":7}', Invalid, "text"),
        (b'{"type":"progress","text":" \\n "}', Invalid, "text"),
    ],
)
async def test_bad_bodies(
    here: Instance, scene: Scene, body: bytes, error: type[Malformed | Invalid], field: str | None
) -> None:
    """Each is named, and leaves the call as it was."""
    call, url = await started(here, scene)
    with pytest.raises(error) as refused:
        await here.callbacks.receive(here.callbacks.ticket(token_of(url)), signed(scene.secret, body), body)
    assert refused.value.field == field
    assert (await scene.row(here, call)).success is None


@pytest.mark.parametrize(
    ("said", "recorded", "content"),
    [
        ({"type": "result"}, None, "Done. The system had nothing more to say."),
        ({"type": "result", "result": "Booked \0"}, "Booked \ufffd", "Booked \ufffd"),
        ({"type": "result", "result": [{"a": 1}]}, {"a": 1}, '{"a":1}'),
        ({"type": "result", "result": [1, 2]}, [1, 2], "[1,2]"),
        ({"type": "result", "result": 0, "unknown": 1}, 0, "0"),
    ],
)
async def test_results_of_any_kind(
    here: Instance, scene: Scene, said: dict[str, Any], recorded: Any, content: str
) -> None:
    """As of an answer that came at once."""
    call, url = await started(here, scene)
    await call_back(here, url, scene.secret, said)
    assert await here.callbacks.wait(call, timeout_s=1) == Outcome(True, content, response=recorded)
    row = await scene.row(here, call)
    assert (row.success, row.n8n_response) == (True, recorded)
    assert row.execution_time_ms is not None and 0 <= row.execution_time_ms < 10_000


# --- progress


async def test_progress_is_shown_at_once(here: Instance, there: Instance, scene: Scene) -> None:
    """To whoever watches the conversation, on any instance; long words are cut, lines are joined."""
    _, url = await started(here, scene)
    async with watching(here, scene) as watcher, watching(there, scene) as other:
        for text in ("  Looking\n for\ta table ", "x" * 500):
            assert (await call_back(there, url, scene.secret, {"type": "progress", "text": text})).status == "shown"
        expected = ["Looking for a table", "x" * (PROGRESS_CHARACTERS - 1) + "…"]
        assert await watcher.until(2) == await other.until(2) == expected


async def test_too_much_progress_is_dropped(database_url: str, redis_url: str) -> None:
    """Five a second of one call, without an error: no workflow fails for it. Other calls have their own five."""
    now = 7.5
    async with open_instance(database_url, redis_url, clock=lambda: now) as here:
        scene = await new_scene(here, NOWHERE)
        (_, url), (_, other) = await started(here, scene, 1), await started(here, scene, 2)
        async with watching(here, scene) as watcher:
            for at in range(PROGRESS_A_SECOND + 3):
                taken = await call_back(here, url, scene.secret, {"type": "progress", "text": str(at)})
                assert taken.status == ("shown" if at < PROGRESS_A_SECOND else "dropped")
            await call_back(here, other, scene.secret, {"type": "progress", "text": "other"})
            now = 8.0
            await call_back(here, url, scene.secret, {"type": "progress", "text": "later"})
            assert watcher.progress == ["0", "1", "2", "3", "4", "other", "later"]


async def test_what_is_counted_is_bounded(here: Instance, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest calls are forgotten first."""
    monkeypatch.setattr(callbacks_module, "COUNTED", 3)
    for no in range(10):
        _, url = await started(here, scene, no)
        await call_back(here, url, scene.secret, {"type": "progress", "text": "on it"})
    assert len(here.callbacks._shown) == 3


async def test_no_progress_after_the_end(here: Instance, scene: Scene) -> None:
    """Of the call, or of its turn."""
    (_, url), (_, other) = await started(here, scene, 1), await started(here, scene, 2)
    progress = {"type": "progress", "text": "still working"}
    async with watching(here, scene) as watcher:
        await call_back(here, url, scene.secret, RESULT)
        with pytest.raises(Conflict) as over:
            await call_back(here, url, scene.secret, progress)
        assert (over.value.status, over.value.code) == (409, "already_finished")
        await stop(here, scene)
        with pytest.raises(Gone):
            await call_back(here, other, scene.secret, progress)
        assert watcher.progress == []


async def stop(here: Instance, scene: Scene) -> None:
    async with unit_of_work(here.pool) as conn:
        stopped = await turns.stop(
            conn, client_id=scene.shop.id, conversation_id=scene.shop.cnv, public_id=scene.turn_id
        )
    assert stopped is not None


# --- which end counts


async def test_the_first_end_counts(here: Instance, there: Instance, scene: Scene) -> None:
    """The same callback twice, or another one after it, on whichever instance: 409, and nothing changes."""
    call, url = await started(here, scene)
    await call_back(here, url, scene.secret, RESULT)
    before = await scene.row(here, call)
    for instance in (here, there):
        for said in (RESULT, {"type": "error", "error": "no"}, {"type": "result", "result": 1}):
            with pytest.raises(Conflict) as over:
                await call_back(instance, url, scene.secret, said)
            assert over.value.code == "already_finished"
    assert await scene.row(here, call) == before


async def test_many_at_the_same_moment(here: Instance, there: Instance, scene: Scene) -> None:
    """Twenty different results on two instances: one is taken, and it is the one that counts."""
    call, url = await started(here, scene)

    async def attempt(no: int) -> int | None:
        try:
            await call_back((here, there)[no % 2], url, scene.secret, {"type": "result", "result": no})
        except Conflict:
            return None
        return no

    taken = [no for no in await asyncio.gather(*map(attempt, range(20))) if no is not None]
    assert len(taken) == 1
    assert (await scene.row(here, call)).n8n_response == taken[0]


async def test_too_late(here: Instance, scene: Scene) -> None:
    """Once the waiter has given up, once the turn has ended, or once the record is gone: 410, and nothing changes."""
    (call, url), (other, other_url), (_, third_url) = [await started(here, scene, no) for no in (1, 2, 3)]
    assert await here.callbacks.wait(call, timeout_s=0) is None
    with pytest.raises(Gone):
        await call_back(here, url, scene.secret, RESULT)
    row = await scene.row(here, call)
    assert (row.success, row.error, row.n8n_response) == (None, "no result was called back in time", None)
    await stop(here, scene)
    with pytest.raises(Gone):
        await call_back(here, other_url, scene.secret, RESULT)
    assert (await scene.row(here, other)).success is None
    async with reading(here.pool) as conn:
        await conn.execute("delete from tool_executions")
    with pytest.raises(Gone):
        await call_back(here, third_url, scene.secret, RESULT)


async def test_the_last_moment(here: Instance, there: Instance, scene: Scene) -> None:
    """A callback and the end of the waiting meet, many times: what was acknowledged is what the waiter returns."""
    ends = []

    async def meet(no: int) -> None:
        call, url = await started(here, scene, no)

        # The first two are sure, one way and the other; the rest come close.
        delay_s, timeout_s = ((0.0, 10.0), (1.0, 0.0))[no] if no < 2 else (0.002 * (no % 12), 0.012)

        async def post() -> bool:
            await asyncio.sleep(delay_s)
            try:
                await call_back(there, url, scene.secret, {"type": "result", "result": no})
            except Gone:
                return False
            return True

        acknowledged, outcome = await asyncio.gather(post(), here.callbacks.wait(call, timeout_s=timeout_s))
        assert acknowledged == (outcome is not None)
        if outcome is not None:
            assert (outcome.ok, outcome.response) == (True, no)
        row = await scene.row(here, call)
        assert row.success is (True if acknowledged else None)
        ends.append(acknowledged)

    for no in range(60):
        await meet(no)
    assert True in ends and False in ends, "both ways of it were seen"


async def test_a_result_for_whoever_takes_the_turn_over(here: Instance, scene: Scene) -> None:
    """The instance that waited is gone and its lease has run out: the result is taken, and stands for the next one."""
    call, url = await started(here, scene)
    async with reading(here.pool) as conn:
        await conn.execute("update turns set lease_until = clock_timestamp() - interval '1 second'")
    assert (await call_back(here, url, scene.secret, RESULT)).status == "finished"
    outcome = await here.callbacks.wait(call, timeout_s=5)
    assert outcome is not None and outcome.response == {"table": 4}


async def test_a_stale_waiter_ends_nothing(here: Instance, there: Instance, scene: Scene) -> None:
    """The call was started again by whoever took the turn over: its end is theirs to wait for."""
    call, url = await started(here, scene)
    await scene.start(there, call)
    assert await here.callbacks.wait(call, timeout_s=0) is None
    assert (await call_back(here, url, scene.secret, RESULT)).status == "finished"
    again = msgspec.structs.replace(call, attempt=2)
    outcome = await there.callbacks.wait(again, timeout_s=5)
    assert outcome is not None and outcome.ok


async def test_an_end_in_doubt_does_not_bind_the_next_attempt(here: Instance, scene: Scene) -> None:
    """Given up in doubt, then started again after a crash: the callback of the new attempt counts."""
    call, url = await started(here, scene)
    assert await here.callbacks.wait(call, timeout_s=0) is None
    await scene.start(here, call)
    assert (await call_back(here, url, scene.secret, RESULT)).status == "finished"


# --- waiting


async def test_the_waiter_is_woken(
    here: Instance, there: Instance, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a callback on another instance, through Redis: long before it would have looked by itself."""
    monkeypatch.setattr(callbacks_module, "LOOK_S", 60.0)
    call, url = await started(here, scene)
    waiting = asyncio.create_task(here.callbacks.wait(call, timeout_s=30))
    await until_waiting(here, call)
    await call_back(there, url, scene.secret, RESULT)
    async with asyncio.timeout(5):
        outcome = await waiting
    assert outcome is not None and outcome.ok


async def until_waiting(here: Instance, call: Call) -> None:
    async def waits() -> bool:
        return call.key in here.signals._waiting

    await eventually(waits, "somebody waits")


async def test_without_redis_it_looks_by_itself(
    database_url: str, worker_redis_url: str, redis_url: str, scene: Scene, tmp_path: Path
) -> None:
    """Redis is gone: within about a second the result is there all the same."""
    target = Path(urlsplit(redis_url).path)
    async with (
        cable(target, tmp_path / "redis.sock") as wire,
        open_instance(database_url, f"unix://{wire.path}") as here,
        open_instance(database_url, f"unix://{wire.path}") as there,
    ):
        call, url = await started(here, scene)
        waiting = asyncio.create_task(here.callbacks.wait(call, timeout_s=30))
        await until_waiting(here, call)
        await wire.cut()
        began = time.monotonic()
        assert (await call_back(there, url, scene.secret, RESULT)).status == "finished"
        outcome = await waiting
        assert outcome is not None and outcome.response == {"table": 4}
        assert time.monotonic() - began < 5


async def test_without_postgres_nothing_is_acknowledged(
    database_url: str, redis_url: str, scene: Scene, tmp_path: Path
) -> None:
    """The sender hears so and comes again; the waiter lives through it and gets the result."""
    [folder] = parse_qs(urlsplit(database_url).query)["host"]
    async with cable(Path(folder) / ".s.PGSQL.5432", tmp_path / ".s.PGSQL.5432") as wire:
        cut_url = database_url.replace(folder, str(tmp_path))
        async with open_instance(cut_url, redis_url) as here:
            call, url = await started(here, scene)
            waiting = asyncio.create_task(here.callbacks.wait(call, timeout_s=30))
            await until_waiting(here, call)
            await wire.cut()
            with pytest.raises(Unavailable):
                await call_back(here, url, scene.secret, RESULT)
            await wire.mend()

            async def taken() -> bool:
                try:
                    return (await call_back(here, url, scene.secret, RESULT)).status == "finished"
                except Unavailable:
                    return False

            await eventually(taken, "the callback is taken")
            outcome = await waiting
            assert outcome is not None and outcome.ok


async def test_waiting_holds_no_connection(here: Instance, scene: Scene) -> None:
    """More calls wait than the pool has connections, and a callback is taken all the same."""
    begun = [await started(here, scene, no) for no in range(20)]
    waiting = [asyncio.create_task(here.callbacks.wait(call, timeout_s=30)) for call, _ in begun]
    for call, _ in begun:
        await until_waiting(here, call)
    await asyncio.gather(*(call_back(here, url, scene.secret, RESULT) for _, url in begun))
    outcomes = await asyncio.gather(*waiting)
    assert all(outcome is not None and outcome.ok for outcome in outcomes)
    assert here.signals._waiting == {}


async def test_a_cancelled_wait_leaves_the_call_open(here: Instance, scene: Scene) -> None:
    """The instance shuts down or the turn is stopped: whoever goes on with it decides."""
    call, _ = await started(here, scene)
    waiting = asyncio.create_task(here.callbacks.wait(call, timeout_s=30))
    await until_waiting(here, call)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    row = await scene.row(here, call)
    assert (row.success, row.error) == (None, None) and here.signals._waiting == {}


async def test_another_clients_call_is_out_of_reach(here: Instance, scene: Scene) -> None:
    """A ticket names its client, and every statement does: another client's turn of that number is not found."""
    theirs = await new_scene(here, NOWHERE, effect="unsafe", name="other")
    call, _ = await started(here, scene)
    mixed = Ticket(
        client_id=theirs.shop.id,
        turn_row=scene.turn_row,
        turn_id=scene.turn_id,
        conversation_id=scene.shop.conversation.public_id,
        key=call.key,
        tool="other",
        sent_ms=0,
        expires_s=int(time.time()) + 60,
    )
    body = msgspec.json.encode(RESULT)
    with pytest.raises(Gone):
        await here.callbacks.receive(mixed, signed(theirs.secret, body), body)
    async with reading(here.pool) as conn:
        row = await tool_executions.find_call(conn, client_id=scene.shop.id, turn_id=scene.turn_row, call_id=call.key)
    assert row is not None and row.success is None
