"""JSON Schema of arguments: what may be set up, and what a model is told of its mistakes."""

import time
from typing import Any

import jsonschema
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.errors import Invalid
from server.tools.arguments.json_limits import MAX_DEPTH, deeper_than, holds_nul
from server.tools.arguments.schema import (
    MAX_LEVELS,
    MAX_PROBLEMS,
    MAX_PROPERTIES,
    MAX_SCHEMA_PROBLEMS,
    Checker,
    SchemaProblem,
    check_schema,
    checker,
    schema_problems,
)

ORDER: dict[str, Any] = {
    "type": "object",
    "properties": {
        "order_id": {"type": "string", "pattern": "^[0-9]{3,10}$"},
        "items": {"type": "array", "items": {"$ref": "#/$defs/item"}, "maxItems": 3},
        "day": {"type": "string", "format": "date"},
        "size": {"enum": ["small", "large"]},
        "count": {"type": "integer", "minimum": 1, "maximum": 9},
    },
    "required": ["order_id"],
    "$defs": {"item": {"type": "object", "properties": {"sku": {"type": "string"}}, "required": ["sku"]}},
}


def _nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


def _of(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def _defs(**definitions: Any) -> dict[str, Any]:
    return {**_of(a={"$ref": "#/$defs/d0"}), "$defs": definitions}


def _chain(length: int) -> dict[str, Any]:
    """Definitions that each hold the next one."""
    links = {f"d{n}": {"$ref": f"#/$defs/d{n + 1}"} for n in range(length)}
    return _defs(**links, **{f"d{length}": {"type": "string"}})


def _doubling(length: int) -> dict[str, Any]:
    """A few lines of text that stand for 2 ** length schemas."""
    links = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(length)}
    return _defs(**links, **{f"d{length}": {"type": "string"}})


