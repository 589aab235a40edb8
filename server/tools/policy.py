"""Whether a call may be made on this visitor's behalf, and with which arguments. Pure.

What a model asks for may come from anybody: from the visitor, from a page, from another tool's result. So who the
visitor is comes from the server alone: a tool that needs a verified visitor is refused without one, and arguments bound
to the visitor are filled here, whatever the model wrote.
"""

from collections.abc import Mapping
from typing import Any

from server.tools.tool import Caller, Person, Tool, VisitorField

SIGN_IN = (
    "the visitor has not signed in on this website, so this cannot be looked up or done; ask them to sign in first"
)


class Refused(Exception):
    """The call may not be made. The text is for the model."""


def admit(tool: Tool, arguments: Mapping[str, Any], caller: Caller) -> dict[str, Any]:
    """The arguments to call with. Raises Refused."""
    if caller.visitor is None and (tool.proof == "verified" or tool.bound):
        raise Refused(SIGN_IN)
    admitted = dict(arguments)
    for name, field in tool.bound.items():
        value = _field(caller.visitor, field)
        if value is None:
            raise Refused(f"nothing is known of the visitor's {field.removeprefix('visitor.')}, which this needs")
        admitted[name] = value
    return admitted


def _field(visitor: Person | None, field: VisitorField) -> str | None:
    if visitor is None:
        return None
    match field:
        case "visitor.id":
            return visitor.id
        case "visitor.email":
            return visitor.email
        case "visitor.name":
            return visitor.name
