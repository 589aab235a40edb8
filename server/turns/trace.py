"""What a running turn shows to operators: what its model is asked with, and each call of a tool with its result.

Live frames on the conversation's channel for operators, never stored: the record of tools and usage has it all. None is
made for a piece of text. They hold what the model reads and writes; what a tool is signed or authorised with is not
among that, and neither are the raw answers and errors of a client's systems.
"""

from decimal import Decimal
from typing import Any

import msgspec

from server.fanout import channels
from server.fanout.hub import Hub
from server.llm.provider import ModelRequest
from server.protocol import codec
from server.protocol.operator import ToolTrace, TurnTrace
from server.tools.result import reading, recordable
from server.turns.job import Job
from server.turns.plan import NAME_CHARACTERS, Planned

# Bytes of a call's arguments and of its result in a frame, together with room for the rest under the 8,000 of a notice.
ARGUMENTS_BYTES = 2_000
RESULT_BYTES = 4_000


class Trace:
    """One turn's. Nothing here waits."""

    def __init__(self, job: Job, *, hub: Hub) -> None:
        self._hub = hub
        self._conversation_id = job.conversation.public_id
        self._turn_id = job.turn.public_id
        self._channel = channels.operators(job.conversation.public_id)

    def asked(self, request: ModelRequest, *, tokens_input: int, cost: Decimal) -> None:
        """A call of the model begins. `cost` in US dollars is that of the calls before."""
        self._show(
            TurnTrace(
                conversation_id=self._conversation_id,
                turn_id=self._turn_id,
                model=request.model,
                prompt_tokens=tokens_input,
                tools=[tool.name for tool in request.tools] if request.tool_choice == "auto" else [],
                passages=[],
                cost=f"{cost:f}",
            )
        )

    def tool(self, call: Planned) -> None:
        """A call goes out, or, when its `result` is there, is over."""
        self._show(
            ToolTrace(
                conversation_id=self._conversation_id,
                turn_id=self._turn_id,
                call_id=call.key,
                name=str(recordable(call.made.name[:NAME_CHARACTERS])),
                arguments=_arguments(call),
                result=None if call.result is None else reading(call.result.content, limit=RESULT_BYTES),
            )
        )

    def _show(self, frame: TurnTrace | ToolTrace) -> None:
        self._hub.publish(self._channel, 0, codec.encode(frame))


def _arguments(call: Planned) -> dict[str, Any]:
    """As they go out; as the model wrote them where they could not."""
    text = reading(call.arguments or {"as_written": call.made.arguments}, limit=ARGUMENTS_BYTES)
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError:
        # Names alone filled the room, so that no JSON is left.
        return {"cut": text}
