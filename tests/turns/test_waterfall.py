"""Where the time of a turn went, as bars."""

from datetime import UTC, datetime, timedelta
from typing import Any

from server.repositories.model_traffic import Exchange
from server.repositories.tool_executions import ToolExecution
from server.repositories.turn_steps import TurnStep
from server.turns.waterfall import Span, spans

BEGAN = datetime(2031, 5, 20, 12, tzinfo=UTC)


def at(ms: int) -> datetime:
    return BEGAN + timedelta(milliseconds=ms)


def model(start: int, ms: int, **fields: Any) -> Exchange:
    given: dict[str, Any] = {
        "turn_id": 1,
        "no": 1,
        "gen": 1,
        "provider": "openai",
        "model": "m",
        "started_at": at(start),
        "first_ms": 20,
        "ms": ms,
        "tries": [],
        "request": "",
        "request_bytes": 0,
        "response": "",
        "response_bytes": 0,
        "tokens_input": 1,
        "tokens_output": 1,
        "tokens_cached": 0,
        "error": None,
        **fields,
    }
    return Exchange(**given)


def tool(no: int, start: int, ms: int | None, **fields: Any) -> ToolExecution:
    given: dict[str, Any] = {
        "id": no,
        "client_id": 1,
        "conversation_id": 1,
        "turn_id": 1,
        "call_id": f"trn_x:{no}",
        "tool_name": "look_up",
        "parameters": {},
        "n8n_response": None,
        "success": True,
        "error": None,
        "execution_time_ms": ms,
        "attempt": 1,
        "timestamp": at(start),
        "approval": None,
        "approval_until": None,
        **fields,
    }
    return ToolExecution(**given)


def ended(no: int, ms: int) -> TurnStep:
    return TurnStep(1, no, "tool", "done", b"", None, 1, BEGAN, at(ms))


def test_a_turn_with_a_tool() -> None:
    """Prepared, asked, looked up, asked again, written: each where it was."""
    bars = spans(BEGAN, at(400), [model(10, 90), model(210, 150)], [tool(2, 110, 80)], [ended(2, 195)])
    assert bars == [
        Span("preparing", "prompt, history, tools", 0, 10, ok=True),
        Span("model", "m", 10, 90, ok=True),
        Span("first", "m", 10, 20, ok=True),
        Span("tool", "look_up", 110, 80, ok=True),
        Span("model", "m", 210, 150, ok=True),
        Span("first", "m", 210, 20, ok=True),
        Span("writing", "answer", 360, 40, ok=True),
    ]


def test_a_tool_that_asked_first() -> None:
    """The visitor's time is theirs; the call stands where it was made."""
    asked = tool(2, 100, 50, approval="approved")
    bars = spans(BEGAN, at(2_000), [], [asked], [ended(2, 1_150)])
    assert [(bar.kind, bar.start_ms, bar.ms, bar.ok) for bar in bars if bar.name == "look_up"] == [
        ("approval", 100, 1_000, True),
        ("tool", 1_100, 50, True),
    ]


def test_a_tool_that_nobody_approved() -> None:
    """Was never called."""
    declined = tool(2, 100, 0, approval="declined", attempt=0, success=False)
    bars = spans(BEGAN, at(2_000), [], [declined], [ended(2, 600)])
    assert [(bar.kind, bar.ms, bar.ok) for bar in bars if bar.name == "look_up"] == [("approval", 500, False)]


def test_what_is_under_way() -> None:
    """Has no end: a call that runs, a visitor who decides, a turn that has not ended."""
    running = tool(2, 100, None, success=None)
    asking = tool(3, 120, None, success=None, attempt=0, approval="asked")
    bars = spans(BEGAN, None, [model(10, 80)], [running, asking], [])
    assert [(bar.kind, bar.ms, bar.ok) for bar in bars if bar.name == "look_up"] == [
        ("tool", None, None),
        ("approval", None, False),
    ]
    assert "writing" not in {bar.kind for bar in bars}


def test_a_model_that_failed() -> None:
    """Without a byte there is no time to the first one."""
    bars = spans(BEGAN, at(100), [model(10, 80, first_ms=None, error="model_busy: 429")], [], [])
    assert [(bar.kind, bar.ok) for bar in bars] == [("preparing", True), ("model", False), ("writing", True)]


def test_what_the_server_refused_takes_no_time() -> None:
    """And a turn of which nothing is known has no bars."""
    refused = tool(2, 100, 0, attempt=0, success=False)
    assert spans(BEGAN, at(100), [], [refused], []) == []
    assert spans(BEGAN, at(100), [], [], []) == []
