"""All that is wrong with a definition at once, field by field, for whoever is just writing it. Pure."""

import json
import re
from collections.abc import Sequence
from typing import Any, Final, NoReturn, TypeVar

import msgspec

from server.errors import Invalid
from server.protocol.admin.tools import DefinitionChecked, DefinitionProblem, OfferedTool
from server.tools.arguments.schema import MAX_BYTES, schema_problems
from server.tools.setup.definition import EndpointDefinition, ToolDefinition, read
from server.tools.setup.rules import Rule, tool_rules
from server.tools.toolbox import unbound

# Problems that are told at once.
MAX_PROBLEMS: Final = 50

_SCHEMA: Final = "parameters_schema"
_MESSAGE: Final = re.compile(r"(?P<field>[a-z0-9_]+)(?:/(?P<path>[^:]*))?: (?P<what>.*)", re.DOTALL)
# Stands in for a field that is wrong, so that the others are looked at all the same.
_BLANK_TOOL: Final[dict[str, Any]] = {"tool_name": "x", "description": "x", "effect": "read_only"}
_BLANK_ENDPOINT: Final[dict[str, Any]] = {"endpoint_name": "x", "endpoint_url": "/", "description": "x"}

T = TypeVar("T", ToolDefinition, EndpointDefinition)


def explain_tool(raw: dict[str, Any]) -> DefinitionChecked:
    """A tool of the catalogue. `raw` may be anything; its `parameters_schema` may be JSON as text, too."""
    problems, definition = _explain(ToolDefinition, raw, _BLANK_TOOL, tool_rules())
    return _checked(problems, definition.tool_name, definition)


def explain_endpoint(raw: dict[str, Any], rules: Sequence[Rule[EndpointDefinition]]) -> DefinitionChecked:
    """Live data, by the rules of its integration. `raw` as above."""
    problems, definition = _explain(EndpointDefinition, raw, _BLANK_ENDPOINT, rules)
    return _checked(problems, definition.endpoint_name, definition)


def _explain(
    kind: type[T], raw: dict[str, Any], blank: dict[str, Any], rules: Sequence[Rule[T]]
) -> tuple[list[DefinitionProblem], T]:
    """The problems, and the definition with a blank for every field that has one."""
    problems, good = _readable(kind, raw, blank)
    if not any(each.field == _SCHEMA for each in problems):
        schema = good.get(_SCHEMA, {"type": "object"})
        problems += [
            DefinitionProblem(field=_SCHEMA, path=each.path, message=each.message) for each in schema_problems(schema)
        ]
    definition = read(kind, {**blank, **good}, field="definition")
    for rule in rules:
        # What is built on a field that is wrong would be a second complaint about the first mistake.
        if not rule.fields & {each.field for each in problems}:
            try:
                rule.check(definition)
            except Invalid as error:
                problems.append(_problem(error))
    return problems, definition


def _readable(
    kind: type[T], raw: dict[str, Any], blank: dict[str, Any]
) -> tuple[list[DefinitionProblem], dict[str, Any]]:
    """What cannot be read as this kind of definition, and the fields that can."""
    fields = {each.encode_name: each for each in msgspec.structs.fields(kind)}
    problems = [_complaint(name, "is missing") for name, each in fields.items() if each.required and name not in raw]
    good: dict[str, Any] = {}
    for name, given in raw.items():
        value = given
        try:
            if name == _SCHEMA and isinstance(given, str):
                value = _parsed(given)
            read(kind, {**blank, name: value}, field=name)
        except Invalid as error:
            # `read` names a part of a field as "bound/who", and what is unknown by its own name.
            problems.append(_problem(error) if name in fields else _complaint(name[:100], _unknown(fields)))
        else:
            good[name] = value
    return problems, good


def _parsed(text: str) -> object:
    """JSON that a person wrote. Raises Invalid with the line and the column of what is none."""
    if len(text.encode("utf-8", "replace")) > 4 * MAX_BYTES:
        raise Invalid(f"{_SCHEMA}: is far larger than the {MAX_BYTES // 1024} KB that it may have", field=_SCHEMA)
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        what = error.msg[:1].lower() + error.msg[1:]
        raise Invalid(
            f"{_SCHEMA}: line {error.lineno}, column {error.colno}: not JSON, {what}", field=_SCHEMA
        ) from error
    except RecursionError as error:
        raise Invalid(f"{_SCHEMA}: goes too deep", field=_SCHEMA) from error
    except ValueError as error:
        raise Invalid(f"{_SCHEMA}: has a number of thousands of digits", field=_SCHEMA) from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object in which no name stands twice: all but the last would be lost without a word."""
    made: dict[str, Any] = {}
    for name, value in pairs:
        if name in made:
            raise Invalid(f"{_SCHEMA}: {name[:100]!r} stands twice in one object", field=_SCHEMA)
        made[name] = value
    return made


def _no_number(constant: str) -> NoReturn:
    raise Invalid(f"{_SCHEMA}: {constant} is not JSON", field=_SCHEMA)


def _unknown(known: dict[str, Any]) -> str:
    return f"there is no such field; there are {', '.join(known)}"


def _complaint(field: str, message: str) -> DefinitionProblem:
    return DefinitionProblem(field=field, path="", message=message)


def _problem(error: Invalid) -> DefinitionProblem:
    """Our messages begin with the field and the path within: `label/en: takes 1 to 80 characters`."""
    field = error.field or ""
    found = _MESSAGE.fullmatch(error.message)
    if found is not None and found["field"] == field:
        return DefinitionProblem(field=field, path=found["path"] or "", message=found["what"])
    return DefinitionProblem(field=field, path="", message=error.message.removeprefix(f"{field} "))


def _checked(
    problems: list[DefinitionProblem], name: str, definition: ToolDefinition | EndpointDefinition
) -> DefinitionChecked:
    if problems:
        return DefinitionChecked(problems=problems[:MAX_PROBLEMS], offered=None)
    parameters = unbound(definition.parameters_schema, definition.bound)
    offered = OfferedTool(name=name, description=definition.description.strip(), parameters=parameters)
    return DefinitionChecked(problems=[], offered=offered)
