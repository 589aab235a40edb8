"""What a field may be where a choice was sent that is none: looked up in the type, once something was refused."""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from msgspec import inspect

# Characters of what was sent that a refusal repeats. It is hostile, and may be as long as a body.
ECHO = 60
# The same once it is written so that nothing in it is invisible or turns the text around.
ECHO_WRITTEN = 100

# As msgspec writes paths: `rules[2].kind`, and `[...]` for whatever entry of an object.
_STEP = re.compile(r"\[[^\]]*\]|[^.\[\]]+")


def echo(sent: str) -> str:
    """The beginning of hostile text in quotes, 100 characters at most."""
    written = repr(sent if len(sent) <= ECHO else f"{sent[:ECHO]}…")
    return written if len(written) <= ECHO_WRITTEN else f"{written[: ECHO_WRITTEN - 2]}…{written[0]}"


def allowed(kind: Any, path: str, sent: object) -> list[str]:
    """The values that a type allows at this path; none where it is no choice.

    `sent` is the JSON value that was refused: of a union of structs those count whose tag it has.
    """
    return list(dict.fromkeys(map(str, _choices(_info(kind), _STEP.findall(path), sent))))


@cache
def _info(kind: Any) -> inspect.Type:
    return inspect.type_info(kind)


def _choices(at: inspect.Type, steps: list[str], sent: object) -> Iterator[object]:
    match at:
        case inspect.UnionType():
            for each in at.types:
                yield from _choices(each, steps, sent)
        case inspect.LiteralType() if not steps:
            yield from at.values
        case inspect.StructType() if steps and _has_tag(at, sent):
            for field in at.fields:
                if field.encode_name == steps[0]:
                    yield from _choices(field.type, steps[1:], _part(sent, field.encode_name))
        case inspect.DictType() if steps:
            # Which entry it was is not said.
            yield from _choices(at.value_type, steps[1:], None)
        case inspect.ListType() | inspect.VarTupleType() if steps:
            yield from _choices(at.item_type, steps[1:], _part(sent, steps[0]))


def _has_tag(at: inspect.StructType, sent: object) -> bool:
    return at.tag_field is None or not isinstance(sent, dict) or sent.get(at.tag_field) == at.tag


def _part(sent: object, step: str) -> object:
    """None where it is not known."""
    if isinstance(sent, dict):
        return sent.get(step)
    number = step[1:-1]
    if isinstance(sent, list) and number.isdecimal() and int(number) < len(sent):
        return sent[int(number)]
    return None
