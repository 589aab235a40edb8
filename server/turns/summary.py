"""Keeps the beginning of a long conversation as a summary, so that a turn reads it and the last 20 messages.

Runs after a turn, never before one: nobody waits for it. When 20 messages are not covered, the small model puts the
oldest 10 of them into the summary; whatever is older than the last 20 is therefore always covered.
"""

from datetime import UTC, datetime

from server import log
from server.errors import ModelError
from server.llm import tokens
from server.llm.provider import ChatMessage, ModelRequest, TextDelta, Usage
from server.llm.registry import Registry
from server.protocol.client_config import ModelConfig
from server.repositories import conversations, messages
from server.repositories.conversations import Conversation
from server.repositories.messages import MessageRow
from server.repositories.pool import Pool, reading
from server.turns import prompt
from server.turns.accounting import Accounting
from server.turns.counting import count

logger = log.get("turns")

UNCOVERED = 20
AT_ONCE = 10
# 150 words in any language.
SUMMARY_TOKENS = 400


class Summariser:
    """Summaries by the small model."""

    def __init__(self, pool: Pool, registry: Registry, accounting: Accounting) -> None:
        self._pool = pool
        self._registry = registry
        self._accounting = accounting
        # Conversations being summarised: quick questions must not pay for the same summary twice.
        self._covering: set[int] = set()

    async def cover(self, conversation: Conversation, config: ModelConfig) -> None:
        """Extends the summary when it is time. A model's failure is logged; the next turn tries again."""
        if conversation.id in self._covering:
            return
        self._covering.add(conversation.id)
        try:
            await self._cover(conversation, config)
        finally:
            self._covering.discard(conversation.id)

    async def _cover(self, conversation: Conversation, config: ModelConfig) -> None:
        client_id, conversation_id = conversation.client_id, conversation.id
        async with reading(self._pool) as conn:
            now = await conversations.find(conn, client_id=client_id, conversation_id=conversation_id)
            if now is None or now.total_messages <= UNCOVERED:
                return
            # All of them: after failures there are more than usual, and the oldest must not be passed over.
            uncovered = await messages.between(
                conn,
                client_id=client_id,
                conversation_id=conversation_id,
                after_id=now.summary_through or 0,
                through_id=2**63 - 1,
            )
        if len(uncovered) <= UNCOVERED:
            return
        oldest = uncovered[:AT_ONCE]
        try:
            text = await self._summarise(now, oldest, config)
        except ModelError as error:
            logger.warning("no summary", conversation=now.public_id, code=error.code, reason=error.message)
            return
        if text:
            async with reading(self._pool) as conn:
                await conversations.set_summary(
                    conn,
                    client_id=client_id,
                    conversation_id=conversation_id,
                    summary=text,
                    summary_through=oldest[-1].id,
                )

    async def _summarise(self, conversation: Conversation, rows: list[MessageRow], config: ModelConfig) -> str:
        provider, model = self._registry.choose(config, small=True)
        earlier = [prompt.summary(conversation.summary)] if conversation.summary else []
        chat = "\n".join([*earlier, *(f"{row.role}: {row.content}" for row in rows if row.content)])
        request = ModelRequest(
            model=model,
            messages=(ChatMessage("system", prompt.SUMMARISE), ChatMessage("user", chat)),
            max_output_tokens=SUMMARY_TOKENS,
        )
        text, used = "", None
        async with provider.stream(request) as stream:
            async for batch in stream:
                for event in batch:
                    if isinstance(event, TextDelta):
                        text += event.text
                    elif isinstance(event, Usage):
                        used = event
        today = datetime.now(UTC).date()
        counted = tokens.count_request(model, request.messages)
        bill = await self._accounting.bill(
            provider=provider.name, model=model, usage=used, tokens_input=counted, text=text, day=today
        )
        async with reading(self._pool) as conn:
            await count(
                conn,
                conversation,
                day=today,
                tokens_input=bill.usage.input,
                tokens_output=bill.usage.output,
                cost=bill.cost,
            )
        return text.strip()
