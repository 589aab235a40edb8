"""What becomes of a tool's result: what is recorded whole, and what a model reads of it.

A result comes from a client's workflow, API or database: any JSON, any text, any size. Postgres stores no U+0000 and no
half of a surrogate pair in JSON, and nothing may make us recurse without end. A model reads at most `MODEL_BYTES`; what
is left out is said, so that it does not take a part for the whole.
"""

import json
import re
from array import array
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any

import msgspec

from server.tools.tool import MODEL_BYTES

# Nested deeper than this is nobody's data: real answers nest below 20.
DEPTH = 64
# Characters of a failure that a model reads.
FAILURE_CHARACTERS = 600
# Digits of a number that JSON, Postgres and a model all take.
_DIGITS = 4_000
_ENDLESS = 10**_DIGITS
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_TOO_DEEP = "[nested too deep]"
_SEQUENCES = frozenset({list, tuple, set, frozenset})
_JSON = frozenset({str, int, float, bool, dict, list, type(None)})
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"')
_STEPS = bytes.maketrans(b"[]{}", b"\x01\xff\x01\xff")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))

# How a failure ends that changed nothing, and one that nobody can know. For the model: it words them for the visitor.
UNDONE = "; nothing was done"
IN_DOUBT = "; it is not known whether it was done, so do not try again, and say that it has to be checked"


def parsed(text: str) -> Any:
    """JSON as `recordable` values. Raises ValueError when it is not JSON or nested without end."""
    try:
        return recordable(msgspec.json.decode(text))
    except (msgspec.DecodeError, ValueError, RecursionError):
        pass
    try:
        # Takes what JavaScript writes of half an emoji, "\ud83d", and numbers that no float holds.
        return recordable(json.loads(text))
    except RecursionError:
        raise ValueError("nested too deep") from None


def recordable(value: Any) -> Any:
    """The same as plain JSON values that Postgres stores: what it cannot store is replaced, what is too deep cut."""
    try:
        raw = msgspec.json.encode(value, enc_hook=str)
        # Nearly all results are fit to be stored, and this is far faster than walking through them.
        if rb"\u0000" not in raw and not _too_deep(raw):
            return msgspec.json.decode(raw)
    except (TypeError, ValueError, OverflowError, RecursionError):
        pass  # walked through below
    return _walked(value, 0)


def reading(value: Any, *, limit: int = MODEL_BYTES) -> str:
    """What a model reads of a result: text as it is, anything else as compact JSON, at most `limit` bytes of UTF-8.

    What is cut stays JSON, and says what was left out: of a list its last items, of an object its longest values.
    `limit` is 200 bytes or more.
    """
    value = recordable(value)
    if isinstance(value, str):
        return _cut_text(value, lambda text: len(text.encode()) <= limit)
    cut = _text(_cut(value, limit))
    # Where names and marks alone fill a small limit, JSON gives way.
    return _cut_text(cut, lambda text: len(text.encode()) <= limit)


def failure(text: str) -> str:
    """What a model reads of a call that failed."""
    return _text({"error": _UNSTORABLE.sub("\ufffd", text)[:FAILURE_CHARACTERS]})


def _too_deep(raw: bytes) -> bool:
    """Whether JSON nests deeper than DEPTH. One pass in C: opening brackets count 1, closing ones -1."""
    if raw.count(b"[") + raw.count(b"{") <= DEPTH:
        return False
    steps = array("b", _STRING.sub(b"", raw).translate(_STEPS, _NO_BRACKETS))
    return max(accumulate(steps)) > DEPTH


