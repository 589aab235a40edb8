"""What is recorded of a result, and what a model reads of it: any value, any size."""

import datetime
import decimal
import enum
import math
import uuid
from collections.abc import Callable
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from server.repositories.pool import open_pool, reading
from server.tools.result import DEPTH, parsed, recordable
from server.tools.result import failure as failed
from server.tools.result import reading as read
from server.tools.tool import MODEL_BYTES

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=200)  # lone surrogates and U+0000 included
    | st.decimals(allow_nan=False)
    | st.datetimes()
    | st.binary(max_size=50)
    | st.uuids()
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=30)
        | st.dictionaries(st.text(max_size=20) | st.integers(), inner, max_size=15)
        | st.tuples(inner, inner)
    ),
    max_leaves=60,
)


class Colour(enum.IntEnum):
    RED = 1


class Point(NamedTuple):
    x: int
    y: int


class Text(str):
    __slots__ = ()


class Holder(msgspec.Struct):
    value: Any


def nested(depth: int, wrap: Callable[[Any], Any]) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = wrap(value)
    return value


def depth_of(value: Any) -> int:
    match value:
        case list():
            return 1 + max(map(depth_of, value), default=0)
        case dict():
            return 1 + max(map(depth_of, value.values()), default=0)
        case _:
            return 0


@given(values, st.integers(200, 2_000))
def test_a_model_reads_at_most_its_share(value: Any, limit: int) -> None:
    """UTF-8 within the limit, whatever it is; JSON unless it is a text; and whole where it fits."""
    told = read(value, limit=limit)
    assert len(told.encode()) <= limit
    clean = recordable(value)
    if isinstance(clean, str):
        assert told == clean or "[cut: " in told
        return
    whole = msgspec.json.encode(clean)
    if len(whole) <= limit:
        assert told == whole.decode()


@given(values)
def test_anything_can_be_recorded(value: Any) -> None:
    """Plain JSON values, nothing that Postgres refuses, and the same again for what was recorded already."""
    kept = recordable(value)
    raw = msgspec.json.encode(kept)
    assert rb"\u0000" not in raw
    raw.decode()
    assert recordable(kept) == kept == msgspec.json.decode(raw)


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ({"price": decimal.Decimal("12.50")}, {"price": "12.50"}),
        (datetime.datetime(2031, 5, 20, 12, tzinfo=datetime.UTC), "2031-05-20T12:00:00Z"),
        (datetime.date(2031, 5, 20), "2031-05-20"),
        (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (b"\x00\xff", "AP8="),
        ([math.nan, math.inf, 1.5], [None, None, 1.5]),
        ({1: {(1, 2): "\0"}}, {"1": {"(1, 2)": "\ufffd"}}),
        ("half \ud83d of it", "half \ufffd of it"),
        ({"\0\ud800": 1}, {"\ufffd\ufffd": 1}),
        (2**80, 2**80),
        pytest.param(10**5_000, "[a number of more than 4000 digits]", id="a number without end"),
        ({"a", "b"} - {"b"}, ["a"]),
        (object, "<class 'object'>"),
        (
            ["\0", Colour.RED, Point(1, 2), Text("a"), MappingProxyType({"a": Colour.RED})],
            ["\ufffd", 1, [1, 2], "a", {"a": 1}],
        ),
        (["\0", Holder({(1, 2): "\0"})], ["\ufffd", {"value": {"(1, 2)": "\ufffd"}}]),
    ],
)
def test_what_is_no_json_becomes_some(value: Any, kept: Any) -> None:
    """Rows of databases have types of their own, and workflows have characters that no database takes."""
    assert recordable(value) == kept


async def test_postgres_stores_it(database_url: str) -> None:
    """The worst that can come, and it comes back as it was kept."""
    pool = await open_pool(database_url, max_size=1, application_name="test")
    worst = {
        "nul": "\0",
        "half": "\ud83d",
        "big": 2**200,
        "number": 10**3_999,
        "deep": nested(5_000, lambda inner: [inner]),
        "small": 5e-324,
        "nan": math.nan,
    }
    kept = recordable(worst)
    async with reading(pool) as conn:
        cursor = await conn.execute("select %s::jsonb", [Jsonb(kept, dumps=msgspec.json.encode)])
        row = await cursor.fetchone()
    await pool.close()
    assert row is not None
    assert {**row[0], "small": kept["small"]} == kept


