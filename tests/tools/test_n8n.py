"""Webhook tools over real sockets, in good and in bad weather, through the real way out."""

import asyncio
import datetime
import ipaddress
import re
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from server.net.vault import SIGNING_SECRET
from server.tools.tool import Effect, Outcome, Webhook
from server.tools.webhook.breaker import FAILURES, REST_S, Breakers
from tests.tools.instance import Instance, Scene, call_back, new_scene, open_instance, watching
from tests.tools.webhook_server import Received, Reply, WebhookServer, says, text, webhook_server

EFFECTS: tuple[Effect, ...] = ("read_only", "idempotent", "unsafe")


@pytest.fixture
async def shop() -> AsyncIterator[WebhookServer]:
    """The client's webhook."""
    async with webhook_server() as server:
        yield server


@pytest.fixture
async def here(database_url: str, redis_url: str) -> AsyncIterator[Instance]:
    """An instance that can be called back."""
    async with open_instance(database_url, redis_url) as instance:
        yield instance


def error_of(outcome: Outcome) -> str:
    """What the model reads of a failure: an object with `error` and nothing else."""
    assert not outcome.ok
    said = msgspec.json.decode(outcome.content, type=dict[str, str])
    assert set(said) == {"error"}
    return said["error"]


def swap(scene: Scene, **changes: Any) -> Scene:
    """The same with another webhook configuration."""
    assert isinstance(scene.tool.source, Webhook)
    source = msgspec.structs.replace(scene.tool.source, **changes)
    return msgspec.structs.replace(scene, tool=msgspec.structs.replace(scene.tool, source=source))


async def test_the_request_is_the_contract(here: Instance, shop: WebhookServer) -> None:
    """One POST that says everything, signed so that the reference implementation takes it."""
    scene = await new_scene(here, shop.url)
    call = scene.call(order_id="12345")
    shop.script(says({"status": "shipped"}))
    outcome = await here.run(scene, call)
    assert (outcome.ok, outcome.content, outcome.response) == (True, '{"status":"shipped"}', {"status": "shipped"})
    [request] = shop.requests
    request.verify(scene.secret)
    assert (request.method, request.path) == ("POST", "/webhook/tool")
    assert request.headers["content-type"] == "application/json"
    assert request.headers["idempotency-key"] == request.headers["webhook-id"] == call.key == f"{scene.turn_id}:1"
    assert abs(int(request.headers["webhook-timestamp"]) - time.time()) < 10
    said = request.json
    callback = said.pop("callback")
    assert said == {
        "tool": "get_order",
        "arguments": {"order_id": "12345"},
        "call": {"id": call.key, "attempt": 1},
        "conversation": {"id": scene.shop.conversation.public_id, "locale": "en", "channel": "widget"},
        "client": {"id": scene.shop.id, "key": scene.shop.client.public_key, "name": "pizza"},
        "visitor": {"id": "c-17", "email": "ann@example.com", "name": "Ann"},
        "config": {"shop": 7},
    }
    assert callback["url"].startswith("https://desk.example/api/v1/tools/callbacks/")
    expires = datetime.datetime.fromisoformat(callback["expires_at"])
    assert 3 < (expires - datetime.datetime.now(datetime.UTC)).total_seconds() < 5
    assert scene.secret not in request.body.decode() and scene.secret.removeprefix("whsec_") not in str(request.headers)


async def test_nobody_verified_and_nobody_to_call_back_are_null(
    database_url: str, redis_url: str, shop: WebhookServer
) -> None:
    """An unverified visitor is null, whatever the model says; without a public address so is the callback."""
    async with open_instance(database_url, redis_url, public_url=None) as here:
        scene = await new_scene(here, shop.url)
        call = scene.call(visitor="c-18")
        nobody = msgspec.structs.replace(call.caller, visitor=None)
        await here.run(scene, msgspec.structs.replace(call, caller=nobody))
    said = shop.requests[0].json
    assert (said["visitor"], said["callback"], said["arguments"]) == (None, None, {"visitor": "c-18"})


