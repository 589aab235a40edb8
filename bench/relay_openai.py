"""The relay that most tutorials show: a WebSocket in, `openai`'s client out, each piece of text forwarded as it comes.

OPENAI_BASE_URL=http://127.0.0.1:9000/v1 OPENAI_API_KEY=bench python -m bench.relay_openai 8001
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from openai import AsyncOpenAI
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect


async def relay(websocket: WebSocket) -> None:
    """A question is a text frame, each piece of the answer another, an empty one ends it."""
    await websocket.accept()
    client: AsyncOpenAI = websocket.state.client
    try:
        while True:
            question = await websocket.receive_text()
            stream = await client.chat.completions.create(
                model="bench", messages=[{"role": "user", "content": question}], stream=True
            )
            async for chunk in stream:
                if chunk.choices and (text := chunk.choices[0].delta.content):
                    await websocket.send_text(text)
            await websocket.send_text("")
    except WebSocketDisconnect:
        pass


@asynccontextmanager
async def lifespan(_app: Starlette) -> AsyncIterator[dict[str, AsyncOpenAI]]:
    async with AsyncOpenAI(max_retries=0) as client:
        yield {"client": client}


if __name__ == "__main__":
    app = Starlette(routes=[WebSocketRoute("/ws", relay)], lifespan=lifespan)
    # As Frontdesk itself is served.
    uvicorn.run(app, port=int(sys.argv[1]), loop="uvloop", http="httptools", ws="websockets-sansio", log_config=None,
                ws_per_message_deflate=False, ws_ping_interval=None, access_log=False)  # fmt: skip
