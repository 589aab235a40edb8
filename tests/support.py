"""The core as tests use it: a whole instance on this test's database and Redis, clients with keys, a listener.

Fixtures: `model` (a server that speaks OpenAI's stream; script it), `settings` (of an instance that asks it),
`services` (that instance, running), `shop` (a client with its keys). A second instance in the same process is
`async with open_services(settings) as other`. `Cable` takes Postgres or Redis away and brings it back.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from server import ids
from server.access import Session
from server.fanout import channels
from server.protocol import codec
from server.protocol.parts import Message, Role
from server.protocol.visitor import MessageCompleted, MessageCreated, ToVisitor, TurnFailed, TurnStopped
from server.repositories import clients, messages
from server.repositories.clients import Client
from server.repositories.pool import reading
from server.services import Services, open_services
from server.settings import LlmSettings, Settings
from server.turns.intake import Accepted
from tests.wire_servers import WireServer, openai_server

SECRET_KEYS = ("0123456789abcdef0123456789abcdef",)
# A name with a price, the 128,000 token window and cl100k's successor.
MODEL = "gpt-4o-mini"
# Seconds after which a test gives up waiting for something that should take milliseconds.
PATIENCE_S = 10.0

_numbers = itertools.count(1)


@pytest.fixture
async def model() -> AsyncIterator[WireServer]:
    """A server that speaks OpenAI's stream. Unscripted it answers `You said: ...`."""
    async with openai_server() as server:
        yield server


@pytest.fixture
def settings(database_url: str, redis_url: str, model: WireServer) -> Settings:
    """Of an instance on this test's services that asks `model`."""
    llm = LlmSettings(provider="openai", model=MODEL, openai_api_key="sk-test", openai_base_url=model.url)
    return Settings(
        database_url=database_url,
        redis_url=redis_url,
        secret_keys=SECRET_KEYS,
        # Where the tests' webhooks listen.
        allow_private_egress=("127.0.0.1/32",),
        llm=llm,
    )


@pytest.fixture
async def services(settings: Settings) -> AsyncIterator[Services]:
    """A running instance."""
    async with open_services(settings) as services:
        yield services


class Shop(msgspec.Struct, frozen=True):
    """A client, and the secret key that only its owner knows."""

    client: Client
    secret_key: str

    @property
    def id(self) -> int:
        return self.client.id

    @property
    def public_key(self) -> str:
        return self.client.public_key


async def new_shop(services: Services, name: str = "pizza", **fields: Any) -> Shop:
    """A client with keys; `fields` are more of `repositories.clients.create`'s. Its origin is https://{name}.example."""
    secret = ids.secret_key()
    given = {"allowed_origins": [f"https://{name}.example"], "plan_type": "pro", **fields}
    async with reading(services.pool) as conn:
        client = await clients.create(
            conn,
            name=name,
            domain=f"{name}.example",
            public_key=ids.public_key(),
            api_key_hash=services.keyring.digest("api-key", secret),
            api_key_prefix=secret[:8],
            **given,
        )
    return Shop(client, secret)


@pytest.fixture
async def shop(services: Services) -> Shop:
    """A client on a plan that no test uses up."""
    return await new_shop(services)


async def visit(services: Services, shop: Shop, *, locale: str = "en") -> Session:
    """A new visitor's session."""
    return await services.access.new_session(shop.client, channel="widget", locale=locale)


async def send(services: Services, session: Session, text: str, *, cid: str | None = None) -> Accepted:
    """What the socket does with a visitor's message."""
    return await services.intake.accept(
        session, cid=cid or f"cid_{next(_numbers)}", text=text, address="192.0.2.1", channel="widget"
    )


async def remember(services: Services, session: Session, *said: tuple[Role, str]) -> None:
    """Puts messages into a conversation as if they had been said: rows and events, no turns."""
    client_id, conversation_id = session.client.id, session.conversation.id
    for role, text in said:
        async with services.journal.write(client_id=client_id, conversation_id=conversation_id) as entry:
            await entry.locked()
            message = Message(id=ids.message_id(), role=role, text=text, created_at=entry.at)
            await messages.create(
                entry.conn,
                client_id=client_id,
                conversation_id=conversation_id,
                public_id=message.id,
                role=role,
                content=text,
                seq=entry.next_seq,
                created_at=entry.at,
            )
            entry.append(MessageCreated(seq=entry.next_seq, message=message), message=True)


