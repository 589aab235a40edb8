"""Whether a definition makes sense: each rule with the fields that it looks at. Pure."""

import re
import unicodedata
from collections.abc import Callable
from typing import Final, Generic, TypeVar

import msgspec

from server.errors import Invalid
from server.tools.arguments.schema import check_bound, check_schema
from server.tools.labels import check_labels
from server.tools.setup.definition import Definition, EndpointDefinition, Method, ToolDefinition
from server.tools.tool import Effect

# OpenAI refuses a longer one.
MAX_DESCRIPTION: Final = 1024

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
# A day, in seconds.
_MAX_TTL: Final = 86_400
_DEFAULT_TTL: Final = 300
_CATEGORY: Final = re.compile(r"[a-z0-9_-]{1,40}")
# What a method may do, the default first. A repeated PUT or DELETE ends as one does (RFC 9110, 9.2.2); what a POST does
# only its owner knows.
_EFFECTS: Final[dict[Method, tuple[Effect, ...]]] = {
    "GET": ("read_only", "idempotent", "unsafe"),
    "SQL": ("read_only",),
    "PUT": ("idempotent", "unsafe"),
    "DELETE": ("idempotent", "unsafe"),
    "POST": ("unsafe", "idempotent", "read_only"),
    "PATCH": ("unsafe", "idempotent"),
}

D_contra = TypeVar("D_contra", bound=Definition, contravariant=True)


class Rule(msgspec.Struct, Generic[D_contra], frozen=True):
    """`check` raises Invalid. It looks at these `fields` and no others."""

    fields: frozenset[str]
    check: Callable[[D_contra], object]


def checked_tool(definition: ToolDefinition) -> ToolDefinition:
    """The definition, trimmed. Raises Invalid."""
    for rule in tool_rules():
        rule.check(definition)
    return _trimmed(definition)


def checked_endpoint(definition: EndpointDefinition, *, database: bool) -> EndpointDefinition:
    """The definition with nothing left open; its template, statement and path are for others to check. Raises
    Invalid."""
    for rule in endpoint_rules(database=database):
        rule.check(definition)
    method = _method(definition, database=database)
    effect = definition.effect or _EFFECTS[method][0]
    ttl = _ttl(definition, effect)
    return _trimmed(msgspec.structs.replace(definition, method=method, effect=effect, cache_ttl=ttl))


def tool_rules() -> list[Rule[ToolDefinition]]:
    """Of a tool of the catalogue, in the order in which they are told."""
    return [
        Rule(frozenset({"tool_name"}), lambda tool: check_name(tool.tool_name, field="tool_name")),
        Rule(frozenset({"category"}), _check_category),
        *_common(),
    ]


def endpoint_rules(*, database: bool) -> list[Rule[EndpointDefinition]]:
    """Of live data, but for those that its connection asks for."""

    def method(definition: EndpointDefinition) -> object:
        return _method(definition, database=database)

    def effect(definition: EndpointDefinition) -> None:
        method = _method(definition, database=database)
        if definition.effect is not None and definition.effect not in _EFFECTS[method]:
            allowed = ", ".join(_EFFECTS[method])
            raise Invalid(f"effect: is {definition.effect}; for {method} it may be {allowed}", field="effect")

    def ttl(definition: EndpointDefinition) -> None:
        _ttl(definition, definition.effect or _EFFECTS[_method(definition, database=database)][0])

    return [
        Rule(frozenset({"endpoint_name"}), lambda each: check_name(each.endpoint_name, field="endpoint_name")),
        Rule(frozenset({"method"}), method),
        Rule(frozenset({"method", "effect"}), effect),
        Rule(frozenset({"method", "effect", "cache_ttl"}), ttl),
        *_common(),
    ]


def check_name(name: str, *, field: str) -> None:
    """Raises Invalid for a name that a model could not call."""
    if not _NAME.fullmatch(name):
        raise Invalid(f"{field}: takes 1 to 64 letters, digits, _ and -", field=field)


def _common() -> list[Rule[Definition]]:
    return [
        Rule(frozenset({"description"}), _check_description),
        Rule(
            frozenset({"parameters_schema"}),
            lambda each: check_schema(each.parameters_schema, field="parameters_schema"),
        ),
        Rule(frozenset({"bound", "parameters_schema"}), lambda each: check_bound(each.bound, each.parameters_schema)),
        Rule(frozenset({"bound", "proof"}), _check_proof),
        Rule(frozenset({"label"}), lambda each: check_labels(each.label)),
    ]


def _check_category(tool: ToolDefinition) -> None:
    if not _CATEGORY.fullmatch(tool.category):
        raise Invalid("category: takes 1 to 40 lower-case letters, digits, _ and -", field="category")


def _check_description(definition: Definition) -> None:
    description = definition.description.strip()
    if not 1 <= len(description) <= MAX_DESCRIPTION:
        raise Invalid(f"description: takes 1 to {MAX_DESCRIPTION:,} characters", field="description")
    if any(unicodedata.category(each) in {"Cc", "Cs"} and each not in "\n\t" for each in description):
        raise Invalid("description: may not contain control characters", field="description")


def _check_proof(definition: Definition) -> None:
    if definition.bound and definition.proof != "verified":
        raise Invalid(
            "proof: must be verified, because bound arguments are filled from a visitor who is", field="proof"
        )


def _method(definition: EndpointDefinition, *, database: bool) -> Method:
    method: Method = definition.method or ("SQL" if database else "GET")
    if (method == "SQL") != database:
        allowed = "SQL" if database else "GET, POST, PUT, PATCH, DELETE"
        raise Invalid(f"method: is {method}; for this integration it may be {allowed}", field="method")
    return method


def _ttl(definition: EndpointDefinition, effect: Effect) -> int:
    ttl = definition.cache_ttl if definition.cache_ttl is not None else _DEFAULT_TTL * (effect == "read_only")
    if not 0 <= ttl <= _MAX_TTL:
        raise Invalid(f"cache_ttl: takes 0 to {_MAX_TTL:,} seconds", field="cache_ttl")
    if ttl and effect != "read_only":
        raise Invalid(
            "cache_ttl: must be 0, because only what is read_only may be answered from memory", field="cache_ttl"
        )
    return ttl


T = TypeVar("T", ToolDefinition, EndpointDefinition)


def _trimmed(definition: T) -> T:
    return msgspec.structs.replace(
        definition, description=definition.description.strip(), label=check_labels(definition.label)
    )