@pytest.mark.parametrize("wrap", [lambda inner: [inner], lambda inner: {"a": inner}, lambda inner: (inner,)])
@pytest.mark.parametrize("depth", [DEPTH - 1, DEPTH, DEPTH + 1, 900, 50_000])
def test_hostile_depth_is_cut(depth: int, wrap: Callable[[Any], Any]) -> None:
    """What is too deep is cut there, and nothing recurses without end."""
    kept = recordable(nested(depth, wrap))
    assert depth_of(kept) == min(depth, DEPTH)
    assert ("nested too deep" in msgspec.json.encode(kept).decode()) == (depth > DEPTH)
    assert len(read(nested(depth, wrap)).encode()) <= MODEL_BYTES


@pytest.mark.parametrize("text", ["[" * 100_000, "[" * 5_000 + "]" * 5_000, '{"a":' * 100_000, "", "{", "9" * 100_000])
def test_what_is_not_json_is_said_so(text: str) -> None:
    """Cut off, bottomless, or a number without end."""
    with pytest.raises(ValueError, match=r"."):
        parsed(text)


def test_what_javascript_calls_json() -> None:
    """Half an emoji and numbers that no float holds."""
    assert parsed('{"a":"\\ud83d","b":1e400,"c":[NaN]}') == {"a": "\ufffd", "b": None, "c": [None]}
    assert parsed('"\\ud83d\\ude00"') == "😀"


def test_a_list_keeps_its_first_items_whole() -> None:
    """And says how many are left out."""
    items = [{"no": no, "about": "x" * 50} for no in range(100)]
    *kept, mark = msgspec.json.decode(read(items, limit=500))
    assert kept == items[: len(kept)] and len(kept) == 6 and mark == "[94 of 100 items left out]"


def test_an_object_keeps_its_short_fields_whole() -> None:
    """The long ones share what is left, and say what they lost."""
    value = {"total": 40, "items": list(range(5_000)), "about": "é" * 5_000, "name": "Oven"}
    told = msgspec.json.decode(read(value, limit=1_000))
    assert (told["total"], told["name"], list(told)) == (40, "Oven", list(value))
    *numbers, mark = told["items"]
    assert numbers == list(range(len(numbers))) and mark == f"[{5_000 - len(numbers)} of 5000 items left out]"
    kept = told["about"].count("é")
    assert told["about"] == "é" * kept + f" [cut: {kept} of 5000 characters]"
    assert len(read(value, limit=1_000).encode()) > 900, "the room is used"


def test_more_fields_than_fit() -> None:
    """The first ones, and how many there were."""
    told = msgspec.json.decode(read({f"field{no}": no for no in range(1_000)}, limit=400))
    assert told["field0"] == 0 and told["..."] == f"[{1_000 - len(told) + 1} of 1000 fields left out]"


def test_one_item_that_is_too_long_is_cut_within() -> None:
    """A part of it says more than nothing."""
    told = msgspec.json.decode(read([{"page": "word " * 1_000}, 2], limit=300))
    assert told[0]["page"].startswith("word word") and "[cut: " in told[0]["page"]
    assert told[1] == "[1 of 2 items left out]"


def test_a_text_is_cut_between_characters() -> None:
    """As it is, without quotes, and never within a character."""
    assert read("Shipped") == "Shipped"
    told = read("😀" * 10_000)
    assert len(told.encode()) <= MODEL_BYTES
    body, _, mark = told.partition(" [")
    assert set(body) == {"😀"} and mark == f"cut: {len(body)} of 10000 characters]"


def test_a_failure_is_one_field() -> None:
    """Short, and safe to record."""
    assert failed('It "broke"\0') == '{"error":"It \\"broke\\"\ufffd"}'
    assert len(failed("x" * 10_000)) < 1_000
