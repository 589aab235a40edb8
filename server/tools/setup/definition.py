"""What a person writes to define a tool, or live data, as it is read. Pure. `rules` says if it makes sense."""

import re
from typing import Any, Final, Literal, TypeVar, get_args

import msgspec

from server.errors import Invalid
from server.tools.arguments.json_limits import check_json
from server.tools.arguments.schema import NO_ARGUMENTS
from server.tools.tool import Effect, Proof, VisitorField

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE", "SQL"]

MAX_CONFIG_BYTES: Final = 16 * 1024
_WHERE: Final = re.compile(r"(?P<what>.*?)(?: - at `(?P<key>key in )?\$\.?(?P<path>.*?)`)?", re.DOTALL)
_NAMED: Final = re.compile(r"(?P<missing>.*missing required)? ?.*field `(?P<name>.*)`", re.DOTALL)

T = TypeVar("T", bound=msgspec.Struct)


class Definition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every tool says of itself. `bound` names arguments that the server fills from the verified visitor."""

    description: str
    parameters_schema: dict[str, Any] = msgspec.field(default_factory=NO_ARGUMENTS.copy)
    proof: Proof = "session"
    confirm: bool = False
    bound: dict[str, VisitorField] = {}
    label: dict[str, str] = {}


class ToolDefinition(Definition, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tool of the catalogue, for every client to enable."""

    tool_name: str
    effect: Effect
    category: str = "general"


class EndpointDefinition(Definition, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Live data of one client. `endpoint_url` is a URL template below the integration's address, or a statement where
    `method` is SQL. `cache_ttl` is seconds. What is None follows from the integration and the method."""

    endpoint_name: str
    endpoint_url: str
    method: Method | None = None
    effect: Effect | None = None
    response_path: str | None = None
    cache_ttl: int | None = None


class ToolOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How a client uses a tool. What is left out stays as it was, or takes its default.

    Without `n8n_webhook_url` the tool is called at the client's webhook_base_url. `proof` and `confirm` add to what the
    catalogue asks for. `custom_config` goes to the workflow with every call.
    """

    n8n_webhook_url: str | msgspec.UnsetType | None = msgspec.UNSET
    timeout_ms: int | msgspec.UnsetType = msgspec.UNSET
    custom_config: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    proof: Proof | msgspec.UnsetType | None = msgspec.UNSET
    confirm: bool | msgspec.UnsetType = msgspec.UNSET


def read(kind: type[T], raw: bytes | str | dict[str, Any], *, field: str) -> T:
    """The struct of JSON, as an object or as text. Raises Invalid with the path of what is wrong; `field` is for what
    is wrong with all of it."""
    try:
        if isinstance(raw, dict):
            return msgspec.convert(raw, kind)
        return msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError as error:
        raise _explained(error, kind, field) from error
    except (msgspec.DecodeError, UnicodeError) as error:
        raise Invalid(f"{field}: is not JSON: {error}", field=field) from error
    except RecursionError as error:
        raise Invalid(f"{field}: goes too deep", field=field) from error


def read_object(raw: bytes | str, *, field: str) -> dict[str, Any]:
    """A JSON object as it stands. Raises Invalid."""
    try:
        return msgspec.json.decode(raw, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise Invalid(f"{field}: must be a JSON object", field=field) from error


def check_options(options: ToolOptions) -> None:
    """All but the URL. Raises Invalid."""
    if options.timeout_ms is not msgspec.UNSET and not 100 <= options.timeout_ms <= 120_000:
        raise Invalid("timeout_ms: takes 100 to 120,000 milliseconds", field="timeout_ms")
    if options.custom_config is not msgspec.UNSET:
        check_json(options.custom_config, field="custom_config", max_bytes=MAX_CONFIG_BYTES)


def _explained(error: msgspec.ValidationError, kind: type[msgspec.Struct], field: str) -> Invalid:
    """msgspec's message with the path first, and what is allowed."""
    found = _WHERE.fullmatch(str(error))
    assert found is not None  # it matches any text
    what, path = found["what"], (found["path"] or "").replace("[...]", "/*").replace(".", "/")
    if named := _NAMED.fullmatch(what):
        path = named["name"]
        known = ", ".join(each.encode_name for each in msgspec.structs.fields(kind))
        what = "is missing" if named["missing"] else f"there is no such field; there are {known}"
    elif what.startswith("Invalid enum value"):
        what = f"{what[0].lower()}{what[1:]}; it may be {', '.join(_CHOICES.get(path.partition('/')[0], ()))}"
    else:
        what = f"{what[0].lower()}{what[1:]}"
    return Invalid(f"{path or field}: {what}", field=path.partition("/")[0] or field)


_CHOICES: Final[dict[str, tuple[str, ...]]] = {
    "effect": get_args(Effect),
    "proof": get_args(Proof),
    "bound": get_args(VisitorField),
    "method": get_args(Method),
}
