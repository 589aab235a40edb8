"""Rows as bodies: fields of the same name are taken over, the others are given."""

from typing import Any, TypeVar

import msgspec

T = TypeVar("T", bound=msgspec.Struct)


def told(row: object, kind: type[T], **given: Any) -> T:
    """A body of this kind. Raises msgspec.ValidationError where the row does not fit, which is a bug."""
    fields = {name: getattr(row, name) for name in kind.__struct_fields__ if name not in given}
    return msgspec.convert({**fields, **given}, kind, from_attributes=True)
