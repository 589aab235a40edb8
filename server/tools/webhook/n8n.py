"""Runs a tool by its webhook: one signed POST, an answer now or by callback.

The webhook may be n8n's or anybody's that keeps the contract. An `unsafe` tool is tried once. A `read_only` or
`idempotent` one is tried once more, with the same key, when the other side was away, broken or busy. Whatever happens
is an outcome: the operator reads the whole reason, the model plain words.

In doubt is a call whose effect may have happened though nobody says so: no answer after the request was sent, a 5xx, a
redirect, an answer that is no result, an accepted call that never called back. A 4xx and a result that says `error` are
plain failures. What only looks something up is never in doubt: it has no effect.
"""

import asyncio
import random
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from server import log
from server.errors import EgressError, Invalid, SecretUnreadable
from server.net import webhooks
from server.net.vault import SIGNING_SECRET, Vault
from server.tools.result import IN_DOUBT, UNDONE, failure
from server.tools.tool import Call, Outcome, Sender, Tool, Webhook
from server.tools.webhook import answer
from server.tools.webhook.answer import Answer
from server.tools.webhook.breaker import FAILURES, Breakers
from server.tools.webhook.callbacks import Callbacks

logger = log.get("tools")

# Bytes of an answer: 60 times what a model reads of it.
ANSWER_BYTES = 1_048_576
# Seconds before the second try, jittered: long enough for a restarted proxy, short for a visitor who waits.
PAUSE_S = (0.1, 0.4)
# Seconds that a second try needs to make sense.
TRY_S = 0.5
# Seconds of the budget kept for writing down how the call ended.
MARGIN_S = 0.25


class N8n:
    """Shared by all turns of an instance. Without `callbacks` nobody can call back."""

    def __init__(
        self, sender: Sender, vault: Vault, callbacks: Callbacks | None, breakers: Breakers | None = None
    ) -> None:
        self._sender = sender
        self._vault = vault
        self._callbacks = callbacks
        self._breakers = Breakers() if breakers is None else breakers

    async def run(self, tool: Tool, call: Call) -> Outcome:
        """Never raises for what the other side does."""
        if not isinstance(tool.source, Webhook):
            raise TypeError(f"{tool.name} is not done by a webhook")
        deadline = time.monotonic() + call.budget_s - MARGIN_S
        try:
            secret = self._secret(tool.source, call)
        except (SecretUnreadable, Invalid) as unusable:
            return _failed(tool, Answer(error=unusable.message, words=answer.MISSET))
        breaker = self._breakers.of(call.caller.client_id, tool.source.url)
        ticket = breaker.admit()
        if ticket is None:
            error = f"not called: this webhook failed {FAILURES} times in a row; next try in {breaker.rests_s:.0f} s"
            return _failed(tool, Answer(error=error, words=answer.AWAY))
        healthy = None
        try:
            said = await self._ask(tool, tool.source, call, secret, deadline)
            healthy = said.healthy
        finally:
            breaker.report(ticket, healthy)
        return await self._outcome(tool, call, said, deadline)

    def _secret(self, webhook: Webhook, call: Call) -> str:
        """Fails closed: a webhook without a secret is not called, so that nobody gets used to unsigned requests."""
        if webhook.signing_secret is None:
            raise SecretUnreadable("the tool has no signing secret; make one with `frontdesk tool rotate-secret`")
        secret = self._vault.open(webhook.signing_secret, client_id=call.caller.client_id, field=SIGNING_SECRET)
        webhooks.check_secret(secret)
        return secret

    async def _ask(self, tool: Tool, webhook: Webhook, call: Call, secret: str, deadline: float) -> Answer:
        """The answer of the first try that needs no second, or of the second."""
        expires_at = datetime.now(UTC) + timedelta(seconds=max(0.0, deadline - time.monotonic()))
        callback_url = self._callbacks.url(call, expires_at=expires_at) if self._callbacks is not None else None
        body = _request(webhook, call, callback_url, expires_at)
        first = await self._try(webhook, call, secret, body, deadline)
        if tool.effect == "unsafe" or not first.retry:
            return first
        pause = max(random.uniform(*PAUSE_S), first.after_s)  # noqa: S311 - jitter, not a secret
        if deadline - time.monotonic() < pause + TRY_S:
            return first
        logger.info("tool tried again", tool=tool.name, call=call.key, reason=first.error)
        await asyncio.sleep(pause)
        return await self._try(webhook, call, secret, body, deadline)

    async def _try(self, webhook: Webhook, call: Call, secret: str, body: bytes, deadline: float) -> Answer:
        timeout_s = min(webhook.timeout_ms / 1000, deadline - time.monotonic())
        if timeout_s <= 0:
            return Answer(error="the turn had no time left for it", words=answer.SILENT, healthy=None)
        headers = {
            "content-type": "application/json",
            "accept": "application/json, text/plain;q=0.9, */*;q=0.1",
            "idempotency-key": call.key,
            **webhooks.sign(secret, msg_id=call.key, timestamp=int(time.time()), body=body),
        }
        try:
            response = await self._sender.request(
                "POST", webhook.url, headers=headers, body=body, timeout_s=timeout_s, max_bytes=ANSWER_BYTES
            )
        except EgressError as error:
            return answer.unreached(error)
        return answer.judge(response.status, response.headers, response.body)

    async def _outcome(self, tool: Tool, call: Call, said: Answer, deadline: float) -> Outcome:
        if said.accepted:
            return await self._called_back(tool, call, deadline)
        if said.error is None:
            return Outcome(True, answer.content(said.value), response=said.value)
        if said.acted and self._callbacks is not None and self._callbacks.available:
            # It may have called back before its answer was lost: that end counts, and no later one.
            settled = await self._callbacks.wait(call, timeout_s=0)
            if settled is not None:
                return settled
        return _failed(tool, said)

    async def _called_back(self, tool: Tool, call: Call, deadline: float) -> Outcome:
        if self._callbacks is None or not self._callbacks.available:
            error = "HTTP 202, but there is no address to call back: set FRONTDESK_PUBLIC_URL"
            return _failed(tool, Answer(error=error, words=answer.MISSET, acted=True))
        timeout_s = max(0.0, deadline - time.monotonic())
        outcome = await self._callbacks.wait(call, timeout_s=timeout_s)
        if outcome is not None:
            return outcome
        error = f"HTTP 202, but no result was called back within {timeout_s:.1f} s"
        return _failed(tool, Answer(error=error, words=answer.SILENT, acted=True))


def _request(webhook: Webhook, call: Call, callback_url: str | None, expires_at: datetime) -> bytes:
    caller = call.caller
    callback: dict[str, Any] | None = None
    if callback_url is not None:
        callback = {"url": callback_url, "expires_at": expires_at}
    return msgspec.json.encode(
        {
            "tool": call.tool,
            "arguments": call.arguments,
            "call": {"id": call.key, "attempt": call.attempt},
            "conversation": {"id": caller.conversation_id, "locale": caller.locale, "channel": caller.channel},
            "client": {"id": caller.client_id, "key": caller.client_key, "name": caller.client_name},
            "visitor": caller.visitor,
            "config": webhook.config,
            "callback": callback,
        }
    )


def _failed(tool: Tool, said: Answer) -> Outcome:
    words, in_doubt = said.words, False
    if tool.effect != "read_only":
        in_doubt = said.acted
        # A refusal in the workflow's own words needs none of ours.
        words += IN_DOUBT if in_doubt else UNDONE if said.value is None else ""
    return Outcome(False, failure(words), response=said.value, error=said.error, in_doubt=in_doubt)
