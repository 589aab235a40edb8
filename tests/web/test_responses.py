"""What comes in as a query or a body: typed, storable, and every refusal names the field."""

import json

import msgspec
import pytest
from starlette.requests import Request

from server.admin.gate import path_id
from server.errors import Invalid, NotFound
from server.web import responses


class Deep(msgspec.Struct):
    names: dict[str, list[str]]


class Given(msgspec.Struct):
    title: str = ""
    deep: Deep | None = None


class Asked(msgspec.Struct, rename="kebab"):
    limit: int = 50
    only_open: bool = False
    q: str = ""


def request(*, query: str = "", body: object = None, **path: str) -> Request:
    """A request as uvicorn hands it over."""

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}

    scope = {"type": "http", "method": "POST", "headers": [], "query_string": query.encode(), "path_params": path}
    return Request(scope, receive)


def test_a_query_is_typed() -> None:
    """Text becomes what the struct says, under the names of the URL; what is left out has its default."""
    assert responses.query(request(query="limit=7&only-open=true&q=a%20b"), Asked) == Asked(7, True, "a b")
    assert responses.query(request(), Asked) == Asked()


@pytest.mark.parametrize(
    ("query", "field", "told"),
    [
        ("limit=many", "limit", "`limit`"),
        ("only-open=perhaps", "only-open", "`only-open`"),
        ("page=2", "page", "`page` is not a parameter; there are limit, only-open, q"),
        ("q=a%00b", "q", "`q` may not contain U+0000"),
    ],
)
def test_a_query_that_is_wrong(query: str, field: str, told: str) -> None:
    """The refusal names the parameter and what there is."""
    with pytest.raises(Invalid) as caught:
        responses.query(request(query=query), Asked)
    assert caught.value.field == field and told in caught.value.message


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"title": "a\0"}, "title"),
        ({"deep": {"names": {"a\0": []}}}, "deep.names"),
        ({"deep": {"names": {"a": ["b", "\0"]}}}, "deep.names.a[...]"),
    ],
)
async def test_no_nul_however_deep(given: object, field: str) -> None:
    """Postgres stores none: the refusal says where it is."""
    with pytest.raises(Invalid) as caught:
        await responses.body(request(body=given), Given)
    assert caught.value.field == field


@pytest.mark.parametrize("given", ["", "0", "-1", "1.0", "x", "9" * 19, "१"])
def test_an_id_that_cannot_be_one(given: str) -> None:
    """It is not there, as any other."""
    with pytest.raises(NotFound, match="no such client"):
        path_id(request(client_id=given), "client_id")


def test_an_id() -> None:
    """A number of at most 18 digits."""
    assert path_id(request(client_id="42"), "client_id") == 42