@pytest.mark.parametrize(
    ("reply", "content"),
    [
        pytest.param(says({"a": [1, 2]}), '{"a":[1,2]}', id="object"),
        pytest.param(says([{"a": 1}, {"a": 2}]), '[{"a":1},{"a":2}]', id="items"),
        pytest.param(says([{"a": 1}]), '{"a":1}', id="n8n's single item"),
        pytest.param(says([]), "[]", id="no items"),
        pytest.param(says({"myField": {"a": 1}}), '{"myField":{"a":1}}', id="put in a field"),
        pytest.param(says(42), "42", id="number"),
        pytest.param(says(False), "false", id="false"),
        pytest.param(text("Shipped <b>today</b>"), "Shipped <b>today</b>", id="text"),
        pytest.param(text("Shipped", content_type="text/html"), "Shipped", id="n8n's text, sent as HTML"),
        pytest.param(text('{"a":1}', content_type="text/html"), '{"a":1}', id="JSON by another name"),
        pytest.param(Reply(body=b"\xef\xbb\xbf[1]"), "[1]", id="with a byte order mark"),
        pytest.param(Reply(), "Done. The system had nothing more to say.", id="empty"),
        pytest.param(Reply(status=204, content_type=None), "Done. The system had nothing more to say.", id="204"),
        pytest.param(says(None), "Done. The system had nothing more to say.", id="null"),
        pytest.param(
            says({"message": "Workflow executed successfully but no data was returned"}),
            "Done. The system had nothing more to say.",
            id="n8n without data",
        ),
        pytest.param(says({"error": None, "a": 1}), '{"error":null,"a":1}', id="no error"),
        pytest.param(says({"a": "\0"}), '{"a":"\ufffd"}', id="what Postgres cannot store"),
        pytest.param(Reply(body=b'{"a":"\\ud83d"}'), '{"a":"\ufffd"}', id="half an emoji"),
    ],
)
async def test_good_answers(here: Instance, shop: WebhookServer, reply: Reply, content: str) -> None:
    """JSON of any shape, text, nothing: the model reads it, and it can be recorded."""
    scene = await new_scene(here, shop.url)
    shop.script(reply)
    outcome = await here.run(scene, scene.call())
    assert (outcome.ok, outcome.content, outcome.error, outcome.in_doubt) == (True, content, None, False)


async def test_a_big_answer_is_recorded_whole_and_read_in_part(here: Instance, shop: WebhookServer) -> None:
    """1 MB is the most; the model reads 16 KB of whole items, and how many are left out."""
    scene = await new_scene(here, shop.url)
    items = [{"name": f"item {no}", "about": "é" * 100} for no in range(4_000)]
    shop.script(says(items))
    outcome = await here.run(scene, scene.call())
    assert outcome.ok and outcome.response == items
    assert len(outcome.content.encode()) <= 16_384
    *kept, mark = msgspec.json.decode(outcome.content)
    assert kept == items[: len(kept)] and mark == f"[{4_000 - len(kept)} of 4000 items left out]"


N8N_404 = {
    "code": 404,
    "message": 'The requested webhook "POST tool" is not registered.',
    "hint": "The workflow must be active for a production URL to run successfully.",
}
NOT_STARTED = {"code": 0, "message": "Workflow Webhook Error: Workflow could not be started!"}
PAGE = "<!DOCTYPE html><html><body>Log in at db.internal</body></html>"


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """A bad answer: what the operator and the model read, and whether an effect may have happened."""

    reply: Reply
    error: str
    words: str
    doubt: bool
    tries: int = 1
    timeout_ms: int = 5_000


