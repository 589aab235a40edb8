"""`frontdesk serve` as an operator runs it, and what it writes: reasons and ids, and nothing anybody said or holds."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import msgspec
import pytest
from websockets.asyncio.client import connect
from websockets.typing import Origin

from server.protocol.visitor import MessageCompleted, MessageSend, SessionProof, TurnFailed
from server.repositories.pool import open_pool
from tests.flows.fixtures import llm_at, settings_for
from tests.flows.peer import PATIENCE_S
from tests.flows.support import Desk, Shop, Tab
from tests.flows.view import View
from tests.support import SECRET_KEYS
from tests.wire_servers import Answer, Failure, WireServer, wire_server


class Served(msgspec.Struct):
    """A server process. `log` is what it has written, once it has ended."""

    url: str
    process: asyncio.subprocess.Process
    log: str = ""


@asynccontextmanager
async def serve(environment: dict[str, str], log: Path) -> AsyncIterator[Served]:
    """`frontdesk serve` in a process of its own, ended by SIGTERM."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with log.open("wb") as sink:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", "from server.cli import main; main()"),
            *("serve", "--host", "127.0.0.1", "--port", str(port)),
            env={"PATH": os.environ["PATH"], **environment},
            stdout=sink,
            stderr=sink,
        )
    served = Served(f"http://127.0.0.1:{port}", process)
    try:
        await _listening(served, log)
        yield served
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE_S):
            await process.wait()
        served.log = await asyncio.to_thread(log.read_text)


async def _listening(served: Served, log: Path) -> None:
    async with asyncio.timeout(30), httpx.AsyncClient(trust_env=False) as http:
        while True:
            assert served.process.returncode is None, await asyncio.to_thread(log.read_text)
            try:
                await http.get(f"{served.url}/healthz")
            except httpx.TransportError:
                await asyncio.sleep(0.05)
            else:
                return


@pytest.fixture(params=["openai", "anthropic", "ollama"])
async def upstream(request: pytest.FixtureRequest) -> AsyncIterator[WireServer]:
    """Each provider in turn."""
    async with wire_server(request.param) as server:
        yield server


async def test_the_log_has_the_reasons_and_no_secrets(
    upstream: WireServer, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    """At DEBUG, in both formats: what failed and why, by ids; no words, keys or tokens of anybody."""
    form = "json" if upstream.dialect.name == "openai" else "text"
    settings = settings_for(database_url, redis_url, upstream)
    llm = llm_at(upstream)
    environment = {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "FRONTDESK_SECRET_KEYS": ",".join(SECRET_KEYS),
        "LOG_LEVEL": "DEBUG",
        "LOG_FORMAT": form,
        "LLM_PROVIDER": upstream.dialect.name,
        "LLM_MODEL": llm.model or "",
        "OPENAI_API_KEY": llm.openai_api_key or "",
        "OPENAI_BASE_URL": llm.openai_base_url or "",
        "ANTHROPIC_API_KEY": llm.anthropic_api_key or "",
        "ANTHROPIC_BASE_URL": llm.anthropic_base_url or "",
        "OLLAMA_HOST": llm.ollama_host or "",
    }
    pool = await open_pool(database_url, max_size=2, application_name="test")
    try:
        async with httpx.AsyncClient(timeout=PATIENCE_S, trust_env=False) as http:
            desk = Desk(settings, pool, http)
            shop = await desk.shop(system_prompt="PROMPT-WORDS")
            async with serve(environment, tmp_path / "log") as served:
                tokens = [await _over_the_socket(served, shop, upstream), await _over_http(served, shop, http)]
                await _bad_manners(served, shop, http)
                await desk.rows("alter table turns rename to gone")
                broke = await http.post(
                    f"{served.url}/api/v1/chat",
                    headers={"authorization": f"Bearer {shop.secret_key}"},
                    json={"message": "BROKEN-WORDS"},
                )
                assert broke.status_code == 500
                await desk.rows("alter table gone rename to turns")
    finally:
        await pool.close()

    log = served.log
    assert served.process.returncode in {0, -signal.SIGTERM}
    assert "turn failed" in log and "model_refused" in log and "HTTP 401" in log
    assert "request broke" in log and "UndefinedTable" in log
    assert broke.json()["error"]["request_id"] in log
    given = [key for key in (llm.openai_api_key, llm.anthropic_api_key) if key]
    secrets = [shop.secret_key, shop.secret_key[3:], *tokens, *(token[3:] for token in tokens), *given, *SECRET_KEYS]
    words = ["WORDS", "st_guess", "sk_guess"]
    for secret in (*secrets, *words):
        lines = [line for line in log.splitlines() if secret in line]
        assert lines == [], f"{secret} is in the log"
    if form == "json":
        for line in log.splitlines():
            assert {"event", "level", "timestamp"} <= set(json.loads(line))


async def _over_the_socket(served: Served, shop: Shop, upstream: WireServer) -> str:
    """A good answer, a failed one, a refused message. The session's token."""
    url = served.url.replace("http://", "ws://") + "/api/v1/ws"
    async with connect(url, origin=Origin(shop.origin), compression=None, proxy=None) as socket:
        tab = Tab(socket, shop, View())
        welcome = await tab.hello(page_url="https://x.example/?q=PAGE-WORDS", identity="e30.IDENTITY-WORDS.x")
        upstream.script(Answer("ANSWER-WORDS"), Failure(401, "no"))
        await tab.say("VISITOR-WORDS", cid="c1")
        await tab.next(MessageCompleted)
        await tab.say("FAILED-WORDS")
        await tab.next(TurnFailed)
        await tab.send(MessageSend(cid="c1", text="OTHER-WORDS"))
        await tab.raw('{"type":"message.send","text":"MALFORMED-WORDS"')
        await tab.settle()
        token: SessionProof = welcome.session
        return token.token


async def _over_http(served: Served, shop: Shop, http: httpx.AsyncClient) -> str:
    """The same without a socket."""
    headers = {"authorization": f"Bearer {shop.secret_key}"}
    reply = await http.post(
        f"{served.url}/api/v1/chat",
        headers=headers,
        json={"message": "HTTP-WORDS", "user_identifier": "USER-WORDS", "metadata": {"a": "META-WORDS"}},
    )
    assert reply.status_code == 200
    token: str = reply.json()["session_token"]
    history = await http.get(
        f"{served.url}/api/v1/sessions/{reply.json()['session_id']}/messages",
        headers={"authorization": f"Bearer {token}"},
    )
    assert len(history.json()["messages"]) == 2
    return token


async def _bad_manners(served: Served, shop: Shop, http: httpx.AsyncClient) -> None:
    """Requests that are refused, with words and guesses in every place."""
    for headers, body in (
        ({"authorization": "Bearer sk_guess0123456789"}, '{"message":"GUESS-WORDS"}'),
        ({"authorization": "Bearer st_guess0123456789", "x-frontdesk-key": shop.key}, '{"message":"GUESS-WORDS"}'),
        ({"authorization": f"Bearer {shop.secret_key}"}, '{"message":["LIST-WORDS"]}'),
        ({"authorization": f"Bearer {shop.secret_key}"}, '{"message":"HALF-WORDS'),
    ):
        answer = await http.post(f"{served.url}/api/v1/chat?q=QUERY-WORDS", headers=headers, content=body)
        assert 400 <= answer.status_code < 500
    assert (await http.get(f"{served.url}/nope/PATH-WORDS")).status_code == 404
