"""Standard Webhooks, compared with the reference implementation both ways."""

import base64
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook as Reference
from starlette.datastructures import Headers

from server.errors import Invalid, Unauthorized
from server.net.webhooks import check_secret, new_secret, sign, verify

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
OTHER = "whsec_" + base64.b64encode(b"fedcba9876543210fedcba9876543210").decode()
NOW = 1_760_000_000
BODY = '{"tool":"get_order_status","arguments":{"order":"é漢🙂"}}'.encode()

message_ids = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="."), min_size=1).filter(
    lambda text: len(text) <= 256
)
keys = st.binary(min_size=24, max_size=64)


def secret_of(key: bytes) -> str:
    return "whsec_" + base64.b64encode(key).decode()


@given(keys, message_ids, st.text())
def test_the_reference_accepts_what_we_sign(key: bytes, msg_id: str, text: str) -> None:
    """Any key of the standard's length, any id, any text."""
    now = int(datetime.now(tz=UTC).timestamp())
    headers = sign(secret_of(key), msg_id=msg_id, timestamp=now, body=text.encode())
    Reference(secret_of(key)).verify(text, headers, json_parse=False)


@given(keys, message_ids, st.text())
def test_we_accept_what_the_reference_signs(key: bytes, msg_id: str, text: str) -> None:
    """The same the other way round, and the id comes back."""
    at = datetime.fromtimestamp(NOW, tz=UTC)
    headers = {
        "webhook-id": msg_id,
        "webhook-timestamp": str(NOW),
        "webhook-signature": Reference(secret_of(key)).sign(msg_id, at, text),
    }
    assert verify(secret_of(key), headers, text.encode(), now=NOW) == msg_id


def test_a_signature_of_the_standard_s_own_example() -> None:
    """The example that the implementations of the standard share in their tests."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    headers = sign(secret, msg_id="msg_p5jXN8AQM9LWM0D4loKWxJek", timestamp=1614265330, body=b'{"test": 2432232314}')
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_new_secret_is_random_printable_and_usable() -> None:
    """32 visible ASCII bytes, for tools that take the key as a text; never the same twice."""
    made = {new_secret() for _ in range(100)}
    assert len(made) == 100
    for secret in made:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        assert secret.startswith("whsec_")
        assert len(key) == 32
        assert key.isalnum()
        check_secret(secret)
        assert Reference(secret)


def test_header_names_come_in_any_case() -> None:
    """As HTTP servers and workflow tools spell them; a Starlette request's headers work as they are."""
    headers = sign(SECRET, msg_id="evt_1", timestamp=NOW, body=BODY)
    assert verify(SECRET, {name.title(): value for name, value in headers.items()}, BODY, now=NOW) == "evt_1"
    assert verify(SECRET, Headers(headers), BODY, now=NOW) == "evt_1"


def test_one_of_several_signatures_is_enough() -> None:
    """While a secret is exchanged the sender signs with both; other versions beside are passed over."""
    headers = sign(SECRET, msg_id="evt_1", timestamp=NOW, body=BODY)
    other = sign(OTHER, msg_id="evt_1", timestamp=NOW, body=BODY)
    both = headers | {"webhook-signature": f"v1a,AAAA {other['webhook-signature']} {headers['webhook-signature']} x"}
    assert verify(SECRET, both, BODY, now=NOW) == "evt_1"
    assert verify(OTHER, both, BODY, now=NOW) == "evt_1"


@pytest.mark.parametrize("off", [-300, -1, 0, 1, 300])
def test_a_message_of_the_last_five_minutes_is_taken(off: int) -> None:
    """And of the next five, for clocks differ."""
    headers = sign(SECRET, msg_id="evt_1", timestamp=NOW + off, body=BODY)
    assert verify(SECRET, headers, BODY, now=NOW) == "evt_1"


@pytest.mark.parametrize("off", [-301, 301, -86_400, 86_400])
def test_an_old_or_early_message_is_refused(off: int) -> None:
    """A captured request is of no use after five minutes."""
    headers = sign(SECRET, msg_id="evt_1", timestamp=NOW + off, body=BODY)
    with pytest.raises(Unauthorized, match="300 s"):
        verify(SECRET, headers, BODY, now=NOW)


def _forgeries() -> dict[str, tuple[str, dict[str, str], bytes]]:
    good = sign(SECRET, msg_id="evt_1", timestamp=NOW, body=BODY)
    signature = good["webhook-signature"]
    bare = signature.removeprefix("v1,")
    hexed = base64.b64decode(bare).hex()

    def signed(text: str) -> tuple[str, dict[str, str], bytes]:
        return SECRET, good | {"webhook-signature": text}, BODY

    def without(name: str) -> tuple[str, dict[str, str], bytes]:
        return SECRET, {key: value for key, value in good.items() if key != name}, BODY

    return {
        "another secret": (OTHER, good, BODY),
        "another body": (SECRET, good, BODY + b" "),
        "no body": (SECRET, good, b""),
        "another id": (SECRET, good | {"webhook-id": "evt_2"}, BODY),
        "another time": (SECRET, good | {"webhook-timestamp": str(NOW + 1)}, BODY),
        "no id": without("webhook-id"),
        "no time": without("webhook-timestamp"),
        "no signature": without("webhook-signature"),
        "no headers": (SECRET, {}, BODY),
        "empty id": (SECRET, good | {"webhook-id": ""}, BODY),
        "empty signature": signed(""),
        "only a version": signed("v1,"),
        "no version": signed(bare),
        "another version": signed(f"v2,{bare}"),
        "hex": signed(f"v1,{hexed}"),
        "cut": signed(signature[:-1]),
        "longer": signed(f"{signature}="),
        "without padding": signed(signature.rstrip("=")),
        "upper version": signed(f"V1,{bare}"),
        "comma apart": signed(f"v1,AAAA,{signature}"),
        "not ASCII": signed("v1,é漢\ud800"),
        "behind many others": signed(" ".join(["v1,AAAA"] * 16 + [signature])),
        "time with a sign": (SECRET, good | {"webhook-timestamp": f"+{NOW}"}, BODY),
        "time with a zero": (SECRET, good | {"webhook-timestamp": f"0{NOW}"}, BODY),
        "time with a fraction": (SECRET, good | {"webhook-timestamp": f"{NOW}.0"}, BODY),
        "time in other digits": (SECRET, good | {"webhook-timestamp": str(NOW).replace("1", "\u0661")}, BODY),
        "time of words": (SECRET, good | {"webhook-timestamp": "now"}, BODY),
        "not a number": (SECRET, good | {"webhook-timestamp": "nan"}, BODY),
        "a long time": (SECRET, good | {"webhook-timestamp": "9" * 5000}, BODY),
        "no secret": ("", good, BODY),
        "a secret without a key": ("whsec_", good, BODY),
        "a secret that is no base64": ("whsec_!!!", good, BODY),
        "a secret that is not ASCII": ("whsec_é", good, BODY),
    }


