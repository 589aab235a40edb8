"""Bytes to structs and back. One typed pass; every refusal names the field and what is allowed."""

import re
from typing import Any, TypeVar

import msgspec

from server.errors import Invalid, Malformed, TooLarge
from server.protocol import choices, limits
from server.protocol.operator import FromOperator, ToOperator
from server.protocol.visitor import FromVisitor, ToVisitor

T = TypeVar("T")

_encoder = msgspec.json.Encoder()
_from_visitor: msgspec.json.Decoder[FromVisitor] = msgspec.json.Decoder(FromVisitor)
_to_visitor: msgspec.json.Decoder[ToVisitor] = msgspec.json.Decoder(ToVisitor)
_from_operator: msgspec.json.Decoder[FromOperator] = msgspec.json.Decoder(FromOperator)
_to_operator: msgspec.json.Decoder[ToOperator] = msgspec.json.Decoder(ToOperator)

_AT = re.compile(r" - at `\$\.?(?P<path>[^`]*)`$")
_NO_CHOICE = re.compile(r"Invalid (?:enum )?value (?P<sent>.*)", re.DOTALL)
_MISSING = re.compile(r"missing required field `(?P<field>[^`]+)`")


def encode(value: Any) -> bytes:
    """A struct as UTF-8 JSON."""
    return _encoder.encode(value)


def decode_from_visitor(raw: str) -> FromVisitor:
    """A visitor's frame. Raises TooLarge, Malformed, or Invalid with the field."""
    return _decode_frame(_from_visitor, raw)


def decode_from_operator(raw: str) -> FromOperator:
    """An operator's frame. Raises as `decode_from_visitor`."""
    return _decode_frame(_from_operator, raw)


def decode_to_visitor(raw: bytes) -> ToVisitor:
    """A frame as a visitor reads it; used by tests and by the HTTP fallback."""
    return _to_visitor.decode(raw)


def decode_to_operator(raw: bytes) -> ToOperator:
    """A frame as an operator reads it."""
    return _to_operator.decode(raw)


def decode_body(raw: bytes, kind: type[T]) -> T:
    """An HTTP body. Raises Malformed, or Invalid with the field."""
    return _decode(msgspec.json.Decoder(kind), raw)


def decode_query(given: dict[str, str], kind: type[T]) -> T:
    """The query of a URL, whose values are all text. Raises Invalid with the field, for an unknown one too."""
    known = {field.encode_name for field in msgspec.structs.fields(kind)}  # type: ignore[arg-type]  # T is a struct
    if unknown := sorted(set(given) - known):
        name = unknown[0][: choices.ECHO]
        raise Invalid(f"`{name}` is not a parameter; there are {', '.join(sorted(known))}", field=name)
    try:
        return msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as error:
        raise _invalid(str(error), kind, given) from None


def _decode_frame(decoder: msgspec.json.Decoder[T], raw: str) -> T:
    # A character is at most 4 bytes: the encoding is only needed near the limit.
    if len(raw) * 4 > limits.FRAME_BYTES and len(raw.encode()) > limits.FRAME_BYTES:
        raise TooLarge(f"a frame is at most {limits.FRAME_BYTES} bytes", code="frame_too_large")
    return _decode(decoder, raw)


def _decode(decoder: msgspec.json.Decoder[T], raw: bytes | str) -> T:
    _check_depth(raw)
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError as error:
        raise _invalid(str(error), decoder.type, raw) from None
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise Malformed(f"not a JSON object: {error}", code="malformed") from None


def _check_depth(raw: bytes | str) -> None:
    """Counting brackets is one pass in C; only a frame with many gets the exact, slower look."""
    if isinstance(raw, bytes):
        raw = raw.decode("utf-8", "replace")
    if raw.count("[") + raw.count("{") <= limits.JSON_DEPTH:
        return
    depth = 0
    outside_strings = re.sub(r'"(?:[^"\\]|\\.)*"', "", raw)
    for character in outside_strings:
        if character in "[{":
            depth += 1
            if depth > limits.JSON_DEPTH:
                raise Malformed(f"nested deeper than {limits.JSON_DEPTH}", code="too_deep")
        elif character in "]}":
            depth -= 1


def _invalid(reason: str, kind: Any, given: bytes | str | dict[str, str]) -> Invalid:
    """Turns msgspec's sentence into ours: `field` apart, the reason without the path. `given` is what was no `kind`."""
    field = ""
    if at := _AT.search(reason):
        field = at["path"]
        reason = reason[: at.start()]
    if missing := _MISSING.search(reason):
        field = f"{field}.{missing['field']}" if field else missing["field"]
        return Invalid(f"`{field}` is missing", code="missing", field=field)
    if reason.startswith("Invalid value ") and field in {"type", ""}:
        return Invalid("unknown frame type", code="unknown_type", field="type")
    if no_choice := _NO_CHOICE.fullmatch(reason):
        return _no_choice(field, no_choice["sent"], kind, given)
    return Invalid(f"`{field or 'body'}`: {reason[:1].lower()}{reason[1:]}", field=field or None)


def _no_choice(field: str, written: str, kind: Any, given: bytes | str | dict[str, str]) -> Invalid:
    """Only what was refused is read a second time."""
    sent: object = given
    if not isinstance(given, dict):
        try:
            sent = msgspec.json.decode(given)
        except (msgspec.DecodeError, RecursionError, UnicodeError):
            # Broken behind the wrong value; that is said first.
            sent = None
    may_be = choices.allowed(kind, field, sent)
    # Text stands in quotes there, whatever is in it; numbers do not.
    shown = choices.echo(written[1:-1]) if written.startswith("'") else written[: choices.ECHO]
    reason = f"it is one of {', '.join(may_be)}" if may_be else "it cannot be that"
    return Invalid(f"`{field or 'body'}` is {shown}; {reason}", field=field or None)
