"""The request an endpoint makes of arguments: its URL, and its body.

`endpoint_url` is a URL template below the connection's `api_url`. An argument that it does not name goes into a JSON
body with POST, PUT and PATCH; with GET and DELETE every parameter must stand in the template. Only parameters that the
schema declares are sent.

For GraphQL the template is followed, on the next line, by the text of one query; its variables are the arguments:

    /graphql.json
    query Product($handle: String!) { productByIdentifier(identifier: {handle: $handle}) { title } }
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal

import msgspec

from server.errors import Invalid
from server.tools.live.url_template import UrlTemplate

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]

_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
# `$name: Type` with `!` where it must be given and `=` where it need not; uses of a variable have no colon after them.
_VARIABLE = re.compile(r"\$([A-Za-z_]\w*)\s*:\s*([\[\]\w!\s]+?)\s*(=|[,)$@])")
_MAX_DOCUMENT = 20_000


class Request(msgspec.Struct, frozen=True):
    """`by_argument`: its URL was made of arguments, so that a 404 may mean them and not the address."""

    method: str
    url: str
    body: bytes | None
    graphql: bool
    by_argument: bool


class _Endpoint(msgspec.Struct, frozen=True):
    """`variables` are the query's, by name, and whether each must be given."""

    template: UrlTemplate
    document: str | None
    variables: dict[str, bool]


def check_template(url: str, method: str, parameters_schema: Mapping[str, Any], *, base: str | None = None) -> None:
    """Whether an endpoint can be called with what its schema takes.

    `base` is the connection's `api_url`, below which a whole URL may be given. Raises Invalid with field
    `endpoint_url` or `method`.
    """
    if method not in _METHODS:
        raise Invalid(f"method must be one of: {', '.join(_METHODS)}", field="method")
    endpoint = _endpoint(url, base)
    names, needed = _declared(parameters_schema), set(parameters_schema.get("required", ()))
    if endpoint.document is not None and method != "POST":
        raise Invalid("method must be POST for a GraphQL query", field="method")
    taken = endpoint.template.names | endpoint.variables.keys()
    if unknown := sorted(taken - names):
        raise _invalid(f"takes {_listed(unknown)}, which parameters_schema does not have")
    certain = endpoint.template.path_names | {name for name, required in endpoint.variables.items() if required}
    if optional := sorted(certain - needed):
        raise _invalid(f"needs {_listed(optional)}, so parameters_schema must have it under required")
    left = sorted(names - taken)
    if left and endpoint.document is not None:
        raise _invalid(f"has no variable for {_listed(left)}")
    if left and method not in _WITH_BODY:
        raise _invalid(f"has no place for {_listed(left)}: write {{?{','.join(left)}}} at its end")
    for name in endpoint.template.names:
        if parameters_schema["properties"][name].get("type") == "object":
            raise _invalid(f"cannot take {name}, which is an object; only a body can")


def build(base: str, url: str, method: str, schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> Request:
    """The request for checked arguments. Raises Invalid, its field the argument that no URL can carry."""
    endpoint = _endpoint(url, base)
    declared = {name: value for name, value in arguments.items() if name in _declared(schema)}
    address = endpoint.template.expand(base, declared)
    body = None
    if endpoint.document is not None:
        variables = {name: declared[name] for name in endpoint.variables if name in declared}
        body = msgspec.json.encode({"query": endpoint.document, "variables": variables})
    elif method in _WITH_BODY:
        rest = {name: value for name, value in declared.items() if name not in endpoint.template.names}
        body = msgspec.json.encode(rest)
    return Request(
        method=method,
        url=address,
        body=body,
        graphql=endpoint.document is not None,
        by_argument=bool(declared.keys() & endpoint.template.names),
    )


def _declared(schema: Mapping[str, Any]) -> frozenset[str]:
    properties = schema.get("properties", {})
    return frozenset(properties) if isinstance(properties, dict) else frozenset()


@lru_cache(maxsize=512)
def _endpoint(url: str, base: str | None) -> _Endpoint:
    first, newline, document = url.strip().partition("\n")
    template = UrlTemplate(first.strip(), base=base)
    if not newline:
        return _Endpoint(template, None, {})
    document = document.strip()
    return _Endpoint(template, document, _variables(document))


def _variables(document: str) -> dict[str, bool]:
    """Name to whether it must be given. Raises Invalid for anything but one GraphQL query."""
    if len(document) > _MAX_DOCUMENT:
        raise _invalid(f"must have a query of at most {_MAX_DOCUMENT:,} characters")
    if not re.match(r"query\b|\{", document):
        raise _invalid("must be followed, on the next line, by a GraphQL query: query Name($x: String!) { ... }")
    if re.search(r"\}\s*(?:query|mutation|subscription)\b", document) or document.count("{") != document.count("}"):
        raise _invalid("must be followed by one whole GraphQL query")
    head = document.partition("{")[0]
    return {name: kind.strip().endswith("!") and end != "=" for name, kind, end in _VARIABLE.findall(head)}


def _listed(names: list[str]) -> str:
    return ", ".join(names)


def _invalid(what: str) -> Invalid:
    return Invalid(f"endpoint_url {what}", field="endpoint_url")
