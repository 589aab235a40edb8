"""All that is wrong with a definition at once: the same that is refused when it is saved, and no more."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.errors import Invalid
from server.tools.setup import explain
from server.tools.setup.definition import EndpointDefinition, ToolDefinition, read
from server.tools.setup.explain import explain_endpoint, explain_tool
from server.tools.setup.rules import checked_endpoint, checked_tool, endpoint_rules
from tests.tools.test_schema import BAD as BAD_SCHEMAS

SCHEMA: dict[str, Any] = {"type": "object", "properties": {"order_id": {"type": "string"}}, "required": ["order_id"]}
TOOL: dict[str, Any] = {
    "tool_name": "get_order",
    "description": "Looks an order up.",
    "parameters_schema": SCHEMA,
    "effect": "read_only",
}
ENDPOINT: dict[str, Any] = {
    "endpoint_name": "get_menu",
    "endpoint_url": "/menu/{order_id}",
    "description": "The menu.",
    "parameters_schema": SCHEMA,
}
# Changes that are wrong, and the fields that are told.
WRONG: list[tuple[dict[str, Any], set[str]]] = [
    ({"tool_name": ""}, {"tool_name"}),
    ({"tool_name": 5}, {"tool_name"}),
    ({"description": "x" * 1025}, {"description"}),
    ({"description": None}, {"description"}),
    ({"category": "A B"}, {"category"}),
    ({"effect": "x"}, {"effect"}),
    ({"proof": "x"}, {"proof"}),
    ({"confirm": 1}, {"confirm"}),
    ({"parameters_schema": []}, {"parameters_schema"}),
    ({"parameters_schema": {"type": "x"}}, {"parameters_schema"}),
    ({"bound": {"x": "visitor.id"}, "proof": "verified"}, {"bound"}),
    ({"bound": {"order_id": "visitor.id"}}, {"proof"}),
    ({"bound": {"x": "visitor.id"}}, {"bound"}),
    ({"bound": {"x": "visitor.password"}}, {"bound"}),
    # What hangs on a field that is wrong is not a second mistake.
    ({"bound": {"x": "visitor.id"}, "parameters_schema": {"type": "x"}, "proof": "verified"}, {"parameters_schema"}),
    ({"label": {"en": ""}}, {"label"}),
    ({"label": []}, {"label"}),
    ({"colour": "red"}, {"colour"}),
    ({"tool_name": "a b", "effect": "x", "label": {"en": ""}, "z": 1}, {"tool_name", "effect", "label", "z"}),
]


@pytest.mark.parametrize(("changes", "fields"), WRONG)
def test_each_field_that_is_wrong(changes: dict[str, Any], fields: set[str]) -> None:
    """And one of them is what saving says."""
    raw = {**TOOL, **changes}
    told = explain_tool(raw)
    assert {each.field for each in told.problems} == fields and told.offered is None
    assert all(each.message and "\n" not in each.message and len(each.message) < 400 for each in told.problems)
    with pytest.raises(Invalid) as caught:
        checked_tool(read(ToolDefinition, raw, field="definition"))
    assert caught.value.field in fields


@pytest.mark.parametrize("missing", TOOL)
def test_what_is_missing(missing: str) -> None:
    """Is said, unless it may be left out."""
    told = explain_tool({name: value for name, value in TOOL.items() if name != missing})
    expected = [] if missing == "parameters_schema" else [(missing, "is missing")]
    assert [(each.field, each.message) for each in told.problems] == expected
    assert {each.field for each in explain_tool({}).problems} == {"tool_name", "description", "effect"}


@pytest.mark.parametrize("schema", [schema for schema, _ in BAD_SCHEMAS if isinstance(schema, dict)])
def test_a_schema_that_is_refused_is_explained(schema: Any) -> None:
    """Whatever `check_schema` refuses has a problem here, at the same place for the first."""
    told = explain_tool({**TOOL, "parameters_schema": schema})
    assert told.problems and {each.field for each in told.problems} == {"parameters_schema"}
    with pytest.raises(Invalid) as caught:
        checked_tool(read(ToolDefinition, {**TOOL, "parameters_schema": schema}, field="definition"))
    places = {f"parameters_schema{'/' if each.path else ''}{each.path}: {each.message}" for each in told.problems}
    assert caught.value.message in places


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1, column 1: not JSON"),
        ("{", "line 1, column 2: not JSON"),
        ('{\n  "type": "object",\n}', "line 3, column 1: not JSON"),
        ('{"type": "object"} x', "column 20: not JSON, extra data"),
        ("{'type': 1}", "line 1, column 2: not JSON"),
        ('{"type": "object", "type": "array"}', "'type' stands twice"),
        ('{"type": "object", "properties": {"a": NaN}}', "NaN is not JSON"),
        ("[" * 100_000, "goes too deep"),
        ("1" * 10_000, "thousands of digits"),
        ('"x"', "expected `object`, got `str`"),
        (" " * 300_000, "far larger"),
        ('{"type": "objct"}', 'must be "object" at the root'),
    ],
)
def test_a_schema_as_text(text: str, said: str) -> None:
    """The line and the column of what is no JSON, and what a person would not see."""
    [problem] = explain_tool({**TOOL, "parameters_schema": text}).problems
    assert problem.field == "parameters_schema" and said in problem.message


def test_what_a_model_would_see() -> None:
    """Without the arguments that the server fills, and trimmed; from an object and from its text the same."""
    own = {**TOOL, "description": " Yes. ", "bound": {"order_id": "visitor.id"}, "proof": "verified"}
    told = explain_tool(own)
    assert told.problems == [] and told.offered is not None
    assert (told.offered.name, told.offered.description) == ("get_order", "Yes.")
    assert told.offered.parameters == {"type": "object", "properties": {}, "required": []}
    text = '{"type": "object", "properties": {"order_id": {"type": "string"}}, "required": ["order_id"]}'
    assert explain_tool({**own, "parameters_schema": text}) == told


@pytest.mark.parametrize("database", [False, True])
@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"method": "FETCH"}, "method"),
        ({"method": "GET"}, "method"),
        ({"method": "SQL"}, "method"),
        ({"effect": "unsafe", "method": "DELETE", "cache_ttl": 5}, "cache_ttl"),
        ({"effect": "read_only", "method": "PATCH"}, "effect"),
        ({"cache_ttl": -1}, "cache_ttl"),
        ({"endpoint_name": "a b"}, "endpoint_name"),
        ({"response_path": 5}, "response_path"),
        ({}, ""),
    ],
)
def test_live_data(changes: dict[str, Any], field: str, database: bool) -> None:
    """By the rules of its method, over HTTP and in a database: wrong here if and only if it is refused."""
    raw = {**ENDPOINT, **changes}
    told = {each.field for each in explain_endpoint(raw, endpoint_rules(database=database)).problems}
    try:
        checked_endpoint(read(EndpointDefinition, raw, field="definition"), database=database)
    except Invalid as error:
        assert error.field in told
    else:
        assert told == set()
    assert told <= {field, "method"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from([*ToolDefinition.__struct_fields__, "x", ""]), JSON, max_size=10))
def test_anything_at_all(raw: dict[str, Any]) -> None:
    """Is either a definition or explained; never both, and never an error."""
    told = explain_tool(raw)
    assert (told.offered is None) == bool(told.problems)
    assert len(told.problems) <= explain.MAX_PROBLEMS


def test_very_much_that_is_wrong() -> None:
    """A long answer helps nobody."""
    told = explain_tool({f"field{number}": number for number in range(5_000)})
    assert len(told.problems) == explain.MAX_PROBLEMS
