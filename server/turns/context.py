"""What a model reads: the system prompt, the summary of older messages, the last 20, the visitor's words.

All of it within the model's window, by count. What does not fit is left out from the oldest on.
"""

from collections.abc import Sequence
from functools import lru_cache

import msgspec

from server import log
from server.cache.context import MESSAGES, CachedMessage, ContextCache
from server.errors import FenceLost, ModelRefused
from server.llm import tokens
from server.llm.provider import ChatMessage, ModelRequest, ToolSpec
from server.protocol.parts import Role
from server.repositories import conversations, messages, turn_leases, whispers
from server.repositories.messages import MessageRow
from server.repositories.pool import Pool, reading, unit_of_work
from server.turns import prompt
from server.turns.job import Job
from server.turns.turn import WINDOW_S

logger = log.get("turns")

# Tokens of one answer: about 1,500 English words, far past what reads well in a chat.
OUTPUT_TOKENS = 2_048


class Prepared(msgspec.Struct, frozen=True):
    """A request, what it counts, and the history it was made of (oldest first, the visitor's words last)."""

    request: ModelRequest
    tokens_input: int
    history: list[CachedMessage]


# Prompts and history come again with every turn, so their counts are remembered; a message costs about 0.1 ms to count.
@lru_cache(maxsize=4096)
def _count(model: str, text: str) -> int:
    return tokens.count_text(model, text)


class ContextBuilder:
    """Builds requests from Redis, from Postgres where Redis knows less."""

    def __init__(self, pool: Pool, cache: ContextCache) -> None:
        self._pool = pool
        self._cache = cache

    async def build(
        self,
        job: Job,
        *,
        provider: str,
        model: str,
        temperature: float | None,
        deadline_s: float,
        tools: tuple[ToolSpec, ...] = (),
    ) -> Prepared:
        """Raises ModelRefused when not even the prompt and the visitor's words fit the model's window, FenceLost."""
        history = await self._history(job)
        system = prompt.system(job.client, locale=job.conversation.locale, at=job.at, tools=bool(tools))
        if job.conversation.summary:
            system = f"{system}\n\n{prompt.summary(job.conversation.summary)}"
        if whispered := await self._whispered(job):
            # At the end: what stays the same from turn to turn comes first, for the provider's prompt cache.
            system = f"{system}\n\n{prompt.whispers(whispered)}"
        window = tokens.context_window(model, provider=provider)
        kept, counted = fit(model, system, history, job.text, window=window, tools=tools)
        request = ModelRequest(
            model=model,
            messages=_transcript(system, kept, job.text),
            max_output_tokens=OUTPUT_TOKENS,
            temperature=temperature,
            tools=tools,
            deadline_s=deadline_s,
            # Text that comes sooner than the next delta leaves would wait for it here.
            gather_s=WINDOW_S,
        )
        return Prepared(request, counted, [*history, CachedMessage("user", job.text)])

    async def _history(self, job: Job) -> list[CachedMessage]:
        """The messages before the visitor's words, oldest first."""
        if job.newest:
            if job.total == 1:
                return []
            cached = await self._cache.get(
                client_id=job.client.id, session_id=job.conversation.session_id, total=job.total - 1
            )
            if cached is not None:
                return cached
        async with reading(self._pool) as conn:
            rows = await messages.recent(
                conn, client_id=job.client.id, conversation_id=job.conversation.id, limit=MESSAGES + 1
            )
        return _before(rows, job.turn.message_id)

    async def _whispered(self, job: Job) -> list[str]:
        """What operators have told the AI since its last turn; from now on it is this turn's, in every life of it.

        Fenced: a turn that somebody else has ended or taken over must not use up what the next one should hear.
        """
        conversation, row = job.conversation, job.turn
        if not conversation.whispered and row.gen == 1:
            return []
        async with unit_of_work(self._pool) as conn:
            if conversation.whispered:
                await conversations.lock(conn, client_id=row.client_id, conversation_id=row.conversation_id)
                if not await turn_leases.fence(
                    conn, client_id=row.client_id, turn_id=row.id, gen=row.gen, owner=row.owner or ""
                ):
                    raise FenceLost(f"turn {row.public_id} is no longer ours")
                await whispers.hand_over(
                    conn, client_id=row.client_id, conversation_id=row.conversation_id, turn_id=row.id
                )
            return await whispers.of_turn(conn, client_id=row.client_id, turn_id=row.id)


def _before(rows: Sequence[MessageRow], message_id: int | None) -> list[CachedMessage]:
    """History of a turn: what was said, without questions that came after its own and wait for turns of their own."""
    return [
        CachedMessage(msgspec.convert(row.role, Role), row.content)
        for row in rows
        if row.content is not None
        and row.id != message_id
        and not (row.role == "user" and message_id is not None and row.id > message_id)
    ][-MESSAGES:]


def fit(
    model: str,
    system: str,
    history: list[CachedMessage],
    text: str,
    *,
    window: int,
    tools: Sequence[ToolSpec] = (),
) -> tuple[list[CachedMessage], int]:
    """The newest part of the history that fits `window` tokens, and the tokens of the request. Raises ModelRefused."""
    room = window - OUTPUT_TOKENS
    factor = tokens.safety_factor(model)
    frame = tokens.count_request(model, ()) + tokens.count_tools(model, tools, count=_count)
    # 4 tokens wrap each message: see llm/tokens.
    total = frame + _count(model, system) + _count(model, text) + 8
    if total * factor > room:
        raise ModelRefused(f"the prompt alone has {total} tokens and {model} has room for {room}")
    first = len(history)
    while first > 0:
        more = total + _count(model, history[first - 1].text) + 4
        if more * factor > room:
            logger.info("history cut to fit the window", model=model, kept=len(history) - first, of=len(history))
            break
        total = more
        first -= 1
    return history[first:], total


def _transcript(system: str, history: list[CachedMessage], text: str) -> tuple[ChatMessage, ...]:
    """To the model, an operator's words are the assistant's."""
    said = [
        ChatMessage("user" if message.role == "user" else "assistant", message.text)
        for message in history
        if message.role != "system"
    ]
    return (ChatMessage("system", system), *said, ChatMessage("user", text))
