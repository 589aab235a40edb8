"""Bad frames are refused with a code, the field, and what is allowed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.errors import Invalid, Malformed, RequestError, TooLarge
from server.protocol import codec, limits, visitor
from server.protocol.close import Close, may_reconnect

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
