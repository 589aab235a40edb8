"""The yardstick: the least that forwards a model's words to a browser. No users, no history, no database.

OPENAI_BASE_URL=http://127.0.0.1:9000/v1 python -m bench.relay 8001
"""

import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import uvicorn
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect


async def relay(websocket: WebSocket) -> None:
    """A question is a text frame, each piece of the answer another, an empty one ends it."""
    await websocket.accept()
    try:
        while True:
            question = await websocket.receive_text()
            body = {"model": "bench", "messages": [{"role": "user", "content": question}], "stream": True}
            async with websocket.state.http.post("chat/completions", json=body) as response:
                rest = b""
                async for chunk in response.content.iter_any():
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in lines:
                        if line.startswith(b"data: {"):
                            choices = json.loads(line[6:])["choices"]
                            if choices and (text := choices[0]["delta"].get("content")):
                                await websocket.send_text(text)
            await websocket.send_text("")
    except WebSocketDisconnect:
        pass


@asynccontextmanager
async def lifespan(_app: Starlette) -> AsyncIterator[dict[str, aiohttp.ClientSession]]:
    async with aiohttp.ClientSession(os.environ["OPENAI_BASE_URL"] + "/") as http:
        yield {"http": http}


if __name__ == "__main__":
    app = Starlette(routes=[WebSocketRoute("/ws", relay)], lifespan=lifespan)
    # As Frontdesk itself is served.
    uvicorn.run(app, port=int(sys.argv[1]), loop="uvloop", http="httptools", ws="websockets-sansio", log_config=None,
                ws_per_message_deflate=False, ws_ping_interval=None, access_log=False)  # fmt: skip
