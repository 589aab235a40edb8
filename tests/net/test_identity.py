"""What a client's backend signs, and everything that is not that."""

import base64
import hashlib
import hmac
import json
import time
from datetime import UTC, datetime
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from server.errors import Invalid
from server.net import identity
from server.net.identity import Identity

NOW = 1_900_000_000.0
SECRET = identity.new_secret()
PERSON: dict[str, Any] = {"sub": "customer-42", "exp": NOW + 600, "email": "ann@example.com", "name": "Ann"}


def signed(**claims: Any) -> str:
    """A token as PyJWT makes it; a claim of None is left out."""
    kept = {name: value for name, value in {**PERSON, **claims}.items() if value is not None}
    return jwt.encode(kept, SECRET, algorithm="HS256")


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def raw(payload: bytes, *, header: bytes = b'{"alg":"HS256","typ":"JWT"}', secret: str = SECRET) -> str:
    """A token of any bytes, signed all the same."""
    text = f"{b64(header)}.{b64(payload)}"
    return f"{text}.{b64(hmac.digest(secret.encode(), text.encode(), hashlib.sha256))}"


def refused(token: str, *, secret: str = SECRET) -> str:
    """Why it is not accepted."""
    with pytest.raises(Invalid) as caught:
        identity.read(token, secret, now=NOW)
    assert (caught.value.code, caught.value.field) == ("identity_invalid", "identity")
    assert caught.value.message.startswith("the identity is not accepted: ")
    assert secret not in caught.value.message
    return caught.value.message.removeprefix("the identity is not accepted: ")


def test_a_token_of_any_library() -> None:
    """The person as their backend names them, until the token expires."""
    ann = Identity("customer-42", "ann@example.com", "Ann", datetime.fromtimestamp(NOW + 600, UTC))
    assert identity.read(signed(), SECRET, now=NOW) == ann
    assert identity.read(raw(json.dumps(PERSON).encode()), SECRET, now=NOW) == ann
    more = signed(iat=int(NOW), nbf=int(NOW) + 30, iss="shop", jti="1", roles=["a", {"b": 1}])
    assert identity.read(more, SECRET, now=NOW) == ann
    assert identity.read(signed(exp=NOW + 600.5), SECRET, now=NOW).until.timestamp() == NOW + 600.5


@pytest.mark.parametrize("empty", [None, ""])
def test_only_the_person_and_the_expiry_are_needed(empty: str | None) -> None:
    """No address and no name, left out or empty."""
    read = identity.read(signed(email=empty, name=empty), SECRET, now=NOW)
    assert (read.external_id, read.email, read.name) == ("customer-42", None, None)


@pytest.mark.parametrize(("exp", "until"), [(1, 1), (86_399, 86_399), (86_401, 86_400), (1e300, 86_400)])
def test_nobody_is_verified_for_more_than_a_day(exp: float, until: float) -> None:
    """However late the token expires."""
    assert identity.read(signed(exp=NOW + exp), SECRET, now=NOW).until.timestamp() == NOW + until


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": NOW}, "it has expired"),
        ({"exp": NOW - 1}, "it has expired"),
        ({"exp": -1e300}, "it has expired"),
        ({"exp": None}, "`exp`"),
        ({"exp": str(NOW + 60)}, "`$.exp`"),
        ({"exp": True}, "`$.exp`"),
        ({"sub": None}, "`sub`"),
        ({"sub": ""}, "`$.sub`"),
        ({"sub": "x" * 201}, "`$.sub`"),
        ({"sub": "a\0b"}, "`sub` has control characters"),
        ({"sub": "a\nb"}, "`sub` has control characters"),
        ({"name": "a\x85b"}, "`name` has control characters"),
        ({"name": "x" * 201}, "`$.name`"),
        ({"name": ["Ann"]}, "`$.name`"),
        ({"email": "ann"}, "`email` is not"),
        ({"email": "a@b@c"}, "`email` is not"),
        ({"email": "a@" + "b" * 320}, "`$.email`"),
        ({"email": {"a": 1}}, "`$.email`"),
        ({"nbf": NOW + 61}, "`nbf`"),
        ({"nbf": "soon"}, "`$.nbf`"),
        ({"aud": "shop"}, "`aud`"),
        ({"aud": ["shop"]}, "`aud`"),
    ],
)
def test_a_wrong_claim_is_named(claims: dict[str, Any], reason: str) -> None:
    """So that a developer can mend it."""
    kept = {name: value for name, value in {**PERSON, **claims}.items() if value is not None}
    assert reason in refused(raw(json.dumps(kept).encode()))


@pytest.mark.parametrize("sub", [42, 1.5, True, ["a"], {"a": "b"}])
def test_a_person_is_text(sub: object) -> None:
    """A number is not: 42, 42.0 and "42" would be three people."""
    assert "`$.sub`" in refused(raw(json.dumps({**PERSON, "sub": sub}).encode()))


@pytest.mark.parametrize(
    "name", ["Zoë O\u2019Hara", "\u0645\u06cc\u200c\u0646", "\u05d0\u05d1\u200f", "A\u00a0B", "👩\u200d🚀"]
)
def test_any_real_name(name: str) -> None:
    """Joiners, marks and hard spaces belong to names."""
    assert identity.read(signed(name=name), SECRET, now=NOW).name == name


