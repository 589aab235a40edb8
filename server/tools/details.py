"""What a visitor is shown of a call before they approve it: nobody can say yes to what they cannot see."""

import unicodedata
from collections.abc import Mapping
from typing import Any

import msgspec

from server.tools.tool import Tool

# Bounds of what stands on a small card. What is longer is cut, visibly.
_ITEMS = 8
_CHARACTERS = 80
# Line breaks, controls and the marks that turn the direction of text: none of them may dress up what is approved.
_HIDDEN = frozenset({"Cc", "Cf", "Zl", "Zp", "Cs", "Co"})


def details(tool: Tool, arguments: Mapping[str, Any]) -> str | None:
    """ "Day: tomorrow, Party: 2": each argument the model chose, named by its `title` in the schema or else by its own
    name. None when it chose none. What the server fills from the visitor is theirs already."""
    properties = tool.parameters.get("properties", {})
    shown = [
        f"{_name(name, properties.get(name))}: {_short(value)}"
        for name, value in arguments.items()
        if name not in tool.bound and value not in (None, "")
    ]
    more = ["..."] if len(shown) > _ITEMS else []
    return ", ".join([*shown[:_ITEMS], *more]) or None


def _name(name: str, schema: Any) -> str:
    title = schema.get("title") if isinstance(schema, dict) else None
    text = title if isinstance(title, str) and title.strip() else name.replace("_", " ").replace("-", " ").capitalize()
    return _plain(text)


def _short(value: Any) -> str:
    return _plain(value if isinstance(value, str) else msgspec.json.encode(value).decode())


def _plain(text: str) -> str:
    clean = "".join(each if unicodedata.category(each) not in _HIDDEN else " " for each in text)
    line = " ".join(clean.split())
    return line if len(line) <= _CHARACTERS else f"{line[: _CHARACTERS - 1]}…"
