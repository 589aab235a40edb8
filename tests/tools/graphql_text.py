"""As much of GraphQL as a shop's answers need: the text of a query, and data cut to the fields it names.

A field that the data does not have is an error, as it is of a real server, so a preset that asks for a field that does
not exist, or picks one that it did not ask for, fails its test.
"""

import re
from typing import Any

_TOKEN = re.compile(r'[{}()\[\]:!=]|\$?\w+|"[^"]*"')

Selection = dict[str, "Selection"]


class UnknownField(Exception):
    """The message of a real server."""


def selection(document: str) -> Selection:
    """The fields of a query, arguments left out."""
    tokens = [token[0] for token in _TOKEN.finditer(document[document.index("{") :])]
    found, end = _fields(tokens, 1)
    assert end == len(tokens), "something after the query"
    return found


def _fields(tokens: list[str], at: int) -> tuple[Selection, int]:
    fields: Selection = {}
    while tokens[at] != "}":
        name = tokens[at]
        assert re.fullmatch(r"\w+", name), f"not a field: {name}"
        at += 1
        if tokens[at] == "(":
            at = _closed(tokens, at)
        fields[name] = {}
        if tokens[at] == "{":
            fields[name], at = _fields(tokens, at + 1)
    return fields, at + 1


def _closed(tokens: list[str], at: int) -> int:
    depth = 0
    while True:
        depth += {"(": 1, ")": -1}.get(tokens[at], 0)
        at += 1
        if not depth:
            return at


def cut(data: Any, fields: Selection) -> Any:
    """Data with the selected fields only. Raises UnknownField."""
    if isinstance(data, list):
        return [cut(each, fields) for each in data]
    if data is None or not fields:
        assert not isinstance(data, dict), "an object needs a selection"
        return data
    for name in fields:
        if name not in data:
            raise UnknownField(f"Field '{name}' doesn't exist")
    return {name: cut(data[name], inner) for name, inner in fields.items()}