def test_an_explicit_null_is_left_out() -> None:
    """But not for the person and the expiry."""
    for name in ("email", "name", "nbf"):
        identity.read(raw(json.dumps({**PERSON, name: None}).encode()), SECRET, now=NOW)
    for name in ("sub", "exp"):
        assert f"`$.{name}`" in refused(raw(json.dumps({**PERSON, name: None}).encode()))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"{",
        b'{"sub":"a","exp":1e999}',
        b'{"sub":"a","exp":NaN}',
        b'{"sub":"a","exp":Infinity}',
        b'{"sub":"\\ud800","exp":2000000000}',
        b'{"sub":"\xff","exp":2000000000}',
        b'{"sub":"a","exp":2000000000,"x":' + b"[" * 5_000 + b"]" * 5_000 + b"}",
        b"\xef\xbb\xbf" + json.dumps(PERSON).encode(),
    ],
)
def test_a_payload_that_is_none(payload: bytes) -> None:
    """Even with a good signature."""
    token = raw(payload)
    assert refused(token).startswith("its claims are wrong: " if len(token) <= identity.TOKEN_MOST else "it is longer")


def test_the_signature_is_this_clients() -> None:
    """Another's secret, no signature, a changed claim: refused before a claim is looked at."""
    token = signed()
    head, body, signature = token.split(".")
    wrong = "it was not signed with this client's identity secret"
    assert refused(token, secret=identity.new_secret()) == wrong
    assert refused(f"{head}.{body}.") == wrong
    eve = b64(json.dumps({**PERSON, "sub": "eve"}).encode())
    assert refused(f"{head}.{eve}.{signature}") == wrong
    assert refused(f"{head}.{b64(b'{')}.{signature}") == wrong
    assert refused(raw(json.dumps(PERSON).encode(), secret="")) == wrong


@settings(deadline=None)
@given(place=st.integers(min_value=0), other=st.sampled_from("ABCxyz019-_.="))
def test_a_changed_character_is_noticed(*, place: int, other: str) -> None:
    """Wherever it is."""
    token = signed()
    at = place % len(token)
    changed = token[:at] + other + token[at + 1 :]
    if changed != token:
        assert refused(changed)


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", "HS384", "HS512", "RS256", "ES256", "", None, 1, []])
def test_no_other_algorithm(alg: object) -> None:
    """What the token's own header says is not obeyed."""
    header = json.dumps({"alg": alg, "typ": "JWT"}).encode()
    payload = json.dumps(PERSON).encode()
    assert refused(raw(payload, header=header)) == "it must be signed by HS256"
    assert refused(f"{b64(header)}.{b64(payload)}.") == "it must be signed by HS256"
    assert refused(raw(payload, header=b'{"typ":"JWT"}')) == "it must be signed by HS256"


def test_an_asymmetric_signature() -> None:
    """Neither is a real RS256 token taken, nor one that uses a public key's text as the secret of HS256."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    assert refused(jwt.encode(PERSON, key, algorithm="RS256")) == "it must be signed by HS256"
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    forged = raw(json.dumps(PERSON).encode(), secret=public.decode())
    assert refused(forged) == "it was not signed with this client's identity secret"


@pytest.mark.parametrize(
    "header",
    [
        b'{"alg":"HS256","b64":false,"crit":["b64"]}',
        b'{"alg":"HS256","crit":["exp"],"exp":1}',
        b'{"alg":"HS256","kid":7}',
        b"[]",
        b'"HS256"',
        b"[" * 3_000,
    ],
)
def test_a_header_that_asks_for_more(header: bytes) -> None:
    """What must be understood and is not, a detached payload, a wrong type: refused."""
    assert refused(raw(json.dumps(PERSON).encode(), header=header)) == "it is not a JWT"


def test_a_token_of_64_kb() -> None:
    """Is refused without a look at it, well signed or not."""
    assert refused(signed(padding="x" * 65_536)) == "it is longer than 8,192 characters"
    assert refused("." * 65_536) == "it is longer than 8,192 characters"


def test_time_for_a_big_one() -> None:
    """The worst tokens of the allowed size cost no visible time."""
    began = time.perf_counter()
    for token in (
        "." * 8_192,
        "a" * 8_192,
        raw(b"[" * 6_000),
        signed(padding="x" * 6_000),
        raw(b"", header=b"[" * 6_000),
    ):
        if token != signed(padding="x" * 6_000):
            refused(token)
    assert time.perf_counter() - began < 1


@settings(deadline=None)
@given(token=st.text() | st.from_regex(r"[A-Za-z0-9_=-]*\.[A-Za-z0-9_=-]*\.[A-Za-z0-9_=-]*", fullmatch=True))
def test_any_text_is_refused_kindly(*, token: str) -> None:
    """Nothing but Invalid comes of it."""
    assert refused(token)


@settings(deadline=None)
@given(payload=st.binary(max_size=300))
def test_any_signed_bytes_are_refused_kindly(*, payload: bytes) -> None:
    """A backend that signs nonsense gets a reason."""
    assert refused(raw(payload))


def test_secrets_are_long_and_new() -> None:
    """256 bits, never the same."""
    made = {identity.new_secret() for _ in range(100)}
    assert len(made) == 100
    assert all(len(each) == 68 and each.startswith("ids_") for each in made)
