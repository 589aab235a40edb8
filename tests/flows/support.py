"""Frontdesk over real sockets, as a visitor's browser and a client's backend meet it.

`running` is one instance: uvicorn as in production (uvloop, httptools), in a thread. `Desk` is what a test holds: the
database, shops with keys, one or more instances. `Tab` is a browser's tab: it sends frames as structs and reads the
socket until the frame it waits for.
"""

import asyncio
import itertools
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec
import redis.asyncio
import uvicorn
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Origin

from server import ids
from server.app import create_app
from server.cli.run import uvicorn_config
from server.llm.pricing import seed_prices
from server.net.signing import Keyring
from server.protocol import VERSION, codec
from server.protocol.visitor import (
    Ack,
    Durable,
    Hello,
    MessageCompleted,
    MessageSend,
    Pong,
    SessionProof,
    ToVisitor,
    TurnFailed,
    TurnStopped,
    Welcome,
)
from server.repositories import clients, prices
from server.repositories.clients import Client
from server.repositories.pool import Pool, open_pool, reading
from server.repositories.prices import PriceRow
from server.settings import Settings
from tests.flows.peer import PATIENCE_S, Frames, Peer
from tests.flows.view import Gap, View

_numbers = itertools.count(1)


class Instance:
    """A running server. `url` is `http://127.0.0.1:port`."""

    def __init__(self, settings: Settings) -> None:
        self._server = uvicorn.Server(uvicorn_config(create_app(settings), "127.0.0.1", 0))
        self._thread = threading.Thread(target=self._server.run, name="instance", daemon=True)
        self.url = ""

    @property
    def ws_url(self) -> str:
        return self.url.replace("http://", "ws://") + "/api/v1/ws"

    async def start(self) -> None:
        self._thread.start()
        async with asyncio.timeout(PATIENCE_S):
            while not self._server.started:
                assert self._thread.is_alive(), "the server did not start; its log says why"
                await asyncio.sleep(0.005)
        port = self._server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"

    async def stop(self) -> None:
        self._server.should_exit = True
        await asyncio.to_thread(self._thread.join, PATIENCE_S)
        assert not self._thread.is_alive(), "the server did not stop"


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Instance]:
    """One instance in a thread of its own, with an event loop of its own."""
    instance = Instance(settings)
    await instance.start()
    try:
        yield instance
    finally:
        await instance.stop()


class Shop(msgspec.Struct, frozen=True):
    """A client, the secret key that only its owner knows, and its website."""

    client: Client
    secret_key: str

    @property
    def id(self) -> int:
        return self.client.id

    @property
    def key(self) -> str:
        return self.client.public_key

    @property
    def origin(self) -> str:
        return self.client.allowed_origins[0]


class Reader(Frames[ToVisitor]):
    """What a visitor was sent, in order and to the byte."""

    def __init__(self) -> None:
        super().__init__()
        self.payloads: list[bytes] = []

    def events(self) -> list[bytes]:
        """The durable frames so far, to the byte."""
        return [raw for raw, frame in zip(self.payloads, self.frames, strict=True) if isinstance(frame, Durable)]


class Tab(Peer[ToVisitor], Reader):
    """One tab of a browser on a shop's website."""

    def __init__(self, socket: ClientConnection, shop: Shop, view: View) -> None:
        super().__init__(socket)
        self.shop = shop
        self.view = view
        self.welcome: Welcome | None = None
        self._asks_again = False

    async def read(self) -> ToVisitor:
        """The next frame. A missing delta makes the tab say hello again, as the protocol has it."""
        async with asyncio.timeout(PATIENCE_S):
            raw = await self.socket.recv(decode=False)
        frame = codec.decode_to_visitor(raw)
        self.payloads.append(raw)
        self.frames.append(frame)
        if isinstance(frame, Welcome):
            self.welcome, self._asks_again = frame, False
        try:
            self.view.apply(frame)
        except Gap:
            await self._ask_again()
        return frame

    async def _ask_again(self) -> None:
        assert self.welcome is not None
        if not self._asks_again:
            self._asks_again = True
            proof, epoch = self.welcome.session, self.welcome.epoch
            await self.send(Hello(v=VERSION, key=self.shop.key, session=proof, epoch=epoch, last_seq=self.view.seq))

    async def hello(self, proof: SessionProof | None = None, **fields: Any) -> Welcome:
        """Says hello with the shop's key."""
        await self.send(Hello(v=VERSION, key=self.shop.key, session=proof, **fields))
        return await self.next(Welcome)

    async def say(self, text: str, *, cid: str | None = None) -> Ack:
        """Sends a message and reads on to its ack."""
        cid = cid or new_cid()
        await self.send(MessageSend(cid=cid, text=text))
        return await self.next(Ack, lambda ack: ack.cid == cid)

    async def end(self) -> MessageCompleted | TurnFailed | TurnStopped:
        """Reads on to the end of a turn."""
        while True:
            frame = await self.read()
            if isinstance(frame, MessageCompleted | TurnFailed | TurnStopped):
                return frame

    async def shows(self, text: str) -> None:
        """Reads on until a message with this text is there, if it is not yet."""
        while text not in self.view.texts.values():
            await self.read()

    async def settle(self) -> Pong:
        """Reads all that was sent before now."""
        return await self.ponged(Pong)


