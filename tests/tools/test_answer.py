"""What answers mean, without a network: n8n's shapes, plain words, waiting times. Over sockets: `test_n8n.py`."""

import email.utils
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.errors import EgressError
from server.tools.webhook.answer import BROKEN, UNREADABLE, WORDS, content, judge, plain, unreached, unwrapped, verdict


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ({"error": "no"}, "no"),
        ({"error": {"message": "no"}}, "no"),
        ({"error": {"description": "no"}}, "no"),
        ({"error": True, "message": "no"}, "no"),
        ({"error": {"code": 7}}, '{"error":{"code":7}}'),
        ({"error": ["a"]}, '{"error":["a"]}'),
        ({"error": True}, '{"error":true}'),
        ({"error": "no", "partial": [1]}, "no"),
        ({"message": "Error in workflow"}, "Error in workflow"),
        ({"code": 0, "message": "No item to return was found"}, "No item to return was found"),
        ({"code": 404, "message": "not registered", "hint": "publish it"}, "not registered (publish it)"),
        ({"error": None}, None),
        ({"error": ""}, None),
        ({"error": False}, None),
        ({"error": {}}, None),
        ({"error": 0}, None),
        ({"code": 200, "message": "fine"}, None),
        ({"code": 404, "message": "a room's number", "price": 3}, None),
        ({"message": "Error in workflow", "more": 1}, None),
        ({"errors": ["a"]}, None),
        ("error", None),
        ([{"error": "no"}, {"error": "no"}], None),
        (None, None),
    ],
)
def test_what_says_that_it_failed(value: Any, error: str | None) -> None:
    """An `error` that says something, and what n8n says of its own; anything else is a result."""
    assert verdict(value) == error


@pytest.mark.parametrize(
    ("value", "bare"),
    [
        ([{"a": 1}], {"a": 1}),
        ([{"a": 1}, {"a": 2}], [{"a": 1}, {"a": 2}]),
        ([1], [1]),
        ([], []),
        ("", None),
        ({"message": "Workflow executed successfully but the last node did not return any data"}, None),
        ({"message": "Hello"}, {"message": "Hello"}),
    ],
)
def test_what_n8n_wraps(value: Any, bare: Any) -> None:
    """A single item is itself; words for no data are no data."""
    assert unwrapped(value) == bare


@pytest.mark.parametrize(
    "internal",
    [
        "connect ECONNREFUSED 10.0.0.5:5432",
        "getaddrinfo ENOTFOUND db",
        "GET https://api.example/v1?key=7 failed",
        "postgres://user@db/shop",
        "no route to 192.168.1.7",
        "db:5432 is away",
        "TypeError: x is undefined",
        "NodeOperationError",
        "at Object.run (index.js:3:1)",
        "Traceback (most recent call last):",
        "open /home/node/.n8n/config",
        "orders.internal is away",
        "\n  \n",
        "",
    ],
)
def test_internals_are_not_told(internal: str) -> None:
    """Addresses, paths, code and its errors."""
    assert plain(internal, "otherwise") == "otherwise"


@pytest.mark.parametrize(
    "words",
    [
        "This slot is taken",
        "Only from 10:30 to 22:00",
        "Order 12345 was not found. Check the number!",
        "Nous sommes fermés le 24/12",
        "Price is 12.50 USD, tax 7%",
    ],
)
def test_a_workflows_plain_words_are_told(words: str) -> None:
    """They say more than ours."""
    assert plain(words, "otherwise") == words
    assert plain(f"{words}\n    at run (a.js:1:2)", "otherwise") == words
    assert len(plain(words * 100, "otherwise")) == 300


def test_every_way_not_to_be_answered_has_words() -> None:
    """What was sent may have acted; what an address of ours forbids says nothing of the other side."""
    for kind, words in WORDS.items():
        answer = unreached(EgressError(kind, "host: reason", sent=kind == "timeout"))
        assert (answer.error, answer.words) == (f"{kind}: host: reason", words)
        assert answer.acted == (kind == "timeout")
        assert answer.healthy is (None if kind == "forbidden" else False)
        assert answer.retry == (kind in {"dns", "refused", "timeout", "broken"})


@pytest.mark.parametrize(
    ("given", "least", "most"),
    [
        ("7", 7, 7),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0, 0),
        ("-1", 0, 0),
        ("1.5", 0, 0),
        ("soon", 0, 0),
        ("9" * 50, 0, 0),
        ("Wed, 99 Oct 99999 07:28:00 GMT", 0, 0),
        ("", 0, 0),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after(given: str, least: float, most: float, status: int) -> None:
    """Seconds or a date; nonsense is nothing."""
    answer = judge(status, {"retry-after": given}, b"")
    assert answer.retry and least <= answer.after_s <= most


def test_retry_after_a_date() -> None:
    """Counted from now."""
    at = email.utils.formatdate(time.time() + 60, usegmt=True)
    assert 50 < judge(503, {"retry-after": at}, b"").after_s <= 60


@given(
    st.integers(100, 599),
    st.dictionaries(st.sampled_from(["content-type", "retry-after"]), st.text(max_size=30)),
    st.binary(max_size=200) | st.text(max_size=200).map(str.encode) | st.recursive(
        st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=10),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["error", "message", "code", "hint"]), inner),
    ).map(msgspec.json.encode),
)  # fmt: skip
def test_anything_gets_a_verdict(status: int, headers: dict[str, str], body: bytes) -> None:
    """Whatever comes: a result that can be read, or a failure with a reason and words. Never an exception."""
    answer = judge(status, headers, body)
    if answer.accepted:
        assert status == 202
    elif answer.error is None:
        assert 200 <= status < 300 and content(answer.value)
    else:
        assert answer.error and answer.words
        assert answer.healthy is (status < 500)
        assert not answer.acted or not 400 <= status < 500


def test_a_page_is_never_read_to_a_model() -> None:
    """Whatever it is called, and whatever stands before it."""
    for page in ("<!doctype html><p>Log in", "  \n<HTML><body>", "<p>502</p>"):
        answer = judge(200, {"content-type": "text/html; charset=utf-8"}, page.encode())
        assert (answer.value, answer.words, answer.acted) == (None, UNREADABLE, True)
    assert judge(200, {"content-type": "text/plain"}, b"<3 from Bob").value == "<3 from Bob"
    assert judge(500, {"content-type": "text/html"}, b"<html>").words == BROKEN
