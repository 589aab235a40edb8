"""What the model reads, growing while it uses tools, and always within its window."""

from collections.abc import Sequence

import msgspec

from server import log
from server.errors import ModelRefused
from server.llm import tokens
from server.llm.provider import ChatMessage, ModelRequest, ToolSpec
from server.turns.context import OUTPUT_TOKENS, Prepared

logger = log.get("turns")

# Bytes that a tool's result keeps at least when a transcript must shrink.
RESULT_LEAST = 512
_CUT = "... (cut to fit)"


class Transcript:
    """The messages of one turn: what was prepared, then what the model and its tools said."""

    def __init__(self, prepared: Prepared, *, window: int) -> None:
        self.tokens_input = prepared.tokens_input
        self._request = prepared.request
        self._before = list(prepared.request.messages)
        self._steps: list[ChatMessage] = []
        self._room = (window - OUTPUT_TOKENS) / tokens.safety_factor(prepared.request.model)

    def add(self, messages: Sequence[ChatMessage]) -> None:
        """One step: the model's message with its calls, then their results."""
        self._steps.extend(messages)
        self.tokens_input += self._count(messages)

    def turn_to(self, model: str, *, window: int) -> None:
        """From now on for another model, at its own temperature."""
        self.tokens_input -= self._count([*self._before, *self._steps])
        self._request = msgspec.structs.replace(self._request, model=model, temperature=None)
        self.tokens_input += self._count([*self._before, *self._steps])
        self._room = (window - OUTPUT_TOKENS) / tokens.safety_factor(model)

    def request(self, *, tools: tuple[ToolSpec, ...], may_call: bool, deadline_s: float) -> ModelRequest:
        """The next request. Raises ModelRefused when even a shrunk transcript does not fit."""
        self._fit()
        return msgspec.structs.replace(
            self._request,
            messages=(*self._before, *self._steps),
            tools=tools,
            tool_choice="auto" if may_call else "none",
            deadline_s=deadline_s,
        )

    def _count(self, messages: Sequence[ChatMessage]) -> int:
        model = self._request.model
        return tokens.count_request(model, messages) - tokens.count_request(model, ())

    def _fit(self) -> None:
        """Leaves out the oldest history, then the larger halves of results."""
        while self.tokens_input > self._room:
            # The first is the system prompt, the last the visitor's words.
            if len(self._before) > 2:
                self.tokens_input -= self._count([self._before.pop(1)])
                continue
            at, longest = max(
                ((at, message) for at, message in enumerate(self._steps) if message.role == "tool"),
                key=lambda each: len(each[1].text),
                default=(0, None),
            )
            if longest is None or len(longest.text) <= RESULT_LEAST:
                raise ModelRefused(f"the turn's {self.tokens_input} tokens do not fit {self._request.model}")
            logger.info("result cut to fit the window", model=self._request.model, characters=len(longest.text))
            shorter = msgspec.structs.replace(longest, text=longest.text[: len(longest.text) // 2] + _CUT)
            self.tokens_input += self._count([shorter]) - self._count([longest])
            self._steps[at] = shorter
