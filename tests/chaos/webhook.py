"""An n8n that counts effects by idempotency key: of tools that honour the key, and of those that do not.

webhook.effects["trn_...:2"]           how often this call's effect happened
webhook.before = hold_it               awaited with the call, before its effect; `after` between effect and answer
webhook.calls_back = {"reserve"}       these are answered 202, and their result is posted to the callback address
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
from aiohttp import web

from server.net import webhooks

# Seconds between two tries to call back: instances come and go.
_AGAIN_S = 0.2
_TRIES = 100


class Called(msgspec.Struct, frozen=True):
    """One request: when (loop clock), the key, the tool, the item that the model named, and the client."""

    at: float
    key: str
    tool: str
    item: str
    client_id: int
    callback_url: str | None = None


async def _nothing(_called: Called) -> None:
    return


class Webhook:
    """`url` is its address. `calls` are all requests; `effects` counts what was done, by key; `items` by item."""

    def __init__(self) -> None:
        self.url = ""
        self.calls: list[Called] = []
        self.effects: Counter[str] = Counter()
        self.items: Counter[str] = Counter()
        # Tools that know a key they have seen, and give its result again without doing it again.
        self.honours = {"look_up", "reserve"}
        self.calls_back: set[str] = set()
        self.before: Callable[[Called], Awaitable[None]] = _nothing
        self.after: Callable[[Called], Awaitable[None]] = _nothing
        # Where callbacks go: the address of any instance, as a balancer gives.
        self.where: Callable[[], str] | None = None
        self._secrets: dict[int, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def knows(self, client_id: int, secret: str) -> None:
        """What this client's callbacks are signed with."""
        self._secrets[client_id] = secret

    async def handle(self, request: web.Request) -> web.Response:
        try:
            body = msgspec.json.decode(await request.read())
        except msgspec.DecodeError as error:
            return web.json_response({"error": str(error)}, status=400)  # killed while it asked
        called = Called(
            asyncio.get_running_loop().time(),
            request.headers["idempotency-key"],
            body["tool"],
            str(body["arguments"].get("item", "")),
            body["client"]["id"],
            (body["callback"] or {}).get("url"),
        )
        self.calls.append(called)
        await self.before(called)
        if called.tool not in self.honours or not self.effects[called.key]:
            self.effects[called.key] += 1
            self.items[called.item] += 1
        await self.after(called)
        result = {"done": called.item}
        if called.tool in self.calls_back and called.callback_url is not None:
            task = asyncio.create_task(self._call_back(called, result), name=f"callback {called.key}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return web.json_response({"accepted": True}, status=202)
        return web.json_response(result)

    async def _call_back(self, called: Called, result: dict[str, Any]) -> None:
        """Posts the result until an instance takes it, or says that it is too late."""
        assert self.where is not None and called.callback_url is not None
        path = "/" + called.callback_url.split("/", 3)[3]
        body = msgspec.json.encode({"type": "result", "result": result})
        secret = self._secrets[called.client_id]
        async with aiohttp.ClientSession() as http:
            for _ in range(_TRIES):
                headers = {
                    "content-type": "application/json",
                    **webhooks.sign(secret, msg_id=called.key, timestamp=int(time.time()), body=body),
                }
                try:
                    async with http.post(self.where() + path, data=body, headers=headers) as response:
                        if response.status < 500:
                            return
                except (OSError, aiohttp.ClientError):
                    pass  # that instance is gone; another one takes it
                await asyncio.sleep(_AGAIN_S)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def webhook_server() -> AsyncIterator[Webhook]:
    """A running one, on a free port."""
    webhook = Webhook()
    app = web.Application()
    app.router.add_post("/webhook", webhook.handle)
    # What was asked for is done, even when whoever asked is killed meanwhile.
    runner = web.AppRunner(app, handler_cancellation=False, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
        webhook.url = f"http://127.0.0.1:{runner.addresses[0][1]}/webhook"
        yield webhook
    finally:
        await webhook.close()
        await runner.cleanup()