BAD: list[tuple[Any, str]] = [
    (None, "p: must be an object"),
    ([], "p: must be an object"),
    ("object", "p: must be an object"),
    (True, "p: must be an object"),
    ({}, 'p/type: must be "object"'),
    ({"type": "array", "items": {}}, 'p/type: must be "object"'),
    ({"type": ["object", "null"]}, 'p/type: must be "object"'),
    ({"type": "object", "properties": []}, "p/properties: must be an object"),
    (_of(a=True), "p/properties/a: must be an object"),
    (_of(a="string"), "p/properties/a: must be an object"),
    (_of(order_id={"type": "strin"}), "p/properties/order_id/type: "),
    (_of(a={"type": "string", "minLength": -1}), "p/properties/a/minLength: must be at least 0"),
    (_of(a={"type": "string", "maxLength": "5"}), "p/properties/a/maxLength: must be of type integer"),
    (_of(a={"enum": "x"}), "p/properties/a/enum: must be of type array"),
    (_of(a={"properties": 5}), "p/properties/a/properties: must be of type object"),
    (_of(a={"anyOf": []}), "p/properties/a/anyOf: must have at least 1"),
    ({"type": "object", "required": "a"}, "p/required: must be of type array"),
    ({"type": "object", "required": ["a"]}, "p/required/0: 'a' is not among the properties"),
    ({**_of(a={}), "required": ["a", "a"]}, "p/required: must not have the same item twice"),
    ({**_of(a={}), "required": [1]}, "p/required/0: '1' is not among"),
    ({"type": "object", "additionalProperties": 5}, "p/additionalProperties: "),
    # What models' providers refuse.
    ({"type": "object", "anyOf": [{}]}, "p/anyOf: is not allowed at the root"),
    ({"type": "object", "oneOf": [{}]}, "p/oneOf: is not allowed at the root"),
    ({"type": "object", "allOf": [{}]}, "p/allOf: is not allowed at the root"),
    ({"type": "object", "not": {}}, "p/not: is not allowed at the root"),
    ({"type": "object", "enum": [{}]}, "p/enum: is not allowed at the root"),
    ({"type": "object", "$ref": "#/$defs/a", "$defs": {"a": {}}}, "p/$ref: is not allowed at the root"),
    (_of(a={"type": "array"}), "p/properties/a: an array needs items"),
    (_of(a={"type": ["null", "array"]}), "p/properties/a: an array needs items"),
    (_of(**{"order id": {}}), "p/properties/order id: a name takes"),
    (_of(**{"": {}}), "p/properties/: a name takes"),
    (_of(**{"n" * 65: {}}), "a name takes 1 to 64"),
    (_of(**{"größe": {}}), "p/properties/größe: a name takes"),
    (_of(a=_of(**{"b.c": {}})), "p/properties/a/properties/b.c: a name takes"),
    (_of(**{f"p{n}": {} for n in range(MAX_PROPERTIES + 1)}), "p/properties: has 65; at most 64"),
    # Patterns without a linear time, and those that take too much memory.
    (_of(a={"type": "string", "pattern": "("}), "p/properties/a/pattern: must be a regular expression"),
    (_of(a={"type": "string", "pattern": "(?=a)b"}), "p/properties/a/pattern: must be a regular expression"),
    (_of(a={"type": "string", "pattern": r"(a)\1"}), "p/properties/a/pattern: must be a regular expression"),
    (_of(a={"type": "string", "pattern": "((a{99}){99}){99}"}), "p/properties/a/pattern: must be"),
    (_of(a={"type": "object", "patternProperties": {"(?<!a)b": {}}}), "p/properties/a/patternProperties"),
    # References.
    (_of(a={"$ref": "http://127.0.0.1/a.json"}), "p/properties/a/$ref: must be #/$defs/ and a name"),
    (_of(a={"$ref": "file:///etc/passwd"}), "p/properties/a/$ref: must be #/$defs/"),
    (_of(a={"items": {"anyOf": [{"$ref": "other.json"}]}}), "p/properties/a/items/anyOf/0/$ref: must be"),
    (_of(a={"$ref": "https://json-schema.org/draft/2020-12/schema"}), "p/properties/a/$ref: must be"),
    (_of(a={"$ref": "#"}), "p/properties/a/$ref: must be"),
    (_of(a={"$ref": "#/properties/a"}), "p/properties/a/$ref: must be"),
    (_of(a={"$ref": 5}), "p/properties/a/$ref: must be"),
    (_of(a={"$ref": "#/$defs/b"}), "p/properties/a/$ref: there is no 'b'"),
    ({**_of(a={"$ref": "#/$defs/b"}), "$defs": 5}, "p/properties/a/$ref: there is no 'b'"),
    ({"type": "object", "$defs": {"x": {"$ref": "http://h/x"}}}, "p/$defs/x/$ref: must be"),
    ({"type": "object", "$id": "http://h/x"}, "p/$id: is not allowed"),
    (_of(a={"$id": "x"}), "p/properties/a/$id: is not allowed"),
    (_of(a={"$dynamicRef": "#x"}), "p/properties/a/$dynamicRef: is not allowed"),
    (_of(a={"$anchor": "x"}), "p/properties/a/$anchor: is not allowed"),
    ({"type": "object", "$schema": "http://h/schema"}, "p/$schema: may be https://json-schema.org"),
    ({"type": "object", "$schema": "http://json-schema.org/draft-07/schema#"}, "p/$schema: may be"),
    (_of(a={"$schema": "http://h/schema"}), "p/properties/a/$schema: is not allowed"),
    (_defs(d0={"$ref": "#/$defs/d0"}), "p/$defs/d0: leads back to itself"),
    (_defs(d0={"$ref": "#/$defs/d1"}, d1={"items": {"$ref": "#/$defs/d0"}}), "leads back to itself"),
    ({"type": "object", "$defs": {"x": {"not": {"$ref": "#/$defs/x"}}}}, "p/$defs/x: leads back to itself"),
    (_chain(MAX_LEVELS), "goes deeper than 32 levels when its references"),
    (_chain(2_000), "goes deeper than 32 levels when its references"),
    (_doubling(12), "holds more than 2,000 schemas when its references"),
    # Size, depth, and what Postgres does not store.
    (_of(a={"description": "x" * 65_536}), "p: is larger than 64 KB"),
    ({"type": "object", "default": _nested(MAX_DEPTH)}, "p: goes deeper than 16 levels"),
    ({"type": "object", "default": _nested(100_000)}, "p: goes deeper than 16 levels"),
    (_of(a={"description": "a\x00b"}), "p: may not contain the character U+0000"),
    (_of(a={"description": "\ud800"}), "p: is not JSON"),
    (_of(a={1: {}}), "p"),
    (_of(a={"default": object()}), "p: is not JSON"),
]


