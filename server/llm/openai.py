"""OpenAI, and everything that speaks its chat completions: vLLM, LM Studio, Groq, Mistral, Azure's v1, by base URL.

The official client signs, retries and pools; the stream is read raw and decoded by `wire_openai`.

Servers differ in what they accept. Only OpenAI's own hosts and Azure's get `max_completion_tokens` (their newer
models refuse `max_tokens`; most others know nothing else) and `reasoning_effort`. When a server refuses one of
`_OPTIONAL` by name, it is left out for that model from then on, and the call is made again at once.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlsplit

from server import log
from server.errors import ModelError
from server.llm import transport
from server.llm.provider import ChatMessage, ModelRequest, ModelStream
from server.llm.wire_openai import OpenAIDecoder

if TYPE_CHECKING:
    import httpx2
    import openai

DEFAULT_BASE_URL: Final = "https://api.openai.com/v1"
_OWN_HOSTS: Final = (".openai.com", ".openai.azure.com", ".services.ai.azure.com", ".cognitiveservices.azure.com")
# The models that can answer without thinking first, which is what a visitor who waits for a word wants.
_CAN_SKIP_REASONING: Final = re.compile(r"^gpt-(?:5\.[1-9]|6)")
_OPTIONAL: Final = ("stream_options", "reasoning_effort", "temperature")

_log = log.get("llm.openai")


def is_own_host(base_url: str) -> bool:
    """Whether OpenAI itself answers there, or Azure with OpenAI's models."""
    return f".{urlsplit(base_url).hostname or ''}".endswith(_OWN_HOSTS)


class OpenAIProvider:
    """`api_key` may be empty for servers that ask for none."""

    name = "openai"

    def __init__(
        self,
        *,
        api_key: str | None,
        base_url: str | None = None,
        timeouts: transport.Timeouts = transport.DEFAULT_TIMEOUTS,
    ) -> None:
        import httpx2
        import openai

        self._errors = openai
        self._response = httpx2.Response
        url = base_url or DEFAULT_BASE_URL
        self._own = is_own_host(url)
        self._timeouts = timeouts
        timeout = httpx2.Timeout(timeouts.first_byte_s, connect=timeouts.connect_s, pool=2 * timeouts.connect_s)
        self._client = openai.AsyncOpenAI(
            api_key=api_key or "none",
            base_url=url,
            timeout=timeout,
            max_retries=transport.MAX_RETRIES,
            http_client=openai.DefaultAioHttpClient(
                transport=transport.httpx2_transport(),
                timeout=timeout,
                # A base URL is the deployment's word; nobody else sends the key anywhere.
                follow_redirects=False,
            ),
        )
        self._refused: set[tuple[str, str]] = set()

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelStream]:
        tries = transport.Attempts(request.deadline_s, request.tap)
        response = await self._open(request, tries)
        try:
            async with aclosing(
                transport.read_events(response.extensions, OpenAIDecoder(), tries, self._timeouts, request.gather_s)
            ) as events:
                yield events
        finally:
            await response.aclose()

    async def _open(self, request: ModelRequest, tries: transport.Attempts) -> "httpx2.Response":
        token = transport.attempts.set(tries)
        try:
            async with asyncio.timeout(tries.remaining_s()):
                while True:
                    body = self.body(request)
                    try:
                        return await self._post(body)
                    except (self._errors.BadRequestError, self._errors.UnprocessableEntityError) as error:
                        if not self._leave_out(request.model, body, error.message):
                            raise
        except TimeoutError as error:
            raise transport.out_of_time(tries) from error
        except self._errors.OpenAIError as error:
            raise self._model_error(error) from error
        finally:
            transport.attempts.reset(token)

    async def _post(self, body: dict[str, Any]) -> "httpx2.Response":
        """The answer's head; the caller closes it.

        `post` is what the client's `create` ends in. `create` itself first walks through every message against its
        type hints, which with 20 messages takes longer than all the rest of a call.
        """
        response = await self._client.post(
            "/chat/completions",
            cast_to=self._response,
            body=body,
            options={"headers": {"Accept-Encoding": "identity"}},
            stream=True,
            stream_cls=self._errors.AsyncStream[object],
        )
        # What was asked for by `cast_to`; the client's types know streams of its own classes only.
        return cast("httpx2.Response", response)

    def body(self, request: ModelRequest) -> dict[str, Any]:
        """The JSON that is sent. Pure."""
        body: dict[str, Any] = {
            "model": request.model,
            "messages": [_message(message) for message in request.messages],
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_completion_tokens" if self._own else "max_tokens": request.max_output_tokens,
        }
        if request.temperature is not None:
            body["temperature"] = request.temperature
        if self._own and _CAN_SKIP_REASONING.match(request.model):
            body["reasoning_effort"] = "none"
        if request.tools:
            body["tools"] = [
                {
                    "type": "function",
                    "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
                }
                for tool in request.tools
            ]
            if request.tool_choice == "none":
                body["tool_choice"] = "none"
        for name in _OPTIONAL:
            if (request.model, name) in self._refused:
                body.pop(name, None)
        return body

    def _leave_out(self, model: str, body: dict[str, Any], complaint: str) -> bool:
        """Whether the complaint names something the call can do without."""
        for name in _OPTIONAL:
            if name in body and name in complaint:
                self._refused.add((model, name))
                _log.warning("parameter_refused", model=model, parameter=name)
                return True
        return False

    def _model_error(self, error: "openai.OpenAIError") -> ModelError:
        if isinstance(error, self._errors.APIStatusError):
            return transport.status_error(error.status_code, error.message)
        return transport.connection_error(error, self._timeouts)

    async def check(self) -> str | None:
        try:
            await self._client.with_options(timeout=self._timeouts.connect_s, max_retries=0).models.list()
        except self._errors.NotFoundError:
            return None  # not every compatible server lists its models; it answered
        except self._errors.AuthenticationError:
            return f"{self._client.base_url} refuses the API key; set OPENAI_API_KEY"
        except self._errors.OpenAIError as error:
            return f"{self._client.base_url} cannot be used: {self._model_error(error).message}"
        return None

    async def close(self) -> None:
        await self._client.close()


def _message(message: ChatMessage) -> dict[str, Any]:
    if message.role == "tool":
        return {"role": "tool", "tool_call_id": message.call_id, "content": message.text}
    if message.tool_calls:
        return {
            "role": "assistant",
            "content": message.text or None,
            "tool_calls": [
                {"id": call.call_id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
                for call in message.tool_calls
            ],
        }
    return {"role": message.role, "content": message.text}
