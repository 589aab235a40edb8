"""Operators of Frontdesk's console: they sign in, open its socket, and watch conversations. Cheap enough to be many."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import msgspec

from bench.client import Socket
from bench.servers import Process
from server import ids
from server.net.signing import Keyring
from server.repositories import clients, operators
from server.repositories.pool import Pool, open_pool, reading
from server.staff import Staff

# Seconds for what an operator waits for.
PATIENCE_S = 30.0
DELTA = b'{"type":"message.delta"'
# Each works from an address of its own: hellos and sockets of one address have limits.
_numbers = itertools.count(1)


class Operator:
    """One socket. `frames` is what came since `watch` of the conversation that is watched: when (`time.perf_counter`,
    when it was read from the socket), and the visitor's frame to the byte."""

    socket: Socket

    def __init__(self) -> None:
        self.frames: list[tuple[float, bytes]] = []
        # Of whom the last presence told, and how many are waited for.
        self._present = self._expected = 0
        # What begins a frame of the watched conversation; nothing does before.
        self._head = b"\0"
        self._awaited: dict[str, asyncio.Future[None]] = {}

    async def greet(self, ticket: str) -> None:
        """Hello to welcome."""
        self._await("welcome")
        self._say({"type": "hello", "v": 1, "ticket": ticket})
        await self._comes("welcome")

    async def watch(self, conversation_id: str) -> None:
        """From its return on `frames` gets all that the visitor gets."""
        self._head = b'{"type":"conversation.frame","conversation_id":"%b","frame":' % conversation_id.encode()
        self._await("snapshot")
        self._say({"type": "conversation.watch", "conversation_id": conversation_id})
        await self._comes("snapshot")
        self.frames = []
        self._await("message.completed")

    async def together(self, operators: int) -> None:
        """Until all who watch know of each other, which is the last thing that watching makes a server do."""
        self._expected = operators
        if self._present != operators:
            self._await("presence")
            await self._comes("presence")

    async def answered(self) -> None:
        """Until the end of the first answer since `watch`."""
        await self._comes("message.completed")

    async def unwatch(self, conversation_id: str) -> None:
        """Hears no more of it."""
        self._await("command.done")
        self._say({"type": "conversation.unwatch", "conversation_id": conversation_id})
        await self._comes("command.done")
        self._head, self._present = b"\0", 0

    def close(self) -> None:
        self.socket.close()

    def on_text(self, payload: bytes) -> None:
        now = time.perf_counter()
        if payload.startswith(self._head):
            frame = payload[len(self._head) : -1]
            self.frames.append((now, frame))
            # The most frequent frame by far is told by its first bytes.
            if not frame.startswith(DELTA):
                self._came(msgspec.json.decode(frame, type=_Kind).type)
            return
        kind = msgspec.json.decode(payload, type=_Kind).type
        if kind == "error":
            error = msgspec.json.decode(payload, type=_Error)
            self._fail(RuntimeError(f"an operator was refused: {error.code}: {error.message}"))
        elif kind == "presence":
            self._present = len(msgspec.json.decode(payload, type=_Presence).operators)
            if self._present == self._expected:
                self._came(kind)
        else:
            self._came(kind)

    def _say(self, frame: dict[str, str | int]) -> None:
        self.socket.send(msgspec.json.encode(frame))

    def _await(self, kind: str) -> None:
        self._awaited[kind] = asyncio.get_running_loop().create_future()

    def _came(self, kind: str) -> None:
        if (awaited := self._awaited.get(kind)) is not None and not awaited.done():
            awaited.set_result(None)

    def _fail(self, error: RuntimeError) -> None:
        for awaited in self._awaited.values():
            if not awaited.done():
                awaited.set_exception(error)

    async def _comes(self, kind: str) -> None:
        awaited, lost = self._awaited[kind], self.socket.lost
        await asyncio.wait((awaited, lost), timeout=PATIENCE_S, return_when=asyncio.FIRST_COMPLETED)
        if not awaited.done():
            reason = lost.result() if lost.done() else f"within {PATIENCE_S:g} s"
            raise ConnectionError(f"no {kind} came to an operator: {reason}")
        del self._awaited[kind]
        awaited.result()


class Office:
    """Where the operators of a client come from: the installation's own accounts, login links and tickets."""

    def __init__(self, pool: Pool, environ: Mapping[str, str], client_id: int) -> None:
        self._pool = pool
        self._client_id = client_id
        self._staff = Staff(pool, Keyring((environ["FRONTDESK_SECRET_KEYS"],)))
        # Its socket answers pages of the console's own origin alone.
        self._origin = environ["FRONTDESK_PUBLIC_URL"]

    async def operator(self, process: Process) -> Operator:
        """A new one, signed in by a link, with a socket to this instance. Raises ConnectionError or RuntimeError when
        they are not let in."""
        number = next(_numbers)
        address = f"100.127.{number >> 8 & 255}.{number & 255}"
        async with reading(self._pool) as conn:
            hired = await operators.create(
                conn,
                client_id=self._client_id,
                email=f"{ids.operator_token()}@desk.example".lower(),
                name=f"Operator {number}",
                password_hash="no password",  # nobody signs in with one here
                role="operator",
            )
        _, signed = await self._staff.sign_in_by_link(await self._staff.login_link(hired.id), address=address)
        operator = Operator()
        headers = {"Origin": self._origin, "X-Forwarded-For": address}
        operator.socket = await Socket.open(process.port, "/api/v1/admin/ws", headers, operator.on_text)
        await operator.greet(await self._staff.ticket(signed))
        return operator


@asynccontextmanager
async def open_office(environ: Mapping[str, str], public_key: str) -> AsyncIterator[Office]:
    """Of the client with this key. `environ` is what the servers get."""
    pool = await open_pool(environ["DATABASE_URL"], max_size=4, application_name="frontdesk bench")
    try:
        async with reading(pool) as conn:
            client = await clients.find_by_public_key(conn, public_key=public_key)
        if client is None:
            raise RuntimeError("no client has this public key")
        yield Office(pool, environ, client.id)
    finally:
        await pool.close()


class _Kind(msgspec.Struct):
    type: str


class _Error(msgspec.Struct):
    code: str
    message: str


class _Named(msgspec.Struct):
    id: int


class _Presence(msgspec.Struct):
    operators: list[_Named]
