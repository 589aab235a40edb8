"""What a visitor sees of a call that they approve."""

from typing import Any

import pytest

from server.tools.details import details
from server.tools.tool import Tool, Webhook

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "day": {"type": "string", "title": "Tag"},
        "party_size": {"type": "integer"},
        "customer": {"type": "string"},
        "note": {"type": "string"},
    },
}
TOOL = Tool(
    name="book",
    description="",
    parameters=SCHEMA,
    effect="unsafe",
    proof="verified",
    confirm=True,
    bound={"customer": "visitor.id"},
    label={},
    source=Webhook("https://n8n.example.com", 1_000, None, {}),
)


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ({}, None),
        ({"customer": "ana"}, None),
        ({"note": "", "day": None}, None),
        ({"day": "tomorrow", "party_size": 2, "customer": "ana"}, "Tag: tomorrow, Party size: 2"),
        ({"note": "two\nlines\u202eand \u200b more"}, "Note: two lines and more"),
        ({"note": "x" * 200}, f"Note: {'x' * 79}…"),
        ({"note": [1, {"a": "<b>"}]}, 'Note: [1,{"a":"<b>"}]'),
    ],
)
def test_what_is_shown(arguments: dict[str, Any], shown: str | None) -> None:
    """Titles or names, short values, nothing that hides or turns text, nothing the server filled."""
    assert details(TOOL, arguments) == shown


def test_many_arguments() -> None:
    """The first eight, and a mark that there are more."""
    many = details(TOOL, {f"a{n}": n for n in range(12)})
    assert many is not None
    assert many.count(":") == 8
    assert many.endswith(", ...")