def _walked(value: Any, depth: int) -> Any:
    # By type and not by pattern: a megabyte has 100,000 nodes.
    kind = type(value)
    if kind is str:
        return _UNSTORABLE.sub("\ufffd", value)
    if kind is dict:
        if depth >= DEPTH:
            return _TOO_DEEP
        return {_name(name): _walked(each, depth + 1) for name, each in value.items()}
    if kind in _SEQUENCES:
        return [_walked(each, depth + 1) for each in value] if depth < DEPTH else _TOO_DEEP
    if value is None or kind is bool:
        return value
    if kind is int:
        return value if abs(value) < _ENDLESS else f"[a number of more than {_DIGITS} digits]"
    if kind is float:
        return value if value - value == 0 else None  # JSON has no NaN and no infinity
    return _walked(_builtin(value), depth)


def _builtin(value: Any) -> Any:
    """A value of any other type as one of JSON's."""
    match value:
        case str() | int() | float():
            base = next(each for each in (str, int, float) if isinstance(value, each))
            return base(value)
        case Mapping():
            return dict(value)
        case list() | tuple() | set() | frozenset():
            return list(value)
    try:
        known = msgspec.to_builtins(value, enc_hook=str)
    except (TypeError, ValueError, RecursionError):
        return str(value)
    return known if type(known) in _JSON else str(value)


def _name(name: object) -> str:
    return _UNSTORABLE.sub("\ufffd", name if isinstance(name, str) else str(name))


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _size(value: Any) -> int:
    """Bytes as compact JSON."""
    return len(msgspec.json.encode(value))


def _cut(value: Any, limit: int) -> Any:
    """The value in at most `limit` bytes of JSON, or a mark where not even a part of it fits."""
    if _size(value) <= limit:
        return value
    match value:
        case str():
            return _cut_text(value, lambda text: _size(text) <= limit)
        case list():
            return _cut_list(value, limit)
        case dict():
            return _cut_object(value, limit)
        case _:
            return "[cut]"


def _cut_text(text: str, fits: Callable[[str], bool]) -> str:
    """The longest beginning that fits together with the mark."""
    if fits(text):
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if fits(_marked(text, middle)):
            low = middle
        else:
            high = middle - 1
    return _marked(text, low) if fits(_marked(text, low)) else "[cut]"


def _marked(text: str, kept: int) -> str:
    return f"{text[:kept]} [cut: {kept} of {len(text)} characters]"


def _cut_list(items: list[Any], limit: int) -> Any:
    """Whole first items; of the first one a part, when it alone is too long."""
    room = limit - len(f'[,"[{len(items)} of {len(items)} items left out]"]')
    kept: list[Any] = []
    for item in items:
        room -= _size(item) + 1
        if room < 0:
            break
        kept.append(item)
    if not kept:
        mark = f"[{len(items) - 1} of {len(items)} items left out]" if len(items) > 1 else None
        first = _cut(items[0], limit - (_size(mark) + 3 if mark else 2))
        return [first, mark] if mark else [first]
    return [*kept, f"[{len(items) - len(kept)} of {len(items)} items left out]"]


def _cut_object(fields: dict[str, Any], limit: int) -> Any:
    """Every field, the long ones cut to an equal share of the room; fewer fields where their names alone fill it."""
    names = _fitting(list(fields), limit // 2)
    left_out = len(fields) - len(names)
    mark = {"...": f"[{left_out} of {len(fields)} fields left out]"} if left_out else {}
    room = limit - _size(mark) - sum(_size(name) + 2 for name in names)
    share = _share([_size(fields[name]) for name in names], room)
    cut = {name: _cut(fields[name], share) for name in names}
    return {**cut, **mark}


def _fitting(names: list[str], room: int) -> list[str]:
    """The first names that leave every field some room of its own."""
    for count, name in enumerate(names):
        room -= _size(name) + 2 + len('"[cut]"')
        if room < 0:
            return names[:count]
    return names


def _share(sizes: Sequence[int], room: int) -> int:
    """The most that each may have, so that all together fit: what short ones leave goes to the long ones."""
    share = 0
    for done, size in enumerate(sorted(sizes)):
        share = room // (len(sizes) - done)
        if size > share:
            break
        room -= size
    return share
