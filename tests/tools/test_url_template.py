"""What may be configured as an endpoint's address, its body and the part of the response it gives."""

from typing import Any

import pytest

from server.errors import Invalid
from server.tools.live.http_request import check_template
from server.tools.live.response_path import check_response_path
from tests.net.ssrf_corpus import STATIC_URLS

BASE = "https://api.example.com/v1"


def schema(*required: str, optional: tuple[str, ...] = (), **kinds: str) -> dict[str, Any]:
    """Of text arguments, or of the kinds given."""
    names = (*required, *optional)
    properties = {name: {"type": kinds.get(name, "string")} for name in names}
    return {"type": "object", "properties": properties, "required": list(required)}


GOOD: list[tuple[str, str, dict[str, Any]]] = [
    ("/products/{product_id}.json", "GET", schema("product_id")),
    ("/products/search?query={query}", "GET", schema("query")),
    ("/products/search{?query,limit}", "GET", schema("query", optional=("limit",))),
    ("/a?b=c{&x,y*}", "GET", schema(optional=("x", "y"))),
    ("{?q}", "GET", schema("q")),
    ("?fixed=1", "GET", {}),
    ("/a/{x}-{y}/b", "DELETE", schema("x", "y", x="integer")),
    (f"{BASE}/products", "GET", {}),
    (f"{BASE}{{?q}}", "GET", schema("q")),
    ("/bookings", "POST", schema("when", optional=("note",), note="object")),
    ("/bookings/{id}{?dry}", "PUT", schema("id", "note", optional=("dry",))),
    ("/graphql.json\nquery A($a: String!, $b: [Int!]) { x(a: $a, b: $b) { y } }", "POST", schema("a", optional=("b",))),
    ("/graphql\n\n{ shop { name } }\n", "POST", {}),
    ("/graphql\nquery A($a: Int! = 5) { x(a: $a) }\nfragment f on X { y }", "POST", schema(optional=("a",))),
]


@pytest.mark.parametrize(("url", "method", "parameters"), GOOD)
def test_what_is_taken(url: str, method: str, parameters: dict[str, Any]) -> None:
    """No complaint."""
    check_template(url, method, parameters, base=BASE)