@pytest.mark.parametrize(("schema", "said"), BAD, ids=[f"{n}" for n in range(len(BAD))])
def test_a_bad_schema_is_refused_with_its_path(schema: Any, said: str) -> None:
    """The field for programs, the path within and what is allowed for people; in one line, at once."""
    began = time.perf_counter()
    with pytest.raises(Invalid) as caught:
        check_schema(schema, field="p")
    assert time.perf_counter() - began < 2
    assert caught.value.field == "p"
    assert caught.value.message.startswith("p")
    assert said in caught.value.message
    assert "\n" not in caught.value.message and len(caught.value.message) < 400


@pytest.mark.parametrize(("schema", "said"), BAD, ids=[f"{n}" for n in range(len(BAD))])
def test_a_bad_schema_is_explained_at_once(schema: Any, said: str) -> None:
    """What it is refused for is among its problems, each place once, and it takes no longer."""
    began = time.perf_counter()
    found = schema_problems(schema)
    assert time.perf_counter() - began < 2
    assert any(said in f"p{'/' if each.path else ''}{each.path}: {each.message}" for each in found)
    assert len({each.path for each in found}) == len(found) <= MAX_SCHEMA_PROBLEMS


def test_every_place_that_is_wrong() -> None:
    """In one answer: a person mends them all and comes back once."""
    schema = {**_of(a={"type": "strin"}, b={"type": "array"}, c={"minLength": -1}, d=7), "required": ["x"], "not": {}}
    assert {each.path for each in schema_problems(schema)} == {
        "not",
        "required/0",
        "properties/a/type",
        "properties/b",
        "properties/c/minLength",
        "properties/d",
    }
    many = _of(**{f"p{number}": {"type": "strin"} for number in range(MAX_SCHEMA_PROBLEMS + 5)})
    assert len(schema_problems(many)) == MAX_SCHEMA_PROBLEMS
    assert schema_problems(ORDER) == []
    assert schema_problems("x") == [SchemaProblem("", 'must be an object such as {"type": "object", "properties": {}}')]


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object"},
        {"type": "object", "$schema": "https://json-schema.org/draft/2020-12/schema", "title": "t"},
        ORDER,
        {"type": "object", "required": ["anything"], "additionalProperties": True},
        {"type": "object", "required": ["x_1"], "patternProperties": {"^x_": {"type": "string"}}},
        # Data that looks like a reference is data.
        _of(a={"const": {"$ref": "http://127.0.0.1/"}, "default": {"$id": "x"}, "examples": [{"$ref": 5}]}),
        _of(a={"anyOf": [{"type": "string"}, {"type": "null"}]}, items={"type": "string"}),
        _of(a={"type": "string", "pattern": r"^(a+)+$"}, b={"type": "string", "pattern": r"^\w+\d{3}$"}),
        _doubling(5),
    ],
)
def test_a_good_schema_is_taken(schema: dict[str, Any]) -> None:
    """And another implementation of JSON Schema agrees that it is one."""
    check_schema(schema, field="p")
    jsonschema.Draft202012Validator.check_schema(schema)
    assert checker(schema) is checker(msgspec.json.decode(msgspec.json.encode(schema)))


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        ({"order_id": "12345"}, []),
        ({}, ["'order_id' is missing"]),
        ({"order_id": 12345}, ["order_id: must be of type string; it is 12345"]),
        ({"order_id": "x"}, ['order_id: must be text that matches ^[0-9]{3,10}$; it is "x"']),
        ({"order_id": "123", "count": 0}, ["count: must be at least 1; it is 0"]),
        ({"order_id": "123", "count": 10}, ["count: must be at most 9; it is 10"]),
        ({"order_id": "123", "count": 1.5}, ["count: must be of type integer; it is 1.5"]),
        ({"order_id": "123", "size": "huge"}, ['size: must be one of "small", "large"; it is "huge"']),
        ({"order_id": "123", "day": "tomorrow"}, ['day: must be a date such as 2026-01-31; it is "tomorrow"']),
        ({"order_id": "123", "items": [{}]}, ["items/0: 'sku' is missing"]),
        ({"order_id": "123", "items": [{"sku": "a"}] * 4}, ["items: must have at most 3 items"]),
        (
            {"order_id": "123", "id": 1},
            ["'id' is not known here; the arguments are order_id, items, day, size, count"],
        ),
    ],
)
def test_a_bad_argument_is_explained(arguments: dict[str, Any], lines: list[str]) -> None:
    """With its path, what is wanted and what was given, so that a model can mend it."""
    assert Checker(ORDER).problems(arguments) == lines


