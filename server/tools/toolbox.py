"""The tools one client lets the AI use, as a model sees them and as its calls are checked."""

from collections.abc import Collection, Iterable
from typing import Any

import msgspec

from server.errors import FrontdeskError
from server.llm.provider import ToolSpec
from server.tools.arguments.json_limits import MAX_DEPTH, deeper_than, holds_nul
from server.tools.arguments.schema import MAX_BYTES, Checker, checker
from server.tools.tool import Tool


class BadArguments(FrontdeskError):
    """A model's arguments do not fit. The message lets it mend them; `problems` are its lines."""

    code = "bad_arguments"

    def __init__(self, tool: str, problems: list[str]) -> None:
        lines = "".join(f"\n- {problem}" for problem in problems)
        super().__init__(f"nothing was done: the arguments of {tool} are wrong{lines}\nMend them and call it again.")
        self.problems = problems


class Toolbox:
    """Frozen once made. `tools` is by name, in a stable order, which keeps a provider's prompt cache warm."""

    def __init__(self, tools: Iterable[Tool]) -> None:
        """Raises Invalid for a tool whose schema is none."""
        self.tools: dict[str, Tool] = {tool.name: tool for tool in sorted(tools, key=lambda tool: tool.name)}
        self._specs: dict[str, ToolSpec] = {}
        self._checkers: dict[str, Checker] = {}
        for tool in self.tools.values():
            offered = unbound(tool.parameters, tool.bound)
            self._checkers[tool.name] = checker(offered)
            self._specs[tool.name] = ToolSpec(tool.name, tool.description, offered)

    def specs(self, without: Collection[str] = ()) -> tuple[ToolSpec, ...]:
        """What to offer a model: every tool but those whose name is in `without`. Arguments that the server fills are
        not in the schemas."""
        return tuple(spec for name, spec in self._specs.items() if name not in without)

    def checked(self, tool: Tool, raw: str) -> dict[str, Any]:
        """The arguments in the JSON text that a model wrote; nothing at all counts as none. What it wrote for an
        argument that the server fills is dropped. Raises BadArguments."""
        arguments = _object(tool.name, raw)
        for name in tool.bound:
            arguments.pop(name, None)
        if problems := self._checkers[tool.name].problems(arguments):
            raise BadArguments(tool.name, problems)
        return arguments


def unbound(parameters: dict[str, Any], bound: Collection[str]) -> dict[str, Any]:
    """The schema of what a model may fill: all but the bound arguments."""
    # OpenAI refuses an object without properties, even an empty one.
    schema = {"properties": {}, **parameters}
    if bound:
        schema["properties"] = {name: inner for name, inner in schema["properties"].items() if name not in bound}
        schema["required"] = [name for name in schema.get("required", ()) if name not in bound]
    return schema


def _object(tool: str, raw: str) -> dict[str, Any]:
    if not raw.strip():
        return {}
    encoded = raw.encode("utf-8", "replace")
    if len(encoded) > MAX_BYTES:
        raise BadArguments(tool, [f"larger than {MAX_BYTES // 1024} KB"])
    try:
        arguments = msgspec.json.decode(encoded)
    except msgspec.DecodeError as error:
        raise BadArguments(tool, [f"not JSON: {error}"]) from error
    except RecursionError as error:
        raise BadArguments(tool, [f"deeper than {MAX_DEPTH} levels"]) from error
    if not isinstance(arguments, dict):
        raise BadArguments(tool, ['not a JSON object such as {"name": "value"}'])
    if deeper_than(arguments, MAX_DEPTH):
        raise BadArguments(tool, [f"deeper than {MAX_DEPTH} levels"])
    if holds_nul(msgspec.json.encode(arguments)):
        raise BadArguments(tool, ["a text holds the character U+0000"])
    return arguments
