"""Runs one call of a tool, whatever does its work, and ends in an outcome whatever happens."""

import asyncio
import time

from server import log, metrics
from server.tools import recorded
from server.tools.result import failure
from server.tools.tool import Call, Executor, Outcome, Recorded, Tool, Webhook

logger = log.get("tools")


class Runner:
    """Shared by all turns of an instance."""

    def __init__(self, *, webhooks: Executor, live_data: Executor) -> None:
        self._webhooks = webhooks
        self._live_data = live_data

    async def run(self, tool: Tool, call: Call) -> tuple[Outcome, int]:
        """The outcome and its milliseconds. Only a cancelled turn raises."""
        if isinstance(tool.source, Recorded):
            return recorded.answer(tool, tool.source, call.arguments), 0
        executor = self._webhooks if isinstance(tool.source, Webhook) else self._live_data
        began = time.monotonic()
        try:
            async with asyncio.timeout(call.budget_s):
                outcome = await executor.run(tool, call)
        except TimeoutError:
            outcome = _lost(tool, "it took longer than the turn may take", "this took too long")
        except Exception as error:
            # Whatever broke here, the model and the visitor must hear of it; the traceback goes to the log.
            logger.exception("tool broke", tool=tool.name, call=call.key)
            outcome = _lost(tool, f"internal: {type(error).__name__}", "this cannot be done right now")
        seconds = time.monotonic() - began
        metrics.TOOL_CALLS.labels("ok" if outcome.ok else "in_doubt" if outcome.in_doubt else "failed").inc()
        metrics.TOOL_SECONDS.observe(seconds)
        if not outcome.ok:
            logger.warning("tool failed", tool=tool.name, call=call.key, reason=outcome.error)
        return outcome, round(seconds * 1000)


def _lost(tool: Tool, error: str, words: str) -> Outcome:
    """Nobody knows how far it got; for what only looks something up that does not matter."""
    return Outcome(False, failure(words), error=error, in_doubt=tool.effect != "read_only")
