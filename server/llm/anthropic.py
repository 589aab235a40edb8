"""Anthropic's Claude, through its official client; the stream is read raw and decoded by `wire_anthropic`.

`temperature` is not sent: models from Claude 4.7 on answer it with 400, and the client has no argument for it any
more. Where a model can answer without thinking first, it is asked to: a visitor waits for the first word, and thoughts
count as output.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import msgspec

from server.errors import ModelError
from server.llm import transport
from server.llm.provider import ChatMessage, ModelRequest, ModelStream
from server.llm.wire_anthropic import AnthropicDecoder

if TYPE_CHECKING:
    import anthropic
    import httpx2

# Of platform.claude.com/docs/en/models: adaptive thinking is on by default and may be switched off. Opus 5.5, Sonnet
# 5.5 and Fable refuse that; earlier models think only when asked.
_CAN_SKIP_THINKING: Final = re.compile(r"^claude-(?:haiku-5-5|sonnet-5$|opus-5$)")
# The first message must be the user's; history that was cut may begin with an answer.
_OPENING: Final = "(The conversation began earlier.)"


class AnthropicProvider:
    name = "anthropic"

    def __init__(
        self, *, api_key: str, base_url: str | None = None, timeouts: transport.Timeouts = transport.DEFAULT_TIMEOUTS
    ) -> None:
        import anthropic
        import httpx2

        self._errors = anthropic
        self._timeouts = timeouts
        timeout = httpx2.Timeout(timeouts.first_byte_s, connect=timeouts.connect_s, pool=2 * timeouts.connect_s)
        self._client = anthropic.AsyncAnthropic(
            api_key=api_key,
            base_url=base_url or "https://api.anthropic.com",
            timeout=timeout,
            max_retries=transport.MAX_RETRIES,
            http_client=anthropic.DefaultAioHttpClient(
                transport=transport.httpx2_transport(), timeout=timeout, follow_redirects=False
            ),
        )

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelStream]:
        tries = transport.Attempts(request.deadline_s, request.tap)
        response = await self._open(request, tries)
        try:
            async with aclosing(
                transport.read_events(response.extensions, AnthropicDecoder(), tries, self._timeouts, request.gather_s)
            ) as events:
                yield events
        finally:
            await response.aclose()

    async def _open(self, request: ModelRequest, tries: transport.Attempts) -> "httpx2.Response":
        token = transport.attempts.set(tries)
        try:
            async with asyncio.timeout(tries.remaining_s()):
                manager = self._client.messages.with_streaming_response.create(
                    **_body(request), extra_headers={"Accept-Encoding": "identity"}
                )
                # The manager would close the response on leaving; `stream` does that when it was read.
                response = await manager.__aenter__()
                raw: httpx2.Response = response.http_response
                return raw
        except TimeoutError as error:
            raise transport.out_of_time(tries) from error
        except self._errors.AnthropicError as error:
            raise self._model_error(error) from error
        finally:
            transport.attempts.reset(token)

    def _model_error(self, error: "anthropic.AnthropicError") -> ModelError:
        if isinstance(error, self._errors.APIStatusError):
            return transport.status_error(error.status_code, error.message)
        return transport.connection_error(error, self._timeouts)

    async def check(self) -> str | None:
        try:
            await self._client.with_options(timeout=self._timeouts.connect_s, max_retries=0).models.list(limit=1)
        except self._errors.NotFoundError:
            return None
        except self._errors.AuthenticationError:
            return f"{self._client.base_url} refuses the API key; set ANTHROPIC_API_KEY"
        except self._errors.AnthropicError as error:
            return f"{self._client.base_url} cannot be used: {self._model_error(error).message}"
        return None

    async def close(self) -> None:
        await self._client.close()


def _body(request: ModelRequest) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model": request.model,
        "max_tokens": request.max_output_tokens,
        "messages": _messages(request.messages),
        "stream": True,
    }
    system = "\n\n".join(message.text for message in request.messages if message.role == "system" and message.text)
    if system:
        body["system"] = system
    if request.tools:
        body["tools"] = [
            {"name": tool.name, "description": tool.description, "input_schema": tool.parameters}
            for tool in request.tools
        ]
        if request.tool_choice == "none":
            body["tool_choice"] = {"type": "none"}
    if _CAN_SKIP_THINKING.match(request.model):
        body["thinking"] = {"type": "disabled"}
    return body


def _messages(messages: Sequence[ChatMessage]) -> list[dict[str, Any]]:
    """Turns of user and assistant in alternation, as the API wants them; tool results are the user's."""
    turns: list[dict[str, Any]] = []
    for message in messages:
        blocks = _blocks(message)
        if message.role == "system" or not blocks:
            continue
        role = "assistant" if message.role == "assistant" else "user"
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"].extend(blocks)
        else:
            turns.append({"role": role, "content": blocks})
    if not turns or turns[0]["role"] != "user":
        turns.insert(0, {"role": "user", "content": [{"type": "text", "text": _OPENING}]})
    return turns


def _blocks(message: ChatMessage) -> list[dict[str, Any]]:
    if message.role == "tool":
        return [{"type": "tool_result", "tool_use_id": message.call_id, "content": message.text}]
    # An empty text block is an error to the API.
    blocks: list[dict[str, Any]] = [{"type": "text", "text": message.text}] if message.text.strip() else []
    blocks.extend(
        {"type": "tool_use", "id": call.call_id, "name": call.name, "input": _input(call.arguments)}
        for call in message.tool_calls
    )
    return blocks


def _input(arguments: str) -> dict[str, Any]:
    """The API wants an object; a model that wrote none was answered with an error, which follows in the transcript."""
    try:
        data = msgspec.json.decode(arguments)
    except msgspec.DecodeError:
        return {}
    return data if isinstance(data, dict) else {}
