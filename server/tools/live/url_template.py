"""URLs made of a configured template and a model's arguments, which cannot leave the place that was configured.

A template is RFC 6570's, and of that what cannot reach beyond its own place in a URL: `{x}`, `{?x,y}`, `{&x}`. Every
value is percent-encoded, so it ends no segment and begins no parameter. Encoding is not enough for a path: `..` needs
none, some servers decode `%2F` before they route, and some read `..;` as `..`, so a value in a path may have no slash
and no semicolon at all. Such a one has its place in a query. The URL that was built is checked once more as a whole.
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

import uritemplate

from server.errors import Invalid

# Characters of a template and of a whole URL; servers take 8,000 and less.
_MAX_TEMPLATE = 2_000
_MAX_URL = 7_500
_EXPRESSION = re.compile(r"\{([^{}]*)\}")
_NAME = r"[A-Za-z_][A-Za-z0-9_.-]*"
_SIMPLE = re.compile(rf"{_NAME}\Z")
_QUERY = re.compile(rf"[?&]{_NAME}\*?(?:,{_NAME}\*?)*\Z")
# What RFC 3986 allows in a path and a query, written out by whoever configured it.
_LITERAL = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*\Z")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class UrlTemplate:
    """One checked template. `path_names` and `query_names` are the parameters it takes.

    Raises Invalid with field `endpoint_url`.
    """

    def __init__(self, template: str, *, base: str | None = None) -> None:
        text = _below(template, base)
        if len(text) > _MAX_TEMPLATE:
            raise _invalid(f"must be at most {_MAX_TEMPLATE} characters")
        if not text.startswith(("/", "?", "{?")) or text.startswith("//"):
            raise _invalid("must begin with one / or with ?: a path below api_url, such as /products/{product_id}.json")
        self.path_names, self.query_names = _names(text)
        _check_literals(text)
        self._text = text
        self._template = uritemplate.URITemplate(text)

    @property
    def names(self) -> frozenset[str]:
        """All parameters."""
        return self.path_names | self.query_names

    def expand(self, base: str, arguments: Mapping[str, Any]) -> str:
        """The URL below `base`. Arguments that the template does not name are not looked at; None is as if not given.

        Raises Invalid, its field the argument's name, for a value that no URL can carry safely.
        """
        values: dict[str, str | list[str]] = {}
        for name in self.names:
            value = arguments.get(name)
            if value is not None:
                values[name] = _list(name, value) if isinstance(value, list | tuple) else _scalar(name, value)
        for name in self.path_names:
            _check_in_path(name, values.get(name))
        # uritemplate sees text only: it takes the number 0 for nothing.
        url = base + self._template.expand(values)  # type: ignore[arg-type]  # its alias has invariant lists
        _check_whole(url, base)
        return url


def _below(template: str, base: str | None) -> str:
    """The part after the base, where somebody wrote a whole URL."""
    if not re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", template):
        return template
    if base is not None and template.startswith(base) and template[len(base) :].startswith(("/", "?", "{?")):
        return template[len(base) :]
    raise _invalid("must be a path below api_url, such as /products/{product_id}.json, or begin with api_url itself")


def _names(text: str) -> tuple[frozenset[str], frozenset[str]]:
    """The parameters in the path, and those in the query."""
    path: set[str] = set()
    query: set[str] = set()
    in_query = False
    end = 0
    for found in _EXPRESSION.finditer(text):
        in_query = in_query or "?" in text[end : found.start()]
        end = found.end()
        inside = found[1]
        if _SIMPLE.match(inside):
            (query if in_query else path).add(inside)
        elif _QUERY.match(inside):
            if (inside[0] == "?") == in_query:
                raise _invalid(f"{{{inside}}}: {{?x}} begins the query, {{&x}} goes on with it")
            in_query = True
            query.update(name.rstrip("*") for name in inside[1:].split(","))
        else:
            raise _invalid(f"{{{inside}}} is not allowed: {{x}}, {{?x,y}} and {{&x}} are")
    # Without any of its values {?x} is nothing at all, and what came after it would hang in the air.
    begins = re.search(r"\{\?[^{}]*\}", text)
    if begins is not None and begins.end() != len(text):
        raise _invalid("must have nothing after {?x}: put fixed parameters first, as in /search?limit=5{&x}")
    return frozenset(path), frozenset(query)


def _check_literals(text: str) -> None:
    literal = _EXPRESSION.sub("", text)
    if not _LITERAL.match(literal):
        raise _invalid("has a character that must be percent-encoded in a URL, or a { without its }")
    path = _EXPRESSION.sub("x", text.partition("?")[0])
    if "//" in path or any(unquote(part) in (".", "..") for part in path.split("/")):
        raise _invalid("must have no empty, . or .. part in its path")
    if re.search(r"%(?:2f|5c|25)", path, re.IGNORECASE):
        raise _invalid("must have no encoded slash, backslash or percent in its path")
    if re.search(r"%(?:[01][0-9a-f]|7f)", literal, re.IGNORECASE):
        raise _invalid("must have no encoded control character")


def _scalar(name: str, value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            text = value
        case int():
            text = str(value)
        case float() if value - value == 0:
            # JSON has one kind of number: a model that writes 5.0 means the 5 the schema asks for.
            text = str(int(value)) if value.is_integer() else repr(value)
        case _:
            raise Invalid(f"{name} must be text, a number, true or false, or a list of these", field=name)
    if _CONTROL.search(text):
        raise Invalid(f"{name} must have no control characters", field=name)
    return text


def _list(name: str, values: list[Any] | tuple[Any, ...]) -> list[str]:
    return [_scalar(name, value) for value in values if value is not None]


def _check_in_path(name: str, value: str | list[str] | None) -> None:
    """That the value stays the one segment, or the part of it, that it was meant to be."""
    text = ",".join(value) if isinstance(value, list) else value
    if not text:
        raise Invalid(f"{name} must not be empty", field=name)
    plain = text
    while (decoded := unquote(plain)) != plain:
        plain = decoded
    if plain.strip() in (".", "..") or re.search(r"[/\\;]", plain) or _CONTROL.search(plain):
        raise Invalid(f"{name} must be one part of a path: no slash or semicolon, not . and not ..", field=name)


def _check_whole(url: str, base: str) -> None:
    """That the URL is still below the base, whatever came in. The base has been checked when it was configured."""
    if len(url) > _MAX_URL:
        raise Invalid("the arguments are too long for a URL", field=None)
    parts, root = urlsplit(url), urlsplit(base)
    inside = parts.path == root.path or parts.path.startswith(f"{root.path}/")
    rest = parts.path[len(root.path) :]
    if (
        (parts.scheme, parts.netloc) != (root.scheme, root.netloc)
        or not inside
        or parts.fragment
        or any(unquote(part) in (".", "..") for part in rest.split("/"))
        or "//" in rest
    ):
        raise Invalid("the arguments lead outside the configured address", field=None)


def _invalid(what: str) -> Invalid:
    return Invalid(f"endpoint_url {what}", field="endpoint_url")
