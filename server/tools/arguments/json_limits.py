"""What JSON that people and models write may be: its size, its depth, and what Postgres can store of it."""

import re

import msgspec

from server.errors import Invalid

# Levels of objects and lists, of a schema, a configuration and a call's arguments.
MAX_DEPTH = 16

_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


def check_json(value: object, *, field: str, max_bytes: int) -> None:
    """Raises Invalid when a value is too large, too deep, or holds what neither JSON nor Postgres can say."""
    if deeper_than(value, MAX_DEPTH):
        raise Invalid(f"{field}: goes deeper than {MAX_DEPTH} levels", field=field)
    try:
        encoded = msgspec.json.encode(value)
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError) as error:
        raise Invalid(f"{field}: is not JSON", field=field) from error
    if len(encoded) > max_bytes:
        raise Invalid(f"{field}: is larger than {max_bytes // 1024} KB of JSON", field=field)
    if holds_nul(encoded):
        raise Invalid(f"{field}: may not contain the character U+0000", field=field)


def holds_nul(encoded: bytes) -> bool:
    """Whether a string in this JSON holds U+0000, which Postgres does not store."""
    return _NUL.search(encoded) is not None


def deeper_than(value: object, levels: int) -> bool:
    """Whether objects and lists are nested deeper than this; a plain value is level 0. Never recurses."""
    layer = [each for each in [value] if isinstance(each, dict | list)]
    for _ in range(levels):
        layer = [
            inner
            for each in layer
            for inner in (each.values() if isinstance(each, dict) else each)
            if isinstance(inner, dict | list)
        ]
    return bool(layer)
