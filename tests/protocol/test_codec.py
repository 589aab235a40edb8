"""Bad frames are refused with a code, the field, and what is allowed."""

from typing import Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.errors import Invalid, Malformed, RequestError, TooLarge
from server.protocol import codec, limits, visitor
from server.protocol.base import Frame, Wire
from server.protocol.close import Close, may_reconnect
from server.protocol.parts import Owner

BAD: list[tuple[str, type[RequestError], str, str | None]] = [
    ("", Malformed, "malformed", None),
    ("{", Malformed, "malformed", None),
    ("nonsense", Malformed, "malformed", None),
    ('{"type":"ping","t":1} tail', Malformed, "malformed", None),
    ("[]", Invalid, "invalid", None),
    ("null", Invalid, "invalid", None),
    ("{}", Invalid, "missing", "type"),
    ('{"type":5}', Invalid, "invalid", "type"),
    ('{"type":"launch.rockets"}', Invalid, "unknown_type", "type"),
    ('{"type":"ack","cid":"a","message_id":"b","seq":1}', Invalid, "unknown_type", "type"),
    ('{"type":"hello"}', Invalid, "missing", "v"),
    ('{"type":"hello","v":1}', Invalid, "missing", "key"),
    ('{"type":"hello","v":"1","key":"pk"}', Invalid, "invalid", "v"),
    ('{"type":"hello","v":1,"key":""}', Invalid, "invalid", "key"),
    ('{"type":"hello","v":1,"key":"pk","last_seq":-1}', Invalid, "invalid", "last_seq"),
    ('{"type":"hello","v":1,"key":"pk","session":{"id":"s"}}', Invalid, "missing", "session.token"),
    ('{"type":"hello","v":1,"key":"pk","locale":"no spaces"}', Invalid, "invalid", "locale"),
    ('{"type":"hello","v":1,"key":"pk","pending":["a",2]}', Invalid, "invalid", "pending[1]"),
    ('{"type":"message.send","text":"hi"}', Invalid, "missing", "cid"),
    ('{"type":"message.send","cid":"a"}', Invalid, "missing", "text"),
    ('{"type":"message.send","cid":"a","text":5}', Invalid, "invalid", "text"),
    ('{"type":"message.send","cid":"a","text":null}', Invalid, "invalid", "text"),
    ('{"type":"message.send","cid":"' + "x" * 65 + '","text":"a"}', Invalid, "invalid", "cid"),
    ('{"type":"turn.stop"}', Invalid, "missing", "turn_id"),
    ('{"type":"feedback.give","message_id":"m","rating":"meh"}', Invalid, "invalid", "rating"),
    ('{"type":"ping","t":"now"}', Invalid, "invalid", "t"),
    ('{"type":"ping","t":1,"deep":' + "[" * 40 + "]" * 40 + "}", Malformed, "too_deep", None),
    ("[" * 60_000, Malformed, "too_deep", None),
]


@pytest.mark.parametrize(("raw", "kind", "code", "field"), BAD)
def test_bad_frame(raw: str, kind: type[RequestError], code: str, field: str | None) -> None:
    """Each bad frame gets the stated error."""
    with pytest.raises(kind) as caught:
        codec.decode_from_visitor(raw)
    assert (type(caught.value), caught.value.code, caught.value.field) == (kind, code, field)


class Leaf(Wire, frozen=True):
    kind: Literal["fig", "oak"] = "oak"
    size: Literal[1, 2] = 1


class Square(Frame, frozen=True, tag="square"):
    shade: Literal["dark", "pale"]


class Circle(Frame, frozen=True, tag="circle"):
    shade: Literal["round", "oval"]


class Tree(Wire, frozen=True):
    """Choices wherever a body may have them."""

    owner: Owner | None = None
    leaf: Leaf = Leaf()
    leaves: list[Leaf] = []
    named: dict[str, Leaf] = {}
    words: list[Literal["a", "b"]] = []
    shapes: list[Square | Circle] = []


