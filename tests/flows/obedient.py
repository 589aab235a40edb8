"""A model that does whatever any text tells it to: the visitor's words and every result of a tool alike.

    CALL tool {"argument": "value"}      it calls that tool with these arguments, in this one step
    SAY anything                         it says that

A text is a command wherever it stands: in a line of its own, in a value of JSON however deep.
"""

import re
from typing import Any

import msgspec

from tests.wire_servers import Answer, Received, ToolUse, WireServer

_CALL = re.compile(r"^CALL ([^\s{]+)(?: (.*))?$", re.MULTILINE)
_SAY = re.compile(r"^SAY (.*)$", re.MULTILINE)


class Obedient:
    """Speaks through a wire server from now on. `stubborn`: it calls tools also when it may not call any."""

    def __init__(self, model: WireServer, *, stubborn: bool = False) -> None:
        self.calls: list[ToolUse] = []
        self._stubborn = stubborn
        model.default = self.answer

    def answer(self, request: Received) -> Answer:
        """Obeys what came since it last spoke."""
        text = "\n".join(_texts(request.body["messages"]))
        may_call = request.body.get("tool_choice") != "none" and bool(request.body.get("tools"))
        calls: tuple[ToolUse, ...] = ()
        if may_call or self._stubborn:
            calls = tuple(
                ToolUse(name, arguments or "{}", f"call_{len(self.calls) + at}")
                for at, (name, arguments) in enumerate(_CALL.findall(text))
            )
        self.calls += calls
        said = "\n".join(_SAY.findall(text))
        return Answer(said if calls or said else f"I read: {text}", tools=calls)


def _texts(messages: list[dict[str, Any]]) -> list[str]:
    """The visitor's last words, or the results of the last step."""
    last: list[str] = []
    for message in reversed(messages):
        if message["role"] in {"assistant", "system", "developer"}:
            break
        last[:0] = _strings(message["content"])
        if message["role"] == "user":
            break
    return last


def _strings(content: str) -> list[str]:
    try:
        return _inside(msgspec.json.decode(content))
    except msgspec.DecodeError:
        return [content]


def _inside(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for each in inner for text in _inside(each)]
