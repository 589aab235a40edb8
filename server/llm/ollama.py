"""Ollama, through its official client; the stream is read raw and decoded by `wire_ollama`.

The client has no retries, so the loop here gives it those that the other two bring: 429 and 5xx and a connection that
did not come about, with the pauses and the jitter of OpenAI's client.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from server.errors import ModelBusy, ModelError, ModelUnreachable
from server.llm import transport
from server.llm.provider import ChatMessage, ModelRequest, ModelStream
from server.llm.tokens import OLLAMA_WINDOW
from server.llm.wire_ollama import OllamaDecoder

if TYPE_CHECKING:
    import httpx

DEFAULT_HOST = "http://127.0.0.1:11434"
_FIRST_PAUSE_S = 0.5


class OllamaProvider:
    """`host` as in OLLAMA_HOST: "gpu-box", "gpu-box:11434" or a URL."""

    name = "ollama"

    def __init__(self, *, host: str | None = None, timeouts: transport.Timeouts = transport.DEFAULT_TIMEOUTS) -> None:
        import httpx
        import ollama

        self._timeouts = timeouts
        self._httpx = httpx
        self._ollama = ollama
        self.host = host or DEFAULT_HOST
        self._client = ollama.AsyncClient(
            self.host,
            transport=transport.httpx_transport(),
            timeout=httpx.Timeout(timeouts.first_byte_s, connect=timeouts.connect_s, pool=2 * timeouts.connect_s),
            follow_redirects=False,
        )
        # The client's own stream parses each line with pydantic; its httpx client has its host, headers and pool.
        self._http: httpx.AsyncClient = self._client._client

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelStream]:
        tries = transport.Attempts(request.deadline_s, request.tap)
        async with AsyncExitStack() as stack:
            response = await self._open(stack, _body(request), tries)
            events = transport.read_events(
                response.extensions, OllamaDecoder(), tries, self._timeouts, request.gather_s
            )
            yield await stack.enter_async_context(aclosing(events))

    async def _open(self, stack: AsyncExitStack, body: dict[str, Any], tries: transport.Attempts) -> "httpx.Response":
        token = transport.attempts.set(tries)
        try:
            async with asyncio.timeout(tries.remaining_s()):
                for attempt in range(transport.MAX_RETRIES + 1):
                    try:
                        return await self._post(stack, body)
                    except _Failed as failed:
                        if not failed.may_pass or attempt == transport.MAX_RETRIES:
                            raise failed.error from failed.__cause__
                        pause = failed.retry_after_s or _FIRST_PAUSE_S * 2**attempt * random.uniform(0.75, 1)  # noqa: S311  jitter is no secret
                        if pause > tries.remaining_s():
                            raise failed.error from failed.__cause__
                    await asyncio.sleep(pause)
                raise AssertionError("the last attempt returns or raises")
        except TimeoutError as error:
            raise transport.out_of_time(tries) from error
        finally:
            transport.attempts.reset(token)

    async def _post(self, stack: AsyncExitStack, body: dict[str, Any]) -> "httpx.Response":
        try:
            response = await self._http.send(
                self._http.build_request("POST", "/api/chat", json=body, headers={"Accept-Encoding": "identity"}),
                stream=True,
            )
        except self._httpx.TimeoutException as error:
            mapped = transport.connection_error(error, self._timeouts)
            raise _Failed(mapped, may_pass=isinstance(mapped, ModelUnreachable)) from error
        except self._httpx.HTTPError as error:
            raise _Failed(transport.connection_error(error, self._timeouts), may_pass=True) from error
        if response.status_code == 200:
            stack.push_async_callback(response.aclose)
            return response
        try:
            reason = (await response.aread()).decode("utf-8", "replace")
        finally:
            await response.aclose()
        mapped = transport.status_error(response.status_code, reason)
        raise _Failed(
            mapped,
            may_pass=isinstance(mapped, ModelBusy | ModelUnreachable),
            retry_after_s=transport.retry_after_s(response.headers),
        )

    async def models(self, timeout_s: float | None = None) -> list[str]:
        """Names of the models that are installed. Raises ModelError when Ollama cannot be reached."""
        try:
            async with asyncio.timeout(timeout_s or self._timeouts.connect_s):
                listed = await self._client.list()
        except (OSError, TimeoutError, self._httpx.HTTPError, self._ollama.ResponseError) as error:
            raise ModelUnreachable(f"Ollama at {self.host} does not answer: {type(error).__name__}") from error
        return [model.model for model in listed.models if model.model]

    async def check(self) -> str | None:
        try:
            installed = await self.models()
        except ModelError as error:
            return error.message
        return None if installed else f"Ollama at {self.host} has no model; run `ollama pull llama3.2`"

    async def close(self) -> None:
        await self._http.aclose()


class _Failed(Exception):
    """One try failed; `may_pass` says whether another one may not."""

    def __init__(self, error: ModelError, *, may_pass: bool, retry_after_s: float = 0.0) -> None:
        super().__init__(error.message)
        self.error = error
        self.may_pass = may_pass
        self.retry_after_s = retry_after_s


def _body(request: ModelRequest) -> dict[str, Any]:
    options: dict[str, Any] = {"num_predict": request.max_output_tokens, "num_ctx": OLLAMA_WINDOW}
    if request.temperature is not None:
        options["temperature"] = request.temperature
    body: dict[str, Any] = {
        "model": request.model,
        "messages": _messages(request.messages),
        "stream": True,
        "options": options,
    }
    # Ollama knows no choice; a transcript with calls needs no list of tools there.
    if request.tools and request.tool_choice == "auto":
        body["tools"] = [
            {
                "type": "function",
                "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
            }
            for tool in request.tools
        ]
    return body


def _messages(messages: tuple[ChatMessage, ...]) -> list[dict[str, Any]]:
    """Ollama names the tool in a result where others name the call."""
    names = {call.call_id: call.name for message in messages for call in message.tool_calls}
    out: list[dict[str, Any]] = []
    for message in messages:
        entry: dict[str, Any] = {"role": message.role, "content": message.text}
        if message.tool_calls:
            entry["tool_calls"] = [
                {"function": {"name": call.name, "arguments": _arguments(call.arguments)}}
                for call in message.tool_calls
            ]
        if message.call_id is not None:
            entry["tool_name"] = names.get(message.call_id, "")
        out.append(entry)
    return out


def _arguments(text: str) -> dict[str, Any]:
    try:
        data = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return {}
    return data if isinstance(data, dict) else {}