BAD = {
    "not registered": Case(reply=says(N8N_404, 404), error="is not registered", words="set up", doubt=False),
    "not started": Case(reply=says(NOT_STARTED, 500), error="not be started", words="had an error", doubt=False),
    "failed within": Case(
        reply=says({"message": "Error in workflow"}, 500), error="HTTP 500: Error in", words="an error", doubt=True
    ),
    "started only": Case(
        reply=says({"message": "Workflow was started"}), error="before there was a result", words="handed", doubt=True
    ),
    "says an error": Case(
        reply=says({"error": "This slot is taken"}), error="This slot is taken", words="This slot is taken", doubt=False
    ),
    "n8n's error item": Case(
        reply=says([{"error": {"message": "Bad order number", "name": "NodeApiError"}}]),
        error="Bad order number",
        words="Bad order number",
        doubt=False,
    ),
    "an error with internals": Case(
        reply=says({"error": "connect ECONNREFUSED 10.0.0.5:5432"}), error="10.0.0.5", words="had an error", doubt=False
    ),
    "a stack trace": Case(
        reply=says({"error": "TypeError: x is undefined\n    at /home/node/a.js:3:1"}),
        error="/home/node",
        words="had an error",
        doubt=False,
    ),
    "refused with a reason": Case(
        reply=says({"error": "No table for 40 people"}, 422), error="HTTP 422", words="No table for 40", doubt=False
    ),
    "our signature refused": Case(
        reply=text("Invalid signature", 401), error="does the webhook check", words="set up", doubt=False
    ),
    "forbidden": Case(reply=says({"message": "no"}, 403), error="HTTP 403: no", words="set up", doubt=False),
    "500 in plain text": Case(reply=text("kaboom at db.internal", 500), error="kaboom", words="an error", doubt=True),
    "a page": Case(reply=text(PAGE, content_type="text/html"), error="an HTML page", words="be used", doubt=True),
    "a page by another name": Case(reply=text(PAGE), error="an HTML page", words="cannot be used", doubt=True),
    "a proxy's page": Case(
        reply=text(PAGE, 502, content_type="text/html"), error="HTTP 502", words="had an error", doubt=True, tries=2
    ),
    "unavailable": Case(reply=text("", 503), error="HTTP 503", words="had an error", doubt=True, tries=2),
    "a gateway's time-out": Case(reply=text("", 504), error="HTTP 504", words="had an error", doubt=True, tries=2),
    "too many": Case(reply=text("", 429), error="HTTP 429", words="too busy", doubt=False, tries=2),
    "redirect": Case(
        reply=Reply(status=302, headers={"location": "http://169.254.169.254/"}), error="not followed", words="set up",
        doubt=True,
    ),
    "not text": Case(
        reply=Reply(body=b"\x89PNG\xff\xfe", content_type="image/png"), error="not UTF-8", words="cannot be used",
        doubt=True,
    ),
    "too large": Case(reply=Reply(length=4_000_000), error="more than", words="cannot be used", doubt=True),
    "not HTTP": Case(reply=Reply(raw=b"SSH-2.0-OpenSSH_9\r\n"), error="broken", words="reached", doubt=True, tries=2),
    "cut before the answer": Case(reply=Reply(cut_at=-1), error="broken", words="reached", doubt=True, tries=2),
    "cut within the answer": Case(
        reply=Reply(body=b'{"a": "bcdefg"}', cut_at=5), error="broken", words="reached", doubt=True, tries=2
    ),
    "too slow": Case(
        reply=Reply(wait_s=60), error="timeout", words="in time", doubt=True, tries=2, timeout_ms=300
    ),
    "a byte a second": Case(
        reply=says({"a": "bcdefg"}, drip_s=1), error="timeout", words="in time", doubt=True, tries=2,
        timeout_ms=300,
    ),
}  # fmt: skip


@pytest.mark.parametrize("effect", EFFECTS)
@pytest.mark.parametrize("name", BAD)
async def test_bad_answers(here: Instance, shop: WebhookServer, name: str, effect: Effect) -> None:
    """Each is a failure with the whole reason for the operator and plain words for the model, and nothing of an inside.

    An unsafe tool is never tried twice; the others once more where that may help, with the same key.
    """
    case = BAD[name]
    scene = await new_scene(here, shop.url, effect=effect, timeout_ms=case.timeout_ms)
    shop.default = case.reply
    call = scene.call(budget_s=15.0)
    began = time.monotonic()
    outcome = await here.run(scene, call)
    assert time.monotonic() - began < 5.0
    words = error_of(outcome)
    assert outcome.error is not None and case.error in outcome.error
    assert case.words in words
    for inside in ("127.0.0.1", "10.0.0.5", "internal", "/home", "ECONN", "html", "http"):
        assert inside not in words
    assert outcome.in_doubt == (case.doubt and effect != "read_only")
    assert ("not known whether it was done" in words) == outcome.in_doubt
    tries = 1 if effect == "unsafe" else case.tries
    assert shop.effects == {call.key: tries}
    assert [each.body for each in shop.requests] == [shop.requests[0].body] * tries


