"""Opaque ids and secrets."""

import re
from collections.abc import Callable
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server import ids

CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"


@pytest.mark.parametrize(
    ("make", "prefix", "length"),
    [
        (ids.session_id, "ses_", 26),
        (ids.conversation_id, "cnv_", 26),
        (ids.message_id, "msg_", 26),
        (ids.turn_id, "trn_", 26),
        (ids.cid, "srv_", 26),
        (ids.request_id, "req_", 16),
        (ids.instance_id, "ins_", 12),
        (ids.public_key, "pk_", 24),
        (ids.secret_key, "sk_", 32),
        (ids.session_token, "st_", 32),
        (ids.operator_token, "os_", 32),
        (ids.operator_ticket, "ot_", 32),
        (ids.login_link, "ol_", 32),
        (ids.epoch, "", 8),
    ],
)
def test_the_form_of_each_kind(make: Callable[[], str], prefix: str, length: int) -> None:
    """A prefix that says what it names, then letters and digits that cannot be misread; all of them come up."""
    made = [make() for _ in range(500)]
    assert len(set(made)) == 500
    assert all(re.fullmatch(rf"{prefix}[{CROCKFORD}]{{{length}}}", each) for each in made)
    assert set("".join(each.removeprefix(prefix) for each in made)) == set(CROCKFORD)
    for position in range(length):
        assert len({each[len(prefix) + position] for each in made}) > 20, "every place is random"


def test_two_ids_never_meet() -> None:
    """Among a hundred thousand."""
    assert len({ids.message_id() for _ in range(100_000)}) == 100_000


@pytest.mark.parametrize("prefix", ["ses", "cnv", "msg", "trn"])
def test_an_id_is_known_by_its_form(prefix: Literal["ses", "cnv", "msg", "trn"]) -> None:
    """Its own kind and nothing near it."""
    right = f"{prefix}_{'0' * 26}"
    assert ids.is_id(right, prefix)
    for wrong in (
        "",
        prefix,
        f"{prefix}_",
        right[:-1],
        right + "0",
        right + "\n",
        " " + right,
        right.upper(),
        f"xxx_{'0' * 26}",
        right[:-1] + "i",
        right[:-1] + "٣",
        right.replace("_", "-"),
    ):
        assert not ids.is_id(wrong, prefix), wrong
    made = {"ses": ids.session_id, "cnv": ids.conversation_id, "msg": ids.message_id, "trn": ids.turn_id}
    assert [ids.is_id(make(), prefix) for make in made.values()] == [kind == prefix for kind in made]


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_an_id_of_a_digest(one: bytes, other: bytes) -> None:
    """The same digest gives the same id, of the right form; the last 130 bits tell digests apart."""
    made = ids.from_digest("ses", one)
    assert made == ids.from_digest("ses", one)
    assert ids.is_id(made, "ses")
    low = (1 << 130) - 1
    same = int.from_bytes(one, "big") & low == int.from_bytes(other, "big") & low
    assert (made == ids.from_digest("ses", other)) == same
