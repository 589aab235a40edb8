"""Keeps what models were really asked in the console's own turns, and what they really said."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import msgspec

from server import log
from server.errors import FrontdeskError, ModelError
from server.llm.provider import ModelRequest, Usage
from server.llm.tap import Tap
from server.repositories import model_traffic
from server.repositories.pool import Pool, reading
from server.settings import LlmSettings
from server.turns.counting import is_console
from server.turns.job import Job
from server.turns.turn import Turn

logger = log.get("turns")

# Characters of a reason that are kept.
REASON_CHARACTERS = 500


class Traffic:
    """Of one instance. `secrets` are hidden wherever they stand: a server may repeat the key that it refuses."""

    def __init__(self, pool: Pool, secrets: Sequence[str]) -> None:
        self._pool = pool
        self._secrets = secrets

    @asynccontextmanager
    async def kept(self, job: Job, turn: Turn, provider: str, request: ModelRequest) -> AsyncIterator[ModelRequest]:
        """One call of the model, to be made with the request that this gives; kept when it is over, however it ends.

        A visitor's leaves nothing.
        """
        if not is_console(job.conversation):
            yield request
            return
        tap, before, error = Tap(), len(turn.spent), None
        try:
            yield msgspec.structs.replace(request, tap=tap)
        except BaseException as raised:
            error = _reason(raised)
            raise
        finally:
            usage = turn.spent[-1].usage if len(turn.spent) > before else None
            await self._write(job, before + 1, provider, request.model, tap, usage, error)

    async def _write(
        self, job: Job, no: int, provider: str, model: str, tap: Tap, usage: Usage | None, error: str | None
    ) -> None:
        try:
            async with reading(self._pool) as conn:
                await model_traffic.record(
                    conn,
                    client_id=job.client.id,
                    turn_id=job.turn.id,
                    no=no,
                    gen=job.turn.gen,
                    provider=provider,
                    model=model,
                    first_ms=tap.first_ms,
                    ms=tap.ms,
                    tries=[msgspec.to_builtins(each) for each in tap.tries],
                    request=tap.request(self._secrets),
                    request_bytes=tap.request_bytes,
                    response=tap.response(self._secrets),
                    response_bytes=tap.response_bytes,
                    tokens_input=usage.input if usage else None,
                    tokens_output=usage.output if usage else None,
                    tokens_cached=usage.cached_input if usage else None,
                    error=error,
                )
        except FrontdeskError as failed:
            # The answer is worth more than its record.
            logger.warning("a model's call was not kept", turn=job.turn.public_id, reason=failed.message)


def secrets_of(settings: LlmSettings) -> tuple[str, ...]:
    """The deployment's credentials for its models."""
    return tuple(filter(None, (settings.openai_api_key, settings.anthropic_api_key)))


def _reason(raised: BaseException) -> str:
    match raised:
        case ModelError():
            return f"{raised.code}: {raised.message}"[:REASON_CHARACTERS]
        case asyncio.CancelledError():
            return "cut off"
        case _:
            return type(raised).__name__
