"""JSON Schema (draft 2020-12) of a tool's arguments: checked when a tool is set up, and again on every call.

Nothing is ever fetched: a schema is whole in itself. Patterns run in linear time and references may not go round in a
circle, so neither an argument nor a schema can hang the process. What a provider would refuse is refused here, where
a person can mend it: https://platform.openai.com/docs/guides/function-calling, Anthropic's tool use guide and Ollama's
`api/types.go` want an object at the root, no combination there, and items for every array.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from typing import Any

import msgspec
from jsonschema_rs import Draft202012Validator, RegexOptions, ValidationError

from server.errors import Invalid
from server.tools.arguments.json_limits import check_json
from server.tools.arguments.problems import problem

# Bytes of a schema as JSON. It is sent to the model with every step, so a useful one has a few hundred.
MAX_BYTES = 64 * 1024
MAX_PROPERTIES = 64
MAX_PROBLEMS = 5
# Problems of a schema that are told at once: more than a person mends before looking again.
MAX_SCHEMA_PROBLEMS = 20
# Schemas, and levels of them, when every reference is followed: what one check of arguments may cost.
MAX_SCHEMAS = 2_000
MAX_LEVELS = 32
# What a compiled pattern may take, in bytes. An ordinary one takes a thousand.
_PATTERN_BYTES = 256 * 1024

NO_ARGUMENTS: dict[str, Any] = {"type": "object", "properties": {}}
DIALECT = "https://json-schema.org/draft/2020-12/schema"
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_REF = re.compile(r"#/\$defs/([A-Za-z0-9_-]{1,64})")
# Keywords whose value holds schemas by name, in a list, or is one.
_NAMED = ("properties", "patternProperties", "$defs", "dependentSchemas")
_LISTED = ("allOf", "anyOf", "oneOf", "prefixItems")
_SINGLE = (
    *("items", "additionalProperties", "contains", "propertyNames", "not", "if", "then", "else"),
    *("unevaluatedItems", "unevaluatedProperties", "contentSchema"),
)
# These give a reference another meaning than "the definition of that name, here".
_FORBIDDEN = ("$id", "$anchor", "$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$recursiveAnchor", "$vocabulary")
_NOT_AT_ROOT = ("$ref", "allOf", "anyOf", "oneOf", "not", "enum", "const")

_NO_OBJECT = 'must be an object such as {"type": "object", "properties": {}}'

_Path = tuple[str | int, ...]
_Schema = Mapping[str, Any]


class SchemaProblem(msgspec.Struct, frozen=True):
    """What is wrong at one place of a schema. `path` leads there: `properties/order_id/type`; "" is all of it."""

    path: str
    message: str


def check_schema(schema: object, *, field: str) -> None:
    """Raises Invalid, with `field` and the path within the schema, when a model could not be offered this schema."""
    if not isinstance(schema, dict):
        raise _refused(field, SchemaProblem("", _NO_OBJECT))
    check_json(schema, field=field, max_bytes=MAX_BYTES)
    for found in _shape(schema):
        raise _refused(field, found)
    try:
        _expand(schema)
        _compile(schema)
    except _Wrong as wrong:
        raise _refused(field, wrong.problem) from wrong
    except ValidationError as error:
        raise _refused(field, _at(tuple(error.instance_path), problem(error))) from error
    except ValueError as error:
        raise _refused(field, SchemaProblem("", str(error))) from error


def schema_problems(schema: object) -> list[SchemaProblem]:
    """All that `check_schema` would refuse one after the other, one a place, at most MAX_SCHEMA_PROBLEMS; [] for a good
    schema."""
    if not isinstance(schema, dict):
        return [SchemaProblem("", _NO_OBJECT)]
    try:
        check_json(schema, field="", max_bytes=MAX_BYTES)
    except Invalid as error:
        return [SchemaProblem("", error.message.removeprefix(": "))]
    found: dict[str, SchemaProblem] = {}
    for each in (*_shape(schema), *_against_dialect(schema)):
        found.setdefault(each.path, each)
    if not found:
        try:
            check_schema(schema, field="")
        except Invalid as error:  # what only the whole of it shows, such as a circle of references
            path, _, message = error.message.removeprefix("/").partition(": ")
            found[path] = SchemaProblem(path, message)
    return list(found.values())[:MAX_SCHEMA_PROBLEMS]


def check_bound(bound: Mapping[str, str], schema: Mapping[str, Any], *, field: str = "bound") -> None:
    """Raises Invalid when an argument that the server fills is none of the schema's, or cannot be text."""
    properties = schema.get("properties")
    for name in bound:
        inner = properties.get(name) if isinstance(properties, dict) else None
        if not isinstance(inner, dict):
            raise Invalid(f"{field}/{name}: there is no such argument in parameters_schema", field=field)
        kinds = inner.get("type", "string")
        if "string" not in (kinds if isinstance(kinds, list) else [kinds]):
            raise Invalid(f"{field}/{name}: is text, and parameters_schema wants {kinds}", field=field)