BAD: list[tuple[str, str, dict[str, Any], str]] = [
    ("", "GET", {}, "begin with one /"),
    ("products", "GET", {}, "begin with one /"),
    ("//evil.example/x", "GET", {}, "begin with one /"),
    ("\\\\evil.example/x", "GET", {}, "begin with one /"),
    ("/\\evil.example", "GET", {}, "percent-encoded"),
    ("https://evil.example/x", "GET", {}, "path below api_url"),
    ("https://api.example.com/v2", "GET", {}, "path below api_url"),
    ("https://api.example.com/v1.evil.example/x", "GET", {}, "path below api_url"),
    ("https://api.example.com/v1@evil.example/x", "GET", {}, "path below api_url"),
    ("http://api.example.com/v1/x", "GET", {}, "path below api_url"),
    ("javascript:alert(1)", "GET", {}, "path below api_url"),
    ("/a/../b", "GET", {}, ". or .. part"),
    ("/a/%2e%2E/b", "GET", {}, ". or .. part"),
    ("/./b", "GET", {}, ". or .. part"),
    ("/a//b", "GET", {}, "empty"),
    ("/a%2f..%2fb", "GET", {}, "encoded slash"),
    ("/a%5cb", "GET", {}, "encoded slash"),
    ("/a%252e", "GET", {}, "encoded slash"),
    ("/a%0d%0ab", "GET", {}, "control character"),
    ("/a b", "GET", {}, "percent-encoded"),
    ("/a#b", "GET", {}, "percent-encoded"),
    ("/a{", "GET", {}, "{ without"),
    ("/a}", "GET", {}, "{ without"),
    ("/{{x}}", "GET", schema("x"), "{ without"),
    ("/{}", "GET", {}, "is not allowed"),
    ("/{+x}", "GET", schema("x"), "{+x} is not allowed"),
    ("/{#x}", "GET", schema("x"), "is not allowed"),
    ("/{.x}", "GET", schema("x"), "is not allowed"),
    ("/{/x}", "GET", schema("x"), "is not allowed"),
    ("/{;x}", "GET", schema("x"), "is not allowed"),
    ("/{=x}", "GET", schema("x"), "is not allowed"),
    ("/{x:3}", "GET", schema("x"), "is not allowed"),
    ("/{x*}", "GET", schema("x"), "is not allowed"),
    ("/{x,y}", "GET", schema("x", "y"), "is not allowed"),
    ("/a{?x}/b", "GET", schema("x"), "nothing after"),
    ("/a{?x}{&y}", "GET", schema("x", "y"), "nothing after"),
    ("/a?b=c{?x}", "GET", schema("x"), "begins the query"),
    ("/a{&x}", "GET", schema("x"), "goes on with it"),
    ("/" + "a" * 2_000, "GET", {}, "at most 2000"),
    ("/{x}", "GET", {}, "takes x, which parameters_schema does not have"),
    ("/{x}", "GET", schema(optional=("x",)), "needs x"),
    ("/a", "GET", schema("x", "y"), "write {?x,y}"),
    ("/a", "DELETE", schema("x"), "write {?x}"),
    ("/a{?x}", "GET", schema("x", x="object"), "an object"),
    ("/g\nmutation { x }", "POST", {}, "GraphQL query"),
    ("/g\nquery { x } mutation { y }", "POST", {}, "one whole GraphQL query"),
    ("/g\nquery { x ", "POST", {}, "one whole GraphQL query"),
    ("/g\nsubscription { x }", "POST", {}, "GraphQL query"),
    ("/g\nquery ($a: Int!) { x(a: $a) }", "POST", schema(optional=("a",)), "needs a"),
    ("/g\nquery ($a: Int) { x(a: $a) }", "POST", schema("b"), "does not have"),
    ("/g\n{ x }", "POST", schema("b"), "no variable for b"),
    ("/g\n{ " + "x" * 20_000 + " }", "POST", {}, "at most"),
]  # fmt: skip


@pytest.mark.parametrize(("url", "method", "parameters", "words"), BAD)
def test_what_is_refused(url: str, method: str, parameters: dict[str, Any], words: str) -> None:
    """When it is configured, and in words that say what is allowed."""
    with pytest.raises(Invalid) as refusal:
        check_template(url, method, parameters, base=BASE)
    assert refusal.value.field == "endpoint_url"
    assert words in refusal.value.message


def test_methods() -> None:
    """A query needs POST, and nothing else is known."""
    for url, method in (("/g\n{ x }", "GET"), ("/a", "TRACE"), ("/a", "get"), ("/a", "SQL")):
        with pytest.raises(Invalid) as refusal:
            check_template(url, method, {}, base=BASE)
        assert refusal.value.field == "method"


@pytest.mark.parametrize("url", STATIC_URLS)
def test_no_endpoint_leads_elsewhere(url: str) -> None:
    """Whatever address an attacker knows of, an endpoint is below its connection's."""
    for written in (url, f"//{url.rpartition('//')[2]}"):
        with pytest.raises(Invalid):
            check_template(written, "GET", {}, base=BASE)


@pytest.mark.parametrize("path", [None, "a.b", "products[?stock > `0`].{name: title}", "data.[x][?ok] | [0]"])
def test_response_paths_that_are_taken(path: str | None) -> None:
    """JMESPath, or none."""
    check_response_path(path)


@pytest.mark.parametrize("path", ["", "a.", "[?", "$.a", "a b", "{", "(" * 3_000, "x" * 4_001])
def test_response_paths_that_are_refused(path: str) -> None:
    """With the field's name."""
    with pytest.raises(Invalid) as refusal:
        check_response_path(path)
    assert refusal.value.field == "response_path"
    assert refusal.value.message.startswith("response_path")
    assert "\n" not in refusal.value.message