def test_forms_are_explained() -> None:
    """Where an argument may have several forms, each says why it does not fit."""
    schema = _of(a={"anyOf": [{"type": "integer"}, {"type": "null"}]})
    assert Checker(schema).problems({"a": "x"}) == [
        'a: fits none of the forms it may have (must be of type integer; it is "x"; or must be of type null; it is "x")'
    ]


def test_what_the_schema_does_not_name_is_refused() -> None:
    """Models invent arguments. A schema that wants them says so."""
    assert Checker({"type": "object"}).problems({"a": 1}) == ["'a' is not known here; there are no arguments"]
    assert Checker({"type": "object", "additionalProperties": True}).problems({"a": 1}) == []
    assert Checker({"type": "object", "additionalProperties": {}}).problems({"a": 1}) == []
    strict = {"type": "object", "additionalProperties": {"type": "string"}}
    assert Checker(strict).problems({"a": 1}) == ["a: must be of type string; it is 1"]
    assert Checker({"type": "object", "patternProperties": {"^x_": {}}}).problems({"x_a": 1}) == []


def test_many_problems_are_few_lines() -> None:
    """Long values and long lists are cut, and what is left out is counted."""
    schema = {**_of(**{f"a{n}": {"type": "integer"} for n in range(20)}), "required": [f"a{n}" for n in range(20)]}
    lines = Checker(schema).problems({f"a{n}": "x" * 10_000 for n in range(10)})
    assert len(lines) == MAX_PROBLEMS
    assert all(len(line) < 120 for line in lines)
    assert lines[-1] == "and 16 problems more"
    choices = _of(a={"enum": [f"choice {n}" for n in range(1_000)]})
    [line] = Checker(choices).problems({"a": "y" * 10_000})
    assert len(line) < 500


def test_a_hostile_argument_does_not_hang() -> None:
    """What makes other engines backtrack for years takes a linear one milliseconds."""
    check = Checker(
        _of(a={"type": "string", "pattern": "^(a+)+$"}, b={"type": "array", "uniqueItems": True, "items": {}})
    )
    began = time.perf_counter()
    assert len(check.problems({"a": "a" * 60_000 + "!", "b": [{"x": n} for n in range(10_000)]})) == 1
    assert time.perf_counter() - began < 2


_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
_plain = {
    **_of(
        **{
            "order_id": {"type": "string", "minLength": 2, "maxLength": 5},
            "count": {"type": ["integer", "null"], "minimum": 1},
            "tags": {"type": "array", "items": {"enum": ["a", "b", 1]}, "minItems": 1, "uniqueItems": True},
        }
    ),
    "required": ["order_id"],
    "additionalProperties": False,
}


@given(st.dictionaries(st.sampled_from(["order_id", "count", "tags", "x"]), _values))
def test_it_agrees_with_another_implementation(arguments: dict[str, Any]) -> None:
    """Arguments have problems exactly when `jsonschema` finds some."""
    assert (Checker(_plain).problems(arguments) == []) == jsonschema.Draft202012Validator(_plain).is_valid(arguments)


@given(_values)
def test_every_problem_is_a_short_line(value: Any) -> None:
    """Whatever a model writes."""
    for line in Checker(ORDER).problems({"order_id": value, "size": value, "items": value, "count": value}):
        assert line and len(line) < 400 and "\n" not in line


@given(st.integers(1, 40), st.integers(1, 40))
def test_depth_is_counted_in_levels(levels: int, allowed: int) -> None:
    """An object is one level, whatever is plain none."""
    assert deeper_than(_nested(levels), allowed) == (levels > allowed)
    assert deeper_than([[_nested(levels)]], allowed) == (levels + 2 > allowed)
    assert not deeper_than("text", 0)


@given(st.text())
def test_nul_is_found_in_json(text: str) -> None:
    """And only there, whatever else is escaped."""
    assert holds_nul(msgspec.json.encode([text])) == ("\x00" in text)
    assert holds_nul(msgspec.json.encode([f"{text}\x00"]))
    assert not holds_nul(msgspec.json.encode([text.replace("\x00", "\\u0000")]))
