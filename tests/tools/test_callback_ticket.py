"""Tokens of callbacks' addresses: short, unforgeable, and readable by every instance of the deployment."""

from base64 import urlsafe_b64encode

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server import ids
from server.errors import Unauthorized
from server.net.signing import Keyring
from server.tools.webhook.ticket import TOKEN_CHARACTERS, Ticket, Tickets
from tests.support import SECRET_KEYS

KEYRING = Keyring(SECRET_KEYS)
TICKETS = Tickets(KEYRING)
TURN = ids.turn_id()
TICKET = Ticket(
    client_id=7,
    turn_row=12,
    turn_id=TURN,
    conversation_id=ids.conversation_id(),
    key=f"{TURN}:2",
    tool="book_table",
    sent_ms=1_900_000_000_123,
    expires_s=1_900_000_060,
)
TOKEN = TICKETS.token(TICKET)
PAYLOAD, _, DIGEST = TOKEN.partition(".")


def base64(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def refused(token: str) -> bool:
    """Always with the same words."""
    with pytest.raises(Unauthorized) as error:
        TICKETS.read(token)
    return (error.value.code, error.value.message) == ("bad_token", "no call has this address")


def test_what_was_made_is_read() -> None:
    """By the deployment's other instances, and after its key was changed while the old one is still listed."""
    assert Tickets(Keyring(SECRET_KEYS)).read(TOKEN) == TICKET
    assert Tickets(Keyring(("a newer key of more than 32 characters", *SECRET_KEYS))).read(TOKEN) == TICKET


def test_the_longest_names_fit() -> None:
    """64 characters of a tool's name, and numbers as long as Postgres has them; what is longer is a bug."""
    big = 2**63 - 1
    longest = msgspec.structs.replace(TICKET, client_id=big, turn_row=big, key=f"{TURN}:999", tool="t" * 64)
    token = TICKETS.token(longest)
    assert len(token) <= TOKEN_CHARACTERS and TICKETS.read(token) == longest
    with pytest.raises(RuntimeError, match="characters"):
        TICKETS.token(msgspec.structs.replace(TICKET, tool="t" * 500))


@given(st.integers(0, len(PAYLOAD) - 1), st.sampled_from("AZaz09-_.=é"))
def test_every_character_counts(at: int, character: str) -> None:
    """None of what a ticket says can be changed."""
    changed = TOKEN[:at] + character + TOKEN[at + 1 :]
    assert changed == TOKEN or refused(changed)


@given(st.text(max_size=600) | st.text("AZaz09-_.=", max_size=600))
def test_nonsense_is_refused(token: str) -> None:
    """Whatever it is made of, and whatever stands after a good one."""
    assert refused(token)
    assert refused(f"{PAYLOAD}.{token}")
    assert refused(f"{token}.{DIGEST}")


@pytest.mark.parametrize(
    "forged",
    [
        PAYLOAD,
        f"{PAYLOAD}.{DIGEST}.{DIGEST}",
        f"{base64(msgspec.json.encode(msgspec.structs.replace(TICKET, client_id=8)))}.{DIGEST}",
        f"{PAYLOAD}.{base64(Keyring(('another key of more than 32 characters',)).digest('tool-callback', PAYLOAD))}",
        f"{PAYLOAD}.{base64(KEYRING.digest('session-id', PAYLOAD))}",
        f"{PAYLOAD}.\ud800",
        "a" * 100_000,
    ],
)
def test_forgeries_are_refused(forged: str) -> None:
    """Another ticket, another deployment's key, a key for another purpose."""
    assert refused(forged)


def test_a_ticket_of_another_version_is_refused() -> None:
    """Signed by us, but not as we read it: instances are replaced one by one."""
    payload = base64(b"[7,12]")
    assert refused(f"{payload}.{base64(KEYRING.digest('tool-callback', payload))}")
