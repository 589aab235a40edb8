"""Whom a turn asks: the model that the client chose and, when that fails before its first word, its fallback.

One change a turn, and not back. What a visitor was shown stays: a model that fails in the middle of its words has had
its turn. What the tools gave is kept, the fallback reads it as the first would have.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager, contextmanager

from server import log
from server.errors import ModelError, ModelTimeout
from server.llm import tokens
from server.llm.provider import ModelEvent, ModelRequest, ModelStream, Provider
from server.llm.registry import Registry
from server.protocol.client_config import ModelConfig
from server.turns.stage import Stage
from server.turns.transcript import Transcript
from server.turns.turn import Turn

logger = log.get("turns")

# Seconds, retries included, until a model that has a fallback must have begun to answer. Hosted ones take 1 to 10.
PATIENCE_S = 20.0


class Asking:
    """One turn's. `temperature` is the client's, for the model it chose; a fallback has its provider's own."""

    def __init__(self, registry: Registry, config: ModelConfig) -> None:
        self.provider, self.model = registry.choose(config)
        self.temperature = config.temperature
        self._fallback = registry.fallback(config)
        # Who is asked instead of whom the client chose.
        self.instead: tuple[str, str] | None = None
        if self._fallback is not None:
            self.provider = _Impatient(self.provider)

    def fall_back(self, error: ModelError, turn: Turn, stage: Stage, transcript: Transcript) -> bool:
        """Turns to the fallback. False when there is none, it was asked already, or words of this call were said."""
        if self._fallback is None or turn.phase == "ended" or turn.said_now:
            return False
        first, model = self.provider.name, self.model
        turn.given_up(by=self.instead or (first, model))
        (self.provider, self.model), self._fallback = self._fallback, None
        self.instead = (self.provider.name, self.model)
        logger.warning(
            "model failed, the fallback is asked",
            provider=first,
            model=model,
            code=error.code,
            reason=error.message,
            instead=self.model,
        )
        stage.provider, stage.model = self.instead
        transcript.turn_to(self.model, window=tokens.context_window(self.model, provider=self.provider.name))
        return True


class _Impatient:
    """A provider that must begin to answer soon, because somebody else can."""

    def __init__(self, provider: Provider) -> None:
        self.name = provider.name
        self._provider = provider

    def stream(self, request: ModelRequest) -> AbstractAsyncContextManager[ModelStream]:
        return self._stream(request)

    @asynccontextmanager
    async def _stream(self, request: ModelRequest) -> AsyncIterator[ModelStream]:
        loop = asyncio.get_running_loop()
        begun_at = loop.time()
        async with AsyncExitStack() as stack:
            with self._in_time():
                async with asyncio.timeout(PATIENCE_S):
                    inner = await stack.enter_async_context(self._provider.stream(request))
            left_s = PATIENCE_S - (loop.time() - begun_at)
            yield await stack.enter_async_context(aclosing(self._begun(inner, left_s)))

    async def _begun(self, inner: ModelStream, left_s: float) -> AsyncGenerator[list[ModelEvent], None]:
        """The stream as it is, but for how long its beginning may take; who reads it late has not lost time by it."""
        with self._in_time():
            async with asyncio.timeout(left_s):
                first = await anext(inner, None)
        if first is not None:
            yield first
            async for batch in inner:
                yield batch

    @contextmanager
    def _in_time(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError:
            raise ModelTimeout(f"{self.name} did not begin to answer within {PATIENCE_S:g} s") from None

    async def check(self) -> str | None:
        return await self._provider.check()

    async def close(self) -> None:
        await self._provider.close()