class Desk:
    """An installation: a database, a Redis, instances, shops."""

    def __init__(self, settings: Settings, pool: Pool, http: httpx.AsyncClient) -> None:
        self.settings = settings
        self.pool = pool
        self.http = http
        self.keyring = Keyring(settings.secret_keys)
        self.instances: list[Instance] = []

    @property
    def url(self) -> str:
        return self.instances[0].url

    async def shop(self, name: str | None = None, **fields: Any) -> Shop:
        """A client on a plan that no test uses up; `fields` are more of `repositories.clients.create`'s."""
        name = name or f"shop{next(_numbers)}"
        secret = ids.secret_key()
        given = {"allowed_origins": [f"https://{name}.example"], "plan_type": "pro", **fields}
        async with reading(self.pool) as conn:
            client = await clients.create(
                conn,
                name=name,
                domain=f"{name}.example",
                public_key=ids.public_key(),
                api_key_hash=self.keyring.digest("api-key", secret),
                api_key_prefix=secret[:8],
                **given,
            )
        return Shop(client, secret)

    async def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """What a statement of the test's own gives."""
        async with reading(self.pool) as conn:
            cursor = await conn.execute(query.encode(), values)
            return await cursor.fetchall() if cursor.description else []

    async def flood(self, conversation_id: str, through: int) -> None:
        """So many events more that the conversation's last one is `through`: votes on its newest answer."""
        await self.rows(
            """
            with many as (
                insert into events (conversation_id, seq, client_id, type, payload)
                select c.id, n, c.client_id, 'feedback.recorded', json_build_object(
                    'type', 'feedback.recorded', 'seq', n, 'message_id', m.public_id, 'rating', 'up')
                from conversations c
                join lateral (
                    select public_id from messages where conversation_id = c.id and role = 'assistant'
                    order by id desc limit 1
                ) m on true
                cross join generate_series(c.last_seq + 1, %s) n
                where c.public_id = %s returning seq
            )
            update conversations set last_seq = (select max(seq) from many) where public_id = %s
            """,
            through,
            conversation_id,
            conversation_id,
        )

    async def fingerprint(self) -> list[tuple[Any, ...]]:
        """The number of rows of every table and a digest of all of them: equal when nothing changed.

        Not of `instances`, where each running one writes down every few seconds that it lives.
        """
        tables = await self.rows(
            "select tablename::text from pg_tables where schemaname = 'public' and tablename !~ 'yoyo|^instances$' "
            "order by 1"
        )
        each = "select '{0}', count(*), md5(coalesce(string_agg(t::text, '|' order by t::text), '')) from {0} t"
        return await self.rows(" union all ".join(each.format(table) for (table,) in tables))

    @asynccontextmanager
    async def tab(
        self, shop: Shop, *, on: int = 0, origin: str | None = None, view: View | None = None
    ) -> AsyncIterator[Tab]:
        """A tab whose page is the shop's (an `origin` of "" sends none), on one of the instances.

        `view` is what it shows already.
        """
        async with connect(
            self.instances[on].ws_url,
            origin=Origin(shop.origin if origin is None else origin) or None,
            compression=None,
            max_size=None,
            ping_interval=None,
            proxy=None,
        ) as socket:
            yield Tab(socket, shop, view or View())

    @asynccontextmanager
    async def visit(
        self, shop: Shop, *, on: int = 0, view: View | None = None, **fields: Any
    ) -> AsyncIterator[tuple[Tab, Welcome]]:
        """A tab that has said hello; `fields` are hello's."""
        async with self.tab(shop, on=on, view=view) as tab:
            yield tab, await tab.hello(**fields)


@asynccontextmanager
async def open_desk(settings: Settings, *, instances: int = 1, database_url: str | None = None) -> AsyncIterator[Desk]:
    """An installation with so many instances, each as if on a machine of its own.

    `database_url` is the test's own way to the database, where that of the settings may be cut.
    """
    pool = await open_pool(database_url or settings.database_url, max_size=4, application_name="test")
    async with reading(pool) as conn:
        await prices.upsert_all(
            conn, prices=[msgspec.convert(p, PriceRow, from_attributes=True) for p in seed_prices()]
        )
    try:
        async with httpx.AsyncClient(timeout=PATIENCE_S, trust_env=False) as http:
            desk = Desk(settings, pool, http)
            desk.instances = [Instance(settings) for _ in range(instances)]
            try:
                await asyncio.gather(*(each.start() for each in desk.instances))
                yield desk
            finally:
                await asyncio.gather(*(each.stop() for each in desk.instances))
    finally:
        await pool.close()


def new_cid() -> str:
    """A message's id as a widget makes one."""
    return f"cid-{next(_numbers)}"


def sse(text: str) -> Iterator[tuple[str | None, ToVisitor]]:
    """The events of a stream of server-sent events: id and frame."""
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "data" in fields:
            yield fields.get("id"), codec.decode_to_visitor(fields["data"].encode())


async def use_up(desk: Desk, key: str, most: int) -> None:
    """Counts `most` requests, for this minute and the next: a test may run across its end."""
    minute = int(time.time() // 60)
    async with redis.asyncio.Redis.from_url(desk.settings.redis_url) as cache:
        for each in (minute, minute + 1):
            await cache.set(f"rate_limit:{key}:{each}", most)
