"""The visitors of the peers and how the peers are started. Nothing is timed here.

The peers themselves are not in this environment, so each visitor speaks to a small server that writes what the real
one's format says. `make bench-peers` runs them against the real ones.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection, serve

from bench.direct import StreamSite, StreamVisitor
from bench.peers import servers
from bench.peers.chat import ChatSite, ChatVisitor
from bench.rig import Rig
from bench.servers import Process, split_cores
from bench.world import Frontdesk

STEP: dict[str, object] = {
    "id": "6f1c0a52-6d4e-4c1a-9d0c-0f6f0a1f6f10",
    "threadId": "b4f9a8c0-7a2e-4b57-9c51-1f3a1a3c2d11",
    "parentId": None,
    "command": None,
    "createdAt": None,
    "name": "Assistant",
    "type": "assistant_message",
    "language": None,
    "streaming": True,
    "isError": False,
    "waitForAnswer": False,
    "metadata": {},
    "tags": None,
}


def _event(name: str, data: object) -> str:
    return "42" + json.dumps([name, data], separators=(",", ":"))


def _streamed(pieces: list[str], last: str | None = None) -> list[str]:
    """An answer's packets. `last` is what the message is in the end."""
    first, *others = pieces
    run = {"id": "run", "type": "run", "name": "on_message", "output": "", "isError": False}
    return [
        _event("task_start", {}),
        _event("new_message", run),
        _event("stream_start", {**STEP, "output": first}),
        *(_event("stream_token", {"id": STEP["id"], "token": each, "isSequence": False}) for each in others),
        "2",
        _event("update_message", {**STEP, "output": "".join(pieces) if last is None else last, "streaming": False}),
        _event("update_message", {**run, "output": "the run's"}),
        _event("task_end", {}),
    ]


class Chainlit:
    """The other end of a Chainlit page: it checks the handshake, then answers each question with the next packets."""

    def __init__(self, *answers: list[str]) -> None:
        self.asked: list[str] = []
        self.pongs = 0
        self._answers = iter(answers)

    async def __call__(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        assert connection.request.path == "/ws/socket.io/?EIO=4&transport=websocket"
        await connection.send(
            '0{"sid":"a","upgrades":[],"pingTimeout":20000,"pingInterval":25000,"maxPayload":1000000}'
        )
        authentication = await self._read(connection)
        assert authentication.startswith("40")
        said = json.loads(authentication[2:])
        assert said["clientType"] == "webapp"
        assert said["sessionId"]
        await connection.send('40{"sid":"b"}')
        assert await self._read(connection) == '42["connection_successful"]'
        for name in ("task_end", "clear_ask", "clear_call_fn"):
            await connection.send(_event(name, {}))
        for answer in self._answers:
            question = await self._read(connection)
            (name, payload) = json.loads(question.removeprefix("42"))
            assert (name, payload["fileReferences"]) == ("client_message", [])
            self.asked.append(payload["message"]["output"])
            for packet in answer:
                await connection.send(packet)
        await connection.close()

    async def _read(self, connection: ServerConnection) -> str:
        while (packet := str(await connection.recv())) == "3":
            self.pongs += 1
        return packet


@asynccontextmanager
async def _chat(server: Callable[[ServerConnection], Awaitable[None]]) -> AsyncIterator[ChatVisitor]:
    async with serve(server, "127.0.0.1", 0, compression=None) as listening:
        port = next(iter(listening.sockets)).getsockname()[1]
        visitor = await ChatSite(Process("Chainlit", 0, port)).visit()
        yield visitor
        visitor.close()


async def test_chat_reads_the_answers_of_one_session() -> None:
    """Text from the stream's start to its last token, nothing of the run around it, and a ping is answered."""
    chainlit = Chainlit(_streamed(["We ", 'say "oui"', ", \u00e9"]), _streamed(["Fresh."]), [])
    async with _chat(chainlit) as visitor:
        first = await visitor.ask("Bread?")
        assert first.text == 'We say "oui", \u00e9'
        assert first.first_s > 0
        assert [size for _, size in first.pieces] == [3, 12, 15]
        assert (await visitor.ask("And cake?")).text == "Fresh."
        with pytest.raises(ConnectionError, match="closed by the server: 1000"):
            await visitor.ask("Still there?")
    assert chainlit.asked == ["Bread?", "And cake?", "Still there?"]
    assert chainlit.pongs == 2


@pytest.mark.parametrize(
    ("packets", "words"),
    [
        ([_event("task_start", {}), _event("task_end", {})], "streamed nothing"),
        ([_event("new_message", {**STEP, "output": "no model", "isError": True}), _event("task_end", {})], "no model"),
        (_streamed(["We ", "bake."], last="We bake. Every day."), "answer of 19 characters is not what it streamed"),
    ],
)
async def test_chat_tells_of_what_went_wrong(packets: list[str], words: str) -> None:
    """Chainlit's own error, and an answer of which a part did not come."""
    async with _chat(Chainlit(packets)) as visitor:
        with pytest.raises(RuntimeError, match=words):
            await visitor.ask("Bread?")


async def test_chat_is_not_let_in() -> None:
    """Socket.io's refusal, and the socket's end before the greeting."""

    async def refuse(connection: ServerConnection) -> None:
        await connection.send('0{"sid":"a"}')
        await connection.recv()
        await connection.send('44{"message":"authentication failed"}')
        await connection.wait_closed()

    async def close(connection: ServerConnection) -> None:
        await connection.close()

    with pytest.raises(ConnectionError, match="authentication failed"):
        async with _chat(refuse):
            pass
    with pytest.raises(ConnectionError, match="closed by the server"):
        async with _chat(close):
            pass


def _chunk(delta: dict[str, str], **more: object) -> bytes:
    chunk = {"id": "chatcmpl-1", "created": 1, "model": "bench", "object": "chat.completion.chunk"}
    return b"data: %b\n\n" % json.dumps({**chunk, "choices": [{"index": 0, "delta": delta}], **more}).encode()


HEAD = (
    b"HTTP/1.1 200 OK\r\nx-litellm-version: 1\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
ROLE = _chunk({"content": "", "role": "assistant"})
FINISH = b'data: {"id":"chatcmpl-1","choices":[{"finish_reason":"stop","index":0,"delta":{}}]}\n\n'
DONE = b"data: [DONE]\n\n"


def _body(*events: bytes) -> bytes:
    return HEAD + b"".join(b"%x\r\n%b\r\n" % (len(event), event) for event in events) + b"0\r\n\r\n"


class LiteLLM:
    """The other end of a call of the proxy: it answers each request with the next bytes, cut where they are cut."""

    def __init__(self, *answers: list[bytes]) -> None:
        self.asked: list[str] = []
        self.connections = 0
        self._answers = iter(answers)

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        for pieces in self._answers:
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"POST /v1/chat/completions HTTP/1.1\r\n")
            assert b"\r\nAuthorization: Bearer sk-bench\r\n" in head
            length = int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0])
            request = json.loads(await reader.readexactly(length))
            assert (request["model"], request["stream"]) == ("bench", True)
            self.asked += [message["content"] for message in request["messages"]]
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
        writer.close()
        await writer.wait_closed()