async def test_a_flood_is_not_read_to_its_end(here: Instance, shop: WebhookServer) -> None:
    """1 GB: it ends at the limit, and what was read of it is a few megabytes at most."""
    scene = await new_scene(here, shop.url, timeout_ms=5_000)
    shop.script(Reply(length=1_000_000_000))
    outcome = await here.run(scene, scene.call())
    assert "cannot be used" in error_of(outcome)
    await shop.until(lambda server: server.abandoned == 1)
    assert shop.written < 20_000_000


@pytest.mark.parametrize("effect", EFFECTS)
async def test_nobody_there(here: Instance, effect: Effect) -> None:
    """Refused: nothing can have happened, so it is no matter of doubt."""
    async with webhook_server() as server:
        scene = await new_scene(here, server.url, effect=effect)
    outcome = await here.run(scene, scene.call())
    assert "cannot be reached" in error_of(outcome)
    assert ("nothing was done" in outcome.content) == (effect != "read_only")
    assert not outcome.in_doubt and outcome.error is not None and outcome.error.startswith("refused: ")


async def test_a_wrong_certificate(here: Instance, tmp_path: Path) -> None:
    """Self-signed: nothing is sent."""
    async with webhook_server(self_signed(tmp_path)) as server:
        scene = await new_scene(here, server.url, effect="unsafe")
        outcome = await here.run(scene, scene.call())
        assert server.requests == []
    assert outcome.error is not None and outcome.error.startswith("tls: ")
    assert "not set up" in error_of(outcome) and not outcome.in_doubt


async def test_an_address_inside_is_not_called(here: Instance) -> None:
    """What egress forbids is a failure of ours: it counts against nobody."""
    scene = await new_scene(here, "http://169.254.169.254/latest")
    for _ in range(FAILURES + 1):
        outcome = await here.run(scene, scene.call())
        assert outcome.error is not None and outcome.error.startswith("forbidden: ")
        assert "169.254" not in outcome.content


@pytest.mark.parametrize("effect", ["read_only", "idempotent"])
async def test_a_second_try_may_do(here: Instance, shop: WebhookServer, effect: Effect) -> None:
    """Broken once: the same key again, a fresh signature, and the answer counts."""
    scene = await new_scene(here, shop.url, effect=effect)
    shop.script(Reply(cut_at=-1), says({"ok": 1}))
    call = scene.call()
    outcome = await here.run(scene, call)
    assert (outcome.ok, outcome.content) == (True, '{"ok":1}')
    assert shop.effects == {call.key: 2}
    for request in shop.requests:
        request.verify(scene.secret)


async def test_retry_after_is_kept(here: Instance, shop: WebhookServer) -> None:
    """A second try waits as long as it is told to, and is left where that is longer than the turn has."""
    scene = await new_scene(here, shop.url)
    shop.script(text("", 429), says(1))
    shop.default = Reply(status=503, headers={"retry-after": "1"})
    assert (await here.run(scene, scene.call(1))).ok
    began = time.monotonic()
    assert not (await here.run(scene, scene.call(2))).ok
    assert time.monotonic() - began >= 1
    shop.default = Reply(status=503, headers={"retry-after": "Wed, 21 Oct 2037 07:28:00 GMT"})
    assert not (await here.run(scene, scene.call(3))).ok
    assert [shop.effects[scene.call(no).key] for no in (1, 2, 3)] == [2, 2, 1]


async def test_no_second_try_without_time_for_it(here: Instance, shop: WebhookServer) -> None:
    """The first took all there was."""
    scene = await new_scene(here, shop.url, timeout_ms=60_000)
    shop.default = Reply(wait_s=60)
    call = scene.call(budget_s=0.8)
    began = time.monotonic()
    assert "in time" in error_of(await here.run(scene, call))
    assert time.monotonic() - began < 3
    assert shop.effects == {call.key: 1}


async def test_a_call_without_time_is_not_made(here: Instance, shop: WebhookServer) -> None:
    """What could not be waited for is not begun."""
    scene = await new_scene(here, shop.url, effect="unsafe")
    outcome = await here.run(scene, scene.call(budget_s=0.1))
    assert "nothing was done" in error_of(outcome) and not outcome.in_doubt
    assert shop.requests == []