class Checker:
    """Checks arguments against one schema. An argument that the schema does not name is a problem, unless the schema
    says something of `additionalProperties` itself: models invent arguments, and a workflow may believe them."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self._validator = _compile({"additionalProperties": False, **NO_ARGUMENTS, **schema})
        self._names = tuple(schema.get("properties", ()))

    def problems(self, arguments: dict[str, Any]) -> list[str]:
        """What is wrong, at most MAX_PROBLEMS short lines that a model can mend the arguments from; empty when they
        fit. `arguments` come from JSON and are at most MAX_DEPTH deep."""
        lines = list(dict.fromkeys(_line(error, self._names) for error in self._validator.iter_errors(arguments)))
        if len(lines) > MAX_PROBLEMS:
            lines[MAX_PROBLEMS - 1 :] = [f"and {len(lines) - MAX_PROBLEMS + 1} problems more"]
        return lines


def checker(schema: dict[str, Any], *, field: str = "parameters_schema") -> Checker:
    """The schema's checker, compiled once. Raises Invalid for a schema that is none."""
    try:
        return _checker(msgspec.json.encode(schema), field)
    except (msgspec.MsgspecError, TypeError, ValueError, RecursionError) as error:
        raise Invalid(f"{field}: is not JSON", field=field) from error


@lru_cache(maxsize=1024)
def _checker(encoded: bytes, field: str) -> Checker:
    schema = msgspec.json.decode(encoded)
    check_schema(schema, field=field)
    return Checker(schema)


def _compile(schema: dict[str, Any]) -> Draft202012Validator:
    return Draft202012Validator(
        schema, validate_formats=True, offline=True, pattern_options=RegexOptions(size_limit=_PATTERN_BYTES)
    )


@cache
def _dialect() -> Draft202012Validator:
    """Checks schemas. The dialect's own schema comes with the library."""
    return _compile({"$ref": DIALECT})


def _against_dialect(schema: _Schema) -> Iterator[SchemaProblem]:
    try:
        for error in _dialect().iter_errors(schema):
            yield _at(tuple(error.instance_path), problem(error))
    except ValueError as error:  # what no JSON is, such as a number for a name
        yield SchemaProblem("", str(error))


def _shape(schema: _Schema) -> Iterator[SchemaProblem]:
    """What we and the providers ask for beyond the dialect."""
    yield from _root_problems(schema)
    for path, inner in _walk(schema, ()):
        yield from _problems_of_one(schema, inner, path)


def _root_problems(schema: _Schema) -> Iterator[SchemaProblem]:
    if schema.get("type") != "object":
        yield _at(("type",), 'must be "object" at the root')
    if schema.get("$schema", DIALECT) not in {DIALECT, f"{DIALECT}#"}:
        yield _at(("$schema",), f"may be {DIALECT} or left out")
    for keyword in _NOT_AT_ROOT:
        if keyword in schema:
            yield _at((keyword,), "is not allowed at the root; models' providers refuse it there")
    properties = schema.get("properties", {})
    if not isinstance(properties, dict):
        yield _at(("properties",), "must be an object")
        return
    for name, inner in properties.items():
        if not isinstance(inner, dict):
            yield _at(("properties", name), 'must be an object such as {"type": "string"}')
    required = schema.get("required", [])
    if "additionalProperties" in schema or "patternProperties" in schema or not isinstance(required, list):
        return
    for position, name in enumerate(required):
        if not isinstance(name, str) or name not in properties:
            yield _at(("required", position), f"{str(name)[:64]!r} is not among the properties")


