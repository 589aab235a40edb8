"""Tools of a test: what is on record is answered, what is not is said to be, and nothing goes out."""

from typing import Any

import msgspec
import pytest

from server.tools.recorded import UNMATCHED, Recording, answer, recorded_toolbox
from server.tools.runner import Runner
from server.tools.tool import Call, Caller, Outcome, Recorded, RecordedCall, Tool, Webhook
from server.tools.toolbox import Toolbox

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"item": {"type": "string"}, "owner": {"type": "string"}},
    "required": ["item"],
}


def tool(name: str = "look_up", **fields: Any) -> Tool:
    """A tool that a webhook does, and that asks first."""
    given: dict[str, Any] = {
        "description": "d",
        "parameters": SCHEMA,
        "effect": "unsafe",
        "proof": "session",
        "confirm": True,
        "bound": {},
        "label": {},
        "source": Webhook("https://n8n.example/x", 1_000, b"sealed", {}),
        **fields,
    }
    return Tool(name=name, **given)


def call(item: str, content: str, *, name: str = "look_up", ok: bool = True, **more: str) -> RecordedCall:
    return RecordedCall(name, {"item": item, **more}, content, ok)


def box(*questions: list[RecordedCall], question: int = 1, tools: tuple[Tool, ...] = ()) -> Toolbox:
    recording = Recording(verified=False, questions=list(questions))
    return recorded_toolbox(Toolbox(tools or (tool(),)), recording, question=question)


def ask(toolbox: Toolbox, name: str = "look_up", **arguments: Any) -> Outcome:
    found = toolbox.tools[name]
    assert isinstance(found.source, Recorded)
    return answer(found, found.source, arguments)


def test_the_same_call() -> None:
    """Is answered with what the model read, whatever the order of its arguments; failures too."""
    toolbox = box([call("a", "one", owner="x"), call("b", "two", ok=False)])
    assert ask(toolbox, owner="x", item="a") == Outcome(True, "one")
    assert ask(toolbox, item="b") == Outcome(False, "two", error="failed on record")


def test_a_call_that_is_not_on_record() -> None:
    """Says so to the model, with what is on record, and to whoever reads the result."""
    toolbox = box([call("a", "one")], tools=(tool(), tool("pay")))
    for outcome, there in ((ask(toolbox, item="c"), '{"item":"a"}'), (ask(toolbox, "pay", item="a"), "no call of pay")):
        assert not outcome.ok and not outcome.in_doubt
        said = msgspec.json.decode(outcome.content)["error"]
        assert "this is a test" in said and there in said
        assert outcome.error is not None and outcome.error.startswith(UNMATCHED)


def test_a_call_that_was_made_again() -> None:
    """Each answer in turn, the last one from then on."""
    toolbox = box([call("a", "three left"), call("b", "-"), call("a", "two left")])
    assert [ask(toolbox, item="a").content for _ in range(3)] == ["three left", "two left", "two left"]


@pytest.mark.parametrize(("question", "first"), [(1, "then"), (2, "now"), (3, "then")])
def test_this_questions_record_comes_first(question: int, first: str) -> None:
    """Then the others', for a model that looks something up sooner or later than it did."""
    toolbox = box([call("a", "then"), call("b", "only then")], [call("a", "now")], question=question)
    assert ask(toolbox, item="a").content == first
    assert ask(toolbox, item="b").content == "only then"


def test_what_the_server_fills_does_not_count() -> None:
    """Another visitor stands there."""
    bound = tool(bound={"owner": "visitor.email"}, proof="verified")
    toolbox = box([call("a", "one", owner="ann@x.example")], tools=(bound,))
    assert ask(toolbox, item="a", owner="test@example.invalid").content == "one"


def test_the_tools_stay_what_they_are() -> None:
    """But for what does their work, and for asking first."""
    kept = Toolbox([tool(), tool("pay", effect="idempotent")])
    mocked = recorded_toolbox(kept, Recording(verified=False, questions=[]), question=1)
    assert mocked.specs() == kept.specs()
    for name, each in mocked.tools.items():
        assert isinstance(each.source, Recorded)
        assert msgspec.structs.replace(each, source=kept.tools[name].source, confirm=True) == kept.tools[name]
        assert not each.confirm


class _Nobody:
    """An executor that must not be reached."""

    async def run(self, tool: Tool, call: Call) -> Outcome:
        raise AssertionError("a test's tool went out")


async def test_the_runner_sends_nothing_out() -> None:
    """Whatever the call."""
    runner = Runner(webhooks=_Nobody(), live_data=_Nobody())
    caller = Caller(1, "pk", "Shop", "cnv", "trn", 1, "en", "console", None)
    found = box([call("a", "one")]).tools["look_up"]
    for item, content in (("a", "one"), ("z", None)):
        outcome, ms = await runner.run(found, Call("trn:1", "look_up", {"item": item}, caller, 5.0))
        assert ms == 0 and (outcome.content == content or content is None)