@pytest.mark.parametrize("sealed", ["none", "garbage", "another client's", "no secret"])
async def test_without_a_readable_secret_nothing_is_sent(here: Instance, shop: WebhookServer, sealed: str) -> None:
    """Fails closed, and tells the operator why."""
    scene = await new_scene(here, shop.url)
    seal = here.vault.seal
    secrets = {
        "none": None,
        "garbage": b"garbage",
        "another client's": seal(scene.secret, client_id=scene.shop.id + 1, field=SIGNING_SECRET),
        "no secret": seal("hunter2", client_id=scene.shop.id, field=SIGNING_SECRET),
    }
    scene = swap(scene, signing_secret=secrets[sealed])
    outcome = await here.run(scene, scene.call())
    assert "not set up" in error_of(outcome)
    assert outcome.error is not None and "secret" in outcome.error and "hunter2" not in outcome.error
    assert shop.requests == []


async def test_a_stopped_turn_hangs_up(here: Instance, shop: WebhookServer) -> None:
    """A cancelled call lets go of its connection at once, and says nothing about the other side."""
    scene = await new_scene(here, shop.url, timeout_ms=60_000)
    shop.default = Reply(wait_s=60)
    task = asyncio.create_task(here.run(scene, scene.call(budget_s=60)))
    await shop.until(lambda server: len(server.requests) == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await shop.until(lambda server: server.abandoned == 1)


async def test_ten_calls_at_once_take_as_long_as_one(here: Instance, shop: WebhookServer) -> None:
    """They wait side by side."""
    scene = await new_scene(here, shop.url)
    shop.default = says(1, wait_s=0.5)
    began = time.monotonic()
    outcomes = await asyncio.gather(*(here.run(scene, scene.call(no)) for no in range(10)))
    assert all(outcome.ok for outcome in outcomes)
    assert time.monotonic() - began < 2.5, "one after the other is 5 s"


# --- the circuit breaker


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


async def test_a_webhook_that_keeps_failing_is_left_alone(
    database_url: str, redis_url: str, shop: WebhookServer
) -> None:
    """Five failures, then calls fail at once and say so; after the rest one trial, and a good one closes it."""
    clock = Clock()
    async with open_instance(database_url, redis_url, breakers=Breakers(clock)) as here:
        scene = await new_scene(here, shop.url, effect="unsafe")
        shop.default = text("", 500)
        for no in range(FAILURES):
            assert (await here.run(scene, scene.call(no))).in_doubt
        assert len(shop.requests) == FAILURES
        resting = await here.run(scene, scene.call(10))
        assert "cannot be reached right now; nothing was done" in error_of(resting) and not resting.in_doubt
        assert resting.error is not None and re.search(r"failed 5 times in a row; next try in 30 s", resting.error)
        assert len(shop.requests) == FAILURES
        clock.now += REST_S
        assert not (await here.run(scene, scene.call(11))).ok
        assert len(shop.requests) == FAILURES + 1
        assert "not called" in str((await here.run(scene, scene.call(12))).error)
        clock.now += REST_S
        shop.default = says(1)
        for no in (13, 14):
            assert (await here.run(scene, scene.call(no))).ok


async def test_a_refusal_is_no_failure_of_the_other_side(here: Instance, shop: WebhookServer) -> None:
    """Bad arguments of one visitor do not shut the tool to the others."""
    scene = await new_scene(here, shop.url)
    shop.default = says({"error": "no such order"}, 404)
    for no in range(2 * FAILURES):
        await here.run(scene, scene.call(no))
    assert len(shop.requests) == 2 * FAILURES


# --- 202: the result comes later


async def test_progress_and_result_come_later(here: Instance, shop: WebhookServer) -> None:
    """The visitor sees the progress; the result is the outcome, as if it had come at once."""
    scene = await new_scene(here, shop.url, effect="unsafe")
    shop.script(says({"message": "Workflow was started"}, 202))
    call = scene.call()
    async with watching(here, scene) as watcher:
        running = asyncio.create_task(here.run(scene, call))
        await shop.until(lambda server: len(server.requests) == 1)
        url = shop.requests[0].json["callback"]["url"]
        for words in ("Looking for a table", "Found one"):
            taken = await call_back(here, url, scene.secret, {"type": "progress", "text": words})
            assert taken.status == "shown"
        assert await watcher.until(2) == ["Looking for a table", "Found one"]
        assert not running.done()
        taken = await call_back(here, url, scene.secret, {"type": "result", "result": [{"table": 4}]})
        assert taken.status == "finished"
    outcome = await running
    assert (outcome.ok, outcome.content, outcome.response) == (True, '{"table":4}', {"table": 4})
    row = await scene.row(here, call)
    assert (row.success, row.n8n_response, row.error) == (True, {"table": 4}, None)
    assert shop.effects == {call.key: 1}


@pytest.mark.parametrize(
    ("said", "words", "error"),
    [
        ({"type": "error", "error": "The kitchen is closed"}, "The kitchen is closed", "The kitchen is closed"),
        (
            {"type": "error", "error": {"message": "at 10.0.0.5:80"}},
            "the business's system had an error",
            "at 10.0.0.5:80",
        ),
        ({"type": "error"}, "the tool said only that it failed", "the tool said only that it failed"),
        ({"type": "result", "result": {"error": "Sold out"}}, "Sold out", "Sold out"),
    ],
)
async def test_a_failure_comes_later(
    here: Instance, shop: WebhookServer, said: dict[str, Any], words: str, error: str
) -> None:
    """The tool says itself that it failed, so nothing is in doubt."""
    scene = await new_scene(here, shop.url, effect="unsafe")

    async def accept(request: Received) -> Reply:
        await call_back(here, request.json["callback"]["url"], scene.secret, said)
        return Reply(status=202)

    shop.script(accept)
    call = scene.call()
    outcome = await here.run(scene, call)
    assert (error_of(outcome), outcome.error, outcome.in_doubt) == (words, error, False)
    assert (await scene.row(here, call)).success is False


async def test_a_result_that_overtakes_its_own_answer(here: Instance, shop: WebhookServer) -> None:
    """It called back and only then failed to answer: the acknowledged result counts, and nothing is tried again."""
    scene = await new_scene(here, shop.url, effect="unsafe", timeout_ms=500)

    async def stall(request: Received) -> Reply:
        await call_back(here, request.json["callback"]["url"], scene.secret, {"type": "result", "result": "Booked"})
        return Reply(wait_s=60)

    shop.script(stall)
    outcome = await here.run(scene, scene.call())
    assert (outcome.ok, outcome.content) == (True, "Booked")
    assert len(shop.requests) == 1


@pytest.mark.parametrize("effect", EFFECTS)
async def test_nobody_calls_back(here: Instance, shop: WebhookServer, effect: Effect) -> None:
    """The budget's end is the end: in doubt, but for what only looks something up."""
    scene = await new_scene(here, shop.url, effect=effect)
    shop.script(Reply(status=202))
    call = scene.call(budget_s=1.0)
    began = time.monotonic()
    outcome = await here.run(scene, call)
    assert time.monotonic() - began < 3
    assert "in time" in error_of(outcome) and outcome.in_doubt == (effect != "read_only")
    assert outcome.error is not None and "no result was called back" in outcome.error
    row = await scene.row(here, call)
    assert (row.success, row.error) == (None, "no result was called back in time")


async def test_accepted_without_a_way_to_call_back(database_url: str, redis_url: str, shop: WebhookServer) -> None:
    """A deployment that does not say where it is reached cannot be called back: told at once."""
    async with open_instance(database_url, redis_url, public_url=None) as here:
        scene = await new_scene(here, shop.url, effect="unsafe")
        shop.script(Reply(status=202))
        outcome = await here.run(scene, scene.call())
    assert outcome.in_doubt and outcome.error is not None and "FRONTDESK_PUBLIC_URL" in outcome.error


async def test_a_call_of_another_kind_is_a_bug(here: Instance, shop: WebhookServer) -> None:
    """Only webhooks are run here."""
    scene = await new_scene(here, shop.url)
    tool = msgspec.structs.replace(scene.tool, source=None)
    with pytest.raises(TypeError, match="get_order"):
        await here.n8n.run(tool, scene.call())


def self_signed(folder: Path) -> ssl.SSLContext:
    """A certificate for 127.0.0.1 that nobody vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "server.pem"
    pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context