@asynccontextmanager
async def _caller(litellm: LiteLLM) -> AsyncIterator[StreamVisitor]:
    async with await asyncio.start_server(litellm, "127.0.0.1", 0) as server:
        port: int = server.sockets[0].getsockname()[1]
        visitor = await StreamSite(Process("LiteLLM", 0, port), api_key="sk-bench").visit()
        yield visitor
        visitor.close()


async def test_completions_are_read_over_one_connection() -> None:
    """However the network cuts the answer; events without text, without a choice and comments are no pieces."""
    usage = b'data: {"choices":[],"usage":{"completion_tokens":2}}\n\n'
    texts = [_chunk({"content": "We say "}), b": ping\n\n", _chunk({"content": '"oui", \u00e9'})]
    whole = _body(ROLE, *texts, FINISH, usage, DONE)
    litellm = LiteLLM([whole], [whole[at : at + 7] for at in range(0, len(whole), 7)])
    async with _caller(litellm) as visitor:
        for question in ("Bread?", "And cake?"):
            answered = await visitor.ask(question)
            assert answered.text == 'We say "oui", \u00e9'
            assert answered.first_s > 0
            assert [size for _, size in answered.pieces] == [7, 15]
    assert litellm.asked == ["Bread?", "And cake?"]
    assert litellm.connections == 1


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b'HTTP/1.1 400 Bad Request\r\nContent-Length: 25\r\n\r\n{"error":"no such model"}', "no such model"),
        (_body(ROLE, b'data: {"error": {"message": "no model", "code": "500"}}\n\n'), "no model"),
    ],
)
async def test_completions_that_went_wrong(answer: bytes, words: str) -> None:
    """A refusal, and an error in the stream."""
    async with _caller(LiteLLM([answer])) as visitor:
        with pytest.raises(RuntimeError, match=words):
            await visitor.ask("Bread?")


async def test_completions_end_with_the_connection() -> None:
    """Within an answer."""
    async with _caller(LiteLLM([_body(ROLE)[:-5]])) as visitor:
        with pytest.raises(ConnectionError, match="before the answer"):
            await visitor.ask("Bread?")


def test_peers_that_are_not_installed_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that installs them."""
    monkeypatch.setattr(servers, "_ENVIRONMENTS", tmp_path)
    nobody = Process("nobody", 0, 0)
    with asyncio.Runner() as runner:
        rig = Rig(split_cores(), nobody, Frontdesk({}, "", "", nobody, nobody), runner, quick=True)
        for peer in (servers.chainlit, servers.litellm):
            with pytest.raises(RuntimeError, match="make bench-peers"), peer(rig):
                pass
    with pytest.raises(RuntimeError, match="make bench-peers"):
        servers.installed()


def test_peers_see_nothing_of_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer would keep its conversations in the database that DATABASE_URL names."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://localhost/frontdesk")
    show = [sys.executable, "-I", "-c", "import json, os; print(json.dumps(dict(os.environ)))"]
    shown = subprocess.run(servers.alone(show, {"HOME": "/nowhere"}), capture_output=True, check=True, text=True)
    # LC_CTYPE is what Python itself sets where no locale is.
    assert set(json.loads(shown.stdout)) - {"LC_CTYPE"} == {"PATH", "HOME"}