# A body, the field that it is about, and what is said.
NO_CHOICE = [
    ('{"owner":"robot"}', "owner", "`owner` is 'robot'; it is one of ai, closed, human, queued"),
    ('{"owner":""}', "owner", "`owner` is ''; it is one of ai, closed, human, queued"),
    ('{"leaf":{"kind":"elm"}}', "leaf.kind", "`leaf.kind` is 'elm'; it is one of fig, oak"),
    ('{"leaf":{"size":3}}', "leaf.size", "`leaf.size` is 3; it is one of 1, 2"),
    ('{"leaves":[{},{"kind":"elm"}]}', "leaves[1].kind", "`leaves[1].kind` is 'elm'; it is one of fig, oak"),
    ('{"named":{"x":{"kind":"elm"}}}', "named[...].kind", "`named[...].kind` is 'elm'; it is one of fig, oak"),
    ('{"words":["a","c"]}', "words[1]", "`words[1]` is 'c'; it is one of a, b"),
    (
        '{"shapes":[{"type":"square","shade":"pale"},{"shade":"x","type":"circle"}]}',
        "shapes[1].shade",
        "`shapes[1].shade` is 'x'; it is one of oval, round",
    ),
    ('{"shapes":[{"type":"star"}]}', "shapes[0].type", "`shapes[0].type` is 'star'; it cannot be that"),
    (
        '{"owner":"it is - at `$.leaf`"}',
        "owner",
        "`owner` is 'it is - at `$.leaf`'; it is one of ai, closed, human, queued",
    ),
    ('{"owner":"robot","leaf":nonsense', "owner", "`owner` is 'robot'; it is one of ai, closed, human, queued"),
]


@pytest.mark.parametrize(("raw", "field", "message"), NO_CHOICE)
def test_no_choice(raw: str, field: str, message: str) -> None:
    """What was sent, and all that may be, at any depth; of several shapes those of the one that was sent."""
    with pytest.raises(Invalid) as caught:
        codec.decode_body(raw.encode(), Tree)
    assert (caught.value.code, caught.value.field, caught.value.message) == ("invalid", field, message)


def test_no_choice_in_a_frame_and_in_a_query() -> None:
    """Frames and the parameters of a URL are told the same."""
    with pytest.raises(Invalid, match=r"^`rating` is 'meh'; it is one of down, up$"):
        codec.decode_from_visitor('{"type":"feedback.give","message_id":"m","rating":"meh"}')
    with pytest.raises(Invalid, match=r"^`owner` is 'robot'; it is one of ai, closed, human, queued$"):
        codec.decode_query({"owner": "robot"}, Tree)


@pytest.mark.parametrize("sent", ["x" * 60_000, "\u202e\u0000`'" * 5_000, "\n" * 100, "🍕" * 1_000])
def test_little_is_repeated_of_what_was_sent(sent: str) -> None:
    """At most 100 characters of it, none that are invisible."""
    with pytest.raises(Invalid) as in_body:
        codec.decode_body(msgspec.json.encode({"owner": sent}), Tree)
    with pytest.raises(Invalid) as in_query:
        codec.decode_query({"owner": sent}, Tree)
    assert in_body.value.message == in_query.value.message
    told = in_body.value.message.removeprefix("`owner` is ").removesuffix("; it is one of ai, closed, human, queued")
    assert len(told) <= 100 and told.isprintable()
    with pytest.raises(Invalid) as named:
        codec.decode_query({sent: "1"}, Tree)
    assert sent.startswith(named.value.field or "-") and len(named.value.field or "") <= 100
    assert named.value.message.startswith(f"`{named.value.field}` is not a parameter; there are ")


def test_frame_over_the_limit() -> None:
    """A frame is measured in bytes, not characters."""
    text = "é" * (limits.FRAME_BYTES // 2)
    with pytest.raises(TooLarge):
        codec.decode_from_visitor('{"type":"message.send","cid":"a","text":"' + text + '"}')


def test_brackets_in_text_are_not_depth() -> None:
    """A message may hold as many brackets as it likes."""
    frame = codec.decode_from_visitor('{"type":"message.send","cid":"a","text":"' + "[{" * 500 + r"\"[" + '"}')
    assert isinstance(frame, visitor.MessageSend)
    assert frame.text.count("[") == 501


def test_unknown_fields_are_ignored() -> None:
    """A newer widget may send more than this server knows."""
    frame = codec.decode_from_visitor('{"type":"ping","t":1.5,"colour":"red","nested":{"a":[1]}}')
    assert frame == visitor.Ping(t=1.5)


@given(st.text(max_size=200))
def test_any_text_is_a_frame_or_a_refusal(raw: str) -> None:
    """Nothing but our own errors comes out of the decoder."""
    try:
        codec.decode_from_visitor(raw)
    except RequestError as error:
        assert error.message


def test_the_range_of_a_close_code_is_its_verdict() -> None:
    """4000 to 4399 reconnect, 4400 to 4499 do not, anything else is a lost link."""
    assert [code.name for code in Close if not may_reconnect(code)] == [
        "PROTOCOL",
        "BAD_KEY",
        "ORIGIN",
        "REPLACED",
        "ERASED",
        "VERSION",
    ]
    assert may_reconnect(1006)
    assert may_reconnect(4399)
    assert not may_reconnect(4499)
