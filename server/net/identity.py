"""How a client's backend vouches for a visitor: a JWT (RFC 7519) signed by HS256 with the client's identity secret.

    {"sub": "customer-42", "exp": 1900000000, "email": "ann@example.com", "name": "Ann"}

`sub` is the client's own name for the person; `email` and `name` may be left out.
"""

import secrets
import unicodedata
from datetime import UTC, datetime
from typing import Annotated

import jwt
import msgspec

from server.errors import Invalid

# Characters of a token.
TOKEN_MOST = 8192
# Seconds a visitor counts as verified, however late the token expires: a stolen one must not last.
VERIFIED_S = 24 * 60 * 60
# Seconds that the backend's clock may be ahead of ours.
SKEW_S = 60

_JWS = jwt.PyJWS(algorithms=["HS256"])


class Identity(msgspec.Struct, frozen=True):
    """A person, vouched for until `until`, which is within 24 hours."""

    external_id: str
    email: str | None
    name: str | None
    until: datetime


class _Claims(msgspec.Struct, frozen=True):
    sub: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    exp: float
    email: Annotated[str, msgspec.Meta(max_length=320)] | None = None
    name: Annotated[str, msgspec.Meta(max_length=200)] | None = None
    nbf: float | None = None
    aud: object = None


def new_secret() -> str:
    """An identity secret, 256 bits: what RFC 7518 (3.2) asks of a key for HS256."""
    return f"ids_{secrets.token_hex(32)}"


def read(token: str, secret: str, *, now: float) -> Identity:
    """Whom the token vouches for at `now`, Unix seconds.

    Raises Invalid `identity_invalid` with a reason for the developer of the client's backend.
    """
    claims = _claims(_payload(token, secret))
    if claims.exp <= now:
        raise _invalid("it has expired; sign a new one each time the page is made")
    if claims.nbf is not None and claims.nbf > now + SKEW_S:
        raise _invalid("`nbf` lies in the future")
    if claims.aud is not None:
        # RFC 7519, 4.1.3: a token for somebody else must be refused, and nobody here has a name to compare.
        raise _invalid("it has an `aud`; leave it out, the secret is for this front desk alone")
    for name, value in (("sub", claims.sub), ("email", claims.email), ("name", claims.name)):
        if any(unicodedata.category(character) == "Cc" for character in value or ""):
            raise _invalid(f"`{name}` has control characters")
    if claims.email and claims.email.count("@") != 1:
        raise _invalid("`email` is not an e-mail address")
    until = datetime.fromtimestamp(min(claims.exp, now + VERIFIED_S), UTC)
    return Identity(claims.sub, claims.email or None, claims.name or None, until)


def _payload(token: str, secret: str) -> bytes:
    """What was signed; nothing of a token is looked at before its signature, but for the algorithm's name."""
    if len(token) > TOKEN_MOST:
        raise _invalid(f"it is longer than {TOKEN_MOST:,} characters")
    if not token.isascii():
        raise _invalid("it is not a JWT")
    try:
        payload: bytes = _JWS.decode(token, secret, algorithms=["HS256"])
    except jwt.InvalidAlgorithmError as error:
        raise _invalid("it must be signed by HS256") from error
    except jwt.InvalidSignatureError as error:
        raise _invalid("it was not signed with this client's identity secret") from error
    except jwt.InvalidTokenError as error:
        raise _invalid("it is not a JWT") from error
    return payload


def _claims(payload: bytes) -> _Claims:
    try:
        return msgspec.json.decode(payload, type=_Claims)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _invalid(f"its claims are wrong: {error}") from error


def _invalid(reason: str) -> Invalid:
    return Invalid(f"the identity is not accepted: {reason}", code="identity_invalid", field="identity")