@pytest.mark.parametrize("forgery", _forgeries())
def test_a_forgery_is_refused(forgery: str) -> None:
    """Whatever is missing or different; it fails closed, with Unauthorized and no other error."""
    secret, headers, body = _forgeries()[forgery]
    with pytest.raises(Unauthorized):
        verify(secret, headers, body, now=NOW)


def test_an_empty_secret_s_own_signature_is_refused() -> None:
    """What a sender with an empty key would sign does not pass where the secret was lost."""
    import hashlib
    import hmac

    digest = hmac.digest(b"", f"evt_1.{NOW}.".encode() + BODY, hashlib.sha256)
    headers = {
        "webhook-id": "evt_1",
        "webhook-timestamp": str(NOW),
        "webhook-signature": "v1," + base64.b64encode(digest).decode(),
    }
    for secret in ("", "whsec_"):
        with pytest.raises(Unauthorized, match="no usable secret"):
            verify(secret, headers, BODY, now=NOW)


def test_one_signature_is_not_of_two_messages() -> None:
    """Parts that shift over a dot would sign alike: ("a", "1", "2.x") and ("a.1", "2", "x"). Ids have no dot."""
    shifted = Reference(SECRET).sign(f"evt.{NOW}", datetime.fromtimestamp(NOW, tz=UTC), "{}")
    headers = {"webhook-id": "evt", "webhook-timestamp": str(NOW), "webhook-signature": shifted}
    assert verify(SECRET, headers, f"{NOW}.{{}}".encode(), now=NOW) == "evt", "the two do sign alike"
    with pytest.raises(Unauthorized, match="without a dot"):
        verify(SECRET, headers | {"webhook-id": f"evt.{NOW}"}, b"{}", now=NOW)
    with pytest.raises(Invalid, match="without a dot"):
        sign(SECRET, msg_id=f"evt.{NOW}", timestamp=NOW, body=b"{}")


def test_a_header_that_is_there_twice_is_refused() -> None:
    """Two parsers could take one each."""
    headers = sign(SECRET, msg_id="evt_1", timestamp=NOW, body=BODY)
    twice = Headers(raw=[(name.encode(), value.encode()) for name, value in headers.items()] + [(b"webhook-id", b"x")])
    with pytest.raises(Unauthorized, match="twice"):
        verify(SECRET, twice, BODY, now=NOW)


@pytest.mark.parametrize("msg_id", ["", " ", "a b", "a\r\nx-evil: 1", "é", "a.b", "x" * 257])
def test_an_id_that_is_no_header_is_not_signed(msg_id: str) -> None:
    """The id comes from us, but what is signed is what is sent."""
    with pytest.raises(Invalid) as caught:
        sign(SECRET, msg_id=msg_id, timestamp=NOW, body=BODY)
    assert caught.value.field == "msg_id"


@pytest.mark.parametrize("timestamp", [-1, 0, 10**12])
def test_a_time_that_is_none_is_not_signed(timestamp: int) -> None:
    """Seconds, not milliseconds."""
    with pytest.raises(Invalid) as caught:
        sign(SECRET, msg_id="evt_1", timestamp=timestamp, body=BODY)
    assert caught.value.field == "timestamp"


@pytest.mark.parametrize(
    "secret",
    ["", "whsec_", "whsec_AAAA", "whsec_" + "A" * 200, "WHSEC_" + SECRET[6:], SECRET[6:], "whsec_é", "whsec_a b"],
)
def test_a_secret_that_is_none_is_named(secret: str) -> None:
    """At configuration and at signing, with the field and what it may be."""
    with pytest.raises(Invalid, match="24 to 64 bytes") as caught:
        check_secret(secret, field="secret")
    assert caught.value.field == "secret"
    with pytest.raises(Invalid):
        sign(secret, msg_id="evt_1", timestamp=NOW, body=BODY)


def test_a_body_of_any_bytes_is_signed() -> None:
    """What the other side sent is checked as it came, UTF-8 or not."""
    body = bytes(range(256))
    assert verify(SECRET, sign(SECRET, msg_id="evt_1", timestamp=NOW, body=body), body, now=float(NOW)) == "evt_1"


def test_the_reference_parses_our_request() -> None:
    """The whole way a receiver goes: verify and parse."""
    now = int(datetime.now(tz=UTC).timestamp())
    assert Reference(SECRET).verify(BODY, sign(SECRET, msg_id="trn_1:2", timestamp=now, body=BODY)) == json.loads(BODY)