def _problems_of_one(root: _Schema, schema: _Schema, path: _Path) -> Iterator[SchemaProblem]:
    for keyword in _FORBIDDEN + (("$schema",) if path else ()):
        if keyword in schema:
            yield _at((*path, keyword), "is not allowed")
    if "$ref" in schema:
        match = _REF.fullmatch(schema["$ref"]) if isinstance(schema["$ref"], str) else None
        definitions = root.get("$defs")
        if match is None:
            yield _at((*path, "$ref"), "must be #/$defs/ and a name; nothing is fetched from elsewhere")
        elif not isinstance(definitions, dict) or match.group(1) not in definitions:
            yield _at((*path, "$ref"), f"there is no {match.group(1)!r} in $defs")
    properties = schema.get("properties")
    if isinstance(properties, dict):
        if len(properties) > MAX_PROPERTIES:
            yield _at((*path, "properties"), f"has {len(properties)}; at most {MAX_PROPERTIES} are allowed")
        for name in properties:
            if not _NAME.fullmatch(name):
                yield _at((*path, "properties", name[:80]), "a name takes 1 to 64 letters, digits, _ and -")
    kinds = schema.get("type")
    if (kinds == "array" or (isinstance(kinds, list) and "array" in kinds)) and "items" not in schema:
        yield _at(path, 'an array needs items, such as {"type": "string"}')


def _walk(schema: object, path: _Path) -> Iterator[tuple[_Path, _Schema]]:
    """A schema and all schemas within, each with its path. What is not shaped like a schema is left to the dialect."""
    if isinstance(schema, dict):
        yield path, schema
        for step, inner in _within(schema):
            yield from _walk(inner, (*path, *step))


def _within(schema: _Schema) -> Iterator[tuple[_Path, object]]:
    for keyword in _NAMED:
        if isinstance(named := schema.get(keyword), dict):
            yield from (((keyword, name), inner) for name, inner in named.items())
    for keyword in _LISTED:
        if isinstance(listed := schema.get(keyword), list):
            yield from (((keyword, place), inner) for place, inner in enumerate(listed))
    for keyword in _SINGLE:
        if keyword in schema:
            yield (keyword,), schema[keyword]


class _Wrong(Exception):
    """Found on the way through a schema."""

    def __init__(self, path: _Path, message: str) -> None:
        super().__init__(message)
        self.problem = _at(path, message)


def _expand(schema: _Schema) -> None:
    """Raises _Wrong for a schema that is too much, or endless, when its references are followed."""
    expansion = _Expansion(schema.get("$defs"))
    for _, inner in _walk(schema, ()):
        expansion.measure(inner)


class _Expansion:
    """What a schema is when every reference is followed: a small text may stand for a huge or an endless one."""

    def __init__(self, definitions: object) -> None:
        self._definitions = definitions if isinstance(definitions, dict) else {}
        self._known: dict[str, tuple[int, int] | None] = {}

    def measure(self, schema: object, depth: int = 0) -> tuple[int, int]:
        """How many schemas there are, and how many levels. Raises _Wrong for a circle, and for too many of either."""
        if not isinstance(schema, dict):
            return 1, 1
        if depth > MAX_LEVELS:
            raise _Wrong((), f"goes deeper than {MAX_LEVELS} levels when its references are followed")
        sizes = [self.measure(inner, depth + 1) for step, inner in _within(schema) if step[0] != "$defs"]
        if "$ref" in schema:
            sizes.append(self._definition(schema["$ref"].removeprefix("#/$defs/"), depth + 1))
        count, levels = 1 + sum(each for each, _ in sizes), 1 + max((each for _, each in sizes), default=0)
        if count > MAX_SCHEMAS:
            raise _Wrong((), f"holds more than {MAX_SCHEMAS:,} schemas when its references are followed")
        if depth + levels > MAX_LEVELS:
            raise _Wrong((), f"goes deeper than {MAX_LEVELS} levels when its references are followed")
        return count, levels

    def _definition(self, name: str, depth: int) -> tuple[int, int]:
        if name not in self._known:
            self._known[name] = None
            self._known[name] = self.measure(self._definitions[name], depth)
        size = self._known[name]
        if size is None:
            raise _Wrong(("$defs", name), "leads back to itself; a definition may not hold itself")
        return size


def _line(error: ValidationError, names: tuple[str, ...]) -> str:
    path, said = "/".join(map(str, error.instance_path)), problem(error)
    if error.kind.name == "additionalProperties" and not path:
        said += f"; the arguments are {', '.join(names)}" if names else "; there are no arguments"
    return f"{path}: {said}" if path else said


def _at(path: _Path, message: str) -> SchemaProblem:
    return SchemaProblem("/".join(map(str, path)), message)


def _refused(field: str, found: SchemaProblem) -> Invalid:
    return Invalid(f"{field}/{found.path}: {found.message}" if found.path else f"{field}: {found.message}", field=field)
