"""What the model reads while it uses tools stays within its window."""

import pytest

from server.errors import ModelRefused
from server.llm import tokens
from server.llm.provider import ChatMessage, ModelRequest, ToolCall, ToolSpec
from server.turns.context import OUTPUT_TOKENS, Prepared
from server.turns.transcript import RESULT_LEAST, Transcript

MODEL = "gpt-4o-mini"
TOOL = ToolSpec("look_up", "Looks up.", {"type": "object", "properties": {}})


def prepared(*texts: str) -> Prepared:
    """A request of a system prompt, these texts of history, and a question."""
    messages = (
        ChatMessage("system", "You help."),
        *(ChatMessage("user", text) for text in texts),
        ChatMessage("user", "And?"),
    )
    request = ModelRequest(MODEL, messages, OUTPUT_TOKENS)
    return Prepared(request, tokens.count_request(MODEL, messages), [])


def step(result: str, call_id: str = "call_1") -> list[ChatMessage]:
    return [
        ChatMessage("assistant", "Let me look.", tool_calls=(ToolCall(call_id, "look_up", "{}"),)),
        ChatMessage("tool", result, call_id=call_id),
    ]


def test_it_grows_by_what_was_said() -> None:
    """The next request has the call and its result, and counts what a fresh count would."""
    transcript = Transcript(prepared("Hello"), window=100_000)
    transcript.add(step('{"stock": 3}'))
    request = transcript.request(tools=(TOOL,), may_call=True, deadline_s=7.0)
    assert [message.role for message in request.messages] == ["system", "user", "user", "assistant", "tool"]
    assert transcript.tokens_input == tokens.count_request(MODEL, request.messages)
    assert (request.tools, request.tool_choice, request.deadline_s) == ((TOOL,), "auto", 7.0)
    assert transcript.request(tools=(TOOL,), may_call=False, deadline_s=1.0).tool_choice == "none"


def test_old_history_goes_first() -> None:
    """The oldest message is left out; the prompt, the question and the results stay whole."""
    transcript = Transcript(prepared("old " * 400, "newer"), window=OUTPUT_TOKENS + 500)
    transcript.add(step("result " * 300))
    request = transcript.request(tools=(), may_call=False, deadline_s=1.0)
    assert [message.text for message in request.messages[:3]] == ["You help.", "newer", "And?"]
    assert request.messages[-1].text == "result " * 300
    assert transcript.tokens_input == tokens.count_request(MODEL, request.messages) <= 500


def test_then_the_longest_result_is_cut() -> None:
    """Halved until it fits; the shorter one stays."""
    transcript = Transcript(prepared(), window=OUTPUT_TOKENS + 500)
    transcript.add(step("short"))
    transcript.add(step("word " * 3_000, "call_2"))
    request = transcript.request(tools=(), may_call=False, deadline_s=1.0)
    short, long = (message for message in request.messages if message.role == "tool")
    assert short.text == "short"
    assert len(long.text) < 3_000
    assert long.text.endswith("(cut to fit)")
    assert transcript.tokens_input == tokens.count_request(MODEL, request.messages) <= 500


def test_what_cannot_fit_is_refused() -> None:
    """A window that not even the shortest results fit."""
    transcript = Transcript(prepared(), window=OUTPUT_TOKENS + 60)
    transcript.add(step("word " * RESULT_LEAST))
    with pytest.raises(ModelRefused, match="do not fit"):
        transcript.request(tools=(), may_call=False, deadline_s=1.0)