class Listener:
    """A subscriber that keeps every frame. Wait on it instead of sleeping."""

    def __init__(self) -> None:
        self.frames: list[ToVisitor] = []
        self.payloads: list[tuple[int, bytes]] = []
        self.resyncs = 0
        self._changed = asyncio.Event()

    def deliver(self, seq: int, payload: bytes) -> None:
        self.payloads.append((seq, payload))
        self.frames.append(codec.decode_to_visitor(payload))
        self._changed.set()

    def resync(self) -> None:
        self.resyncs += 1
        self._changed.set()

    async def until(self, done: Callable[["Listener"], bool]) -> None:
        """Until `done(self)`."""
        async with asyncio.timeout(PATIENCE_S):
            while not done(self):
                self._changed.clear()
                await self._changed.wait()

    async def frame(self, *kinds: type[ToVisitor], nth: int = 1) -> Any:
        """The `nth` frame of these kinds, once it is there."""
        await self.until(lambda me: len(me.of(*kinds)) >= nth)
        return self.of(*kinds)[nth - 1]

    def of(self, *kinds: type[ToVisitor]) -> list[ToVisitor]:
        """The frames of these kinds so far."""
        return [frame for frame in self.frames if isinstance(frame, kinds)]

    async def end(self, nth: int = 1) -> MessageCompleted | TurnFailed | TurnStopped:
        """The end of the `nth` turn."""
        frame: MessageCompleted | TurnFailed | TurnStopped = await self.frame(
            MessageCompleted, TurnFailed, TurnStopped, nth=nth
        )
        return frame


@asynccontextmanager
async def listening(services: Services, session: Session) -> AsyncIterator[Listener]:
    """Hears a conversation on an instance, as a socket of it does."""
    listener, channel = Listener(), channels.conversation(session.conversation.public_id)
    await services.hub.join(channel, listener)
    try:
        yield listener
    finally:
        await services.hub.leave(channel, listener)


async def ask(services: Services, session: Session, text: str) -> MessageCompleted | TurnFailed | TurnStopped:
    """Says something and waits for the end of its turn."""
    async with listening(services, session) as listener:
        await send(services, session, text)
        return await listener.end()


async def eventually(true: Callable[[], Awaitable[bool]], what: str) -> None:
    """Asks again and again until it is so: for what only a database or another process can tell."""
    deadline = asyncio.get_running_loop().time() + PATIENCE_S
    while not await true():
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"not within {PATIENCE_S} s: {what}")
        await asyncio.sleep(0.01)


async def rows(services: Services, query: str, *values: object) -> list[tuple[Any, ...]]:
    """What a statement (the test's own, with %s) gives."""
    async with reading(services.pool) as conn:
        cursor = await conn.execute(query.encode(), values)
        return await cursor.fetchall() if cursor.description else []


class Cable:
    """A Unix socket in front of a service's socket, which a test can cut and mend."""

    def __init__(self, target: Path, path: Path) -> None:
        self.path = path
        self._target = target
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def mend(self) -> None:
        """From now on connections reach the service."""
        self._server = await asyncio.start_unix_server(self._carry, self.path)

    async def cut(self) -> None:
        """Breaks every connection and refuses new ones, as a service that is gone does."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.path.unlink(missing_ok=True)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            there_reader, there_writer = await asyncio.open_unix_connection(self._target)
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(_copy(reader, there_writer))
                    group.create_task(_copy(there_reader, writer))
            finally:
                there_writer.close()
        except asyncio.CancelledError:
            pass  # cut; the callback of asyncio's server would report it as an error
        finally:
            writer.close()
            self._tasks.discard(task)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    # Whoever hung up hangs up the other side.
    writer.close()


@asynccontextmanager
async def cable(target: Path, path: Path) -> AsyncIterator[Cable]:
    """A whole cable, cut at the end."""
    made = Cable(target, path)
    await made.mend()
    try:
        yield made
    finally:
        await made.cut()
