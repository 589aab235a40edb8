"""What is wrong with a value, in one short line that lets a model, or a person, mend it."""

from typing import Any

import msgspec
from jsonschema_rs import ValidationError, ValidationErrorKind

# Characters of a value that are shown, and of a list of what is allowed.
_VALUE = 60
_CHOICES = 300

# Models write these nearly right; an example says more than the name.
_FORMATS = {
    "date": "a date such as 2026-01-31",
    "date-time": "a date and time such as 2026-01-31T18:30:00Z",
    "time": "a time with its offset, such as 18:30:00Z",
    "duration": "a duration such as PT30M",
    "email": "an e-mail address",
    "uri": "a whole URL",
    "uuid": "a UUID",
    "regex": "a regular expression without look-around and back-references, and not too large",
}


def problem(error: ValidationError) -> str:
    """The line, without the path."""
    expected = _expected(error.kind)
    if expected is not None:
        return f"must be {expected}; it is {_shown(error.instance)}"
    kind = error.kind
    match kind:
        case ValidationErrorKind.Required():
            return f"{str(kind.property)!r} is missing"
        case ValidationErrorKind.AdditionalProperties() | ValidationErrorKind.UnevaluatedProperties():
            return f"{', '.join(repr(name) for name in kind.unexpected[:5])} {_is_are(kind.unexpected)} not known here"
        case ValidationErrorKind.MinItems() | ValidationErrorKind.MinLength() | ValidationErrorKind.MinProperties():
            return f"must have at least {kind.limit}{_unit(kind)}"
        case ValidationErrorKind.MaxItems() | ValidationErrorKind.MaxLength() | ValidationErrorKind.MaxProperties():
            return f"must have at most {kind.limit}{_unit(kind)}"
        case ValidationErrorKind.FalseSchema():
            return f"is not allowed here; it is {_shown(error.instance)}"
        case ValidationErrorKind.UniqueItems():
            return "must not have the same item twice"
        case ValidationErrorKind.AnyOf() | ValidationErrorKind.OneOfNotValid():
            return f"fits none of the forms it may have ({_alternatives(kind.context)})"
        case _:
            return f"does not fit the schema's {kind.name!r}"


def _expected(kind: ValidationErrorKind) -> str | None:
    match kind:
        case ValidationErrorKind.Type():
            return f"of type {' or '.join(kind.types)}"
        case ValidationErrorKind.Enum():
            return f"one of {_short(', '.join(map(_shown, kind.options)), _CHOICES)}"
        case ValidationErrorKind.Constant():
            return _shown(kind.expected_value)
        case ValidationErrorKind.Format():
            return _FORMATS.get(kind.format, f"in the format {kind.format!r}")
        case ValidationErrorKind.Pattern():
            return f"text that matches {_short(kind.pattern, _CHOICES)}"
        case ValidationErrorKind.Minimum():
            return f"at least {kind.limit}"
        case ValidationErrorKind.Maximum():
            return f"at most {kind.limit}"
        case ValidationErrorKind.ExclusiveMinimum():
            return f"more than {kind.limit}"
        case ValidationErrorKind.ExclusiveMaximum():
            return f"less than {kind.limit}"
        case ValidationErrorKind.MultipleOf():
            return f"a multiple of {kind.multiple_of}"
        case _:
            return None


def _alternatives(forms: list[list[ValidationError]]) -> str:
    """Why each form does not fit, shortly: its first problem."""
    return _short("; or ".join(dict.fromkeys(problem(form[0]) for form in forms if form)), _CHOICES)


def _unit(kind: ValidationErrorKind) -> str:
    return {"Length": " characters", "Items": " items"}.get(kind.name[3:], " entries")


def _is_are(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _shown(value: Any) -> str:
    try:
        return _short(msgspec.json.encode(value).decode(), _VALUE)
    except (msgspec.MsgspecError, TypeError, ValueError):
        return f"a {type(value).__name__}"


def _short(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
