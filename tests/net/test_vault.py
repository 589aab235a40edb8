"""What is sealed opens for its own client and field, with a key that is listed, untouched. For nothing else."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from server.errors import SecretUnreadable
from server.net import vault
from server.net.vault import Field, Vault

OLD, NEW = "o" * 32, "n" * 32
FIELDS: tuple[Field, ...] = (vault.SIGNING_SECRET, vault.CONNECTION_CONFIG, vault.IDENTITY_SECRET)

texts = st.text()
clients = st.integers(min_value=1, max_value=2**63 - 1)
fields = st.sampled_from(FIELDS)
keys = st.text(min_size=32)


def unreadable(keys: Vault, sealed: bytes, *, client_id: int = 7, field: Field = vault.SIGNING_SECRET) -> str:
    """Why it does not open."""
    with pytest.raises(SecretUnreadable) as caught:
        keys.open(sealed, client_id=client_id, field=field)
    return caught.value.message


@settings(deadline=None)
@given(text=texts, client_id=clients, field=fields, key=keys)
def test_what_is_sealed_opens(*, text: str, client_id: int, field: Field, key: str) -> None:
    """Any text, for any client and field, with any key; 33 bytes longer; the text is not in it."""
    box = Vault((key,))
    sealed = box.seal(text, client_id=client_id, field=field)
    assert box.open(sealed, client_id=client_id, field=field) == text
    assert box.is_current(sealed)
    assert len(sealed) == len(text.encode()) + 33
    assert len(text) < 5 or text.encode() not in sealed


@settings(deadline=None)
@given(text=texts, one=st.tuples(clients, fields), other=st.tuples(clients, fields))
def test_it_opens_for_its_own_row_alone(*, text: str, one: tuple[int, Field], other: tuple[int, Field]) -> None:
    """Moved to another client or another column it is refused."""
    assume(one != other)
    box = Vault((NEW,))
    sealed = box.seal(text, client_id=one[0], field=one[1])
    assert "another client or field" in unreadable(box, sealed, client_id=other[0], field=other[1])


@settings(deadline=None)
@given(text=texts, place=st.integers(min_value=0), change=st.integers(min_value=1, max_value=255))
def test_a_changed_byte_is_noticed(*, text: str, place: int, change: int) -> None:
    """Wherever it is: version, key, nonce, text or tag."""
    box = Vault((NEW, OLD))
    sealed = bytearray(box.seal(text, client_id=7, field=vault.SIGNING_SECRET))
    sealed[place % len(sealed)] ^= change
    assert unreadable(box, bytes(sealed))


@settings(deadline=None)
@given(text=texts, length=st.integers(min_value=0), more=st.binary(min_size=1))
def test_a_cut_or_longer_one_is_noticed(*, text: str, length: int, more: bytes) -> None:
    """Down to nothing."""
    box = Vault((NEW,))
    sealed = box.seal(text, client_id=7, field=vault.SIGNING_SECRET)
    assert unreadable(box, sealed[: length % len(sealed)])
    assert unreadable(box, sealed + more)


@settings(deadline=None)
@given(garbage=st.binary(max_size=200))
def test_garbage_is_refused(*, garbage: bytes) -> None:
    """Whatever stands in the column, nothing but SecretUnreadable comes of it."""
    box = Vault((NEW, OLD))
    assert unreadable(box, garbage)
    assert unreadable(box, b"\x01" + garbage)
    ours = box.seal("x", client_id=7, field=vault.SIGNING_SECRET)[:5]
    assert unreadable(box, ours + garbage)


def test_the_first_key_seals_and_all_open() -> None:
    """After a rotation the old ciphertext opens and is not current; once the old key is gone it does not open."""
    old = Vault((OLD,)).seal("secret", client_id=7, field=vault.SIGNING_SECRET)
    both = Vault((NEW, OLD))
    assert both.open(old, client_id=7, field=vault.SIGNING_SECRET) == "secret"
    assert not both.is_current(old)
    new = both.seal("secret", client_id=7, field=vault.SIGNING_SECRET)
    assert both.is_current(new)
    assert Vault((NEW,)).open(new, client_id=7, field=vault.SIGNING_SECRET) == "secret"
    assert Vault((OLD, NEW)).open(new, client_id=7, field=vault.SIGNING_SECRET) == "secret"
    assert "FRONTDESK_SECRET_KEYS does not list" in unreadable(Vault((NEW,)), old)
    assert "FRONTDESK_SECRET_KEYS does not list" in unreadable(Vault((OLD,)), new)


def test_what_is_no_ciphertext_is_not_current() -> None:
    """Nor is one of another version."""
    box = Vault((NEW,))
    sealed = box.seal("secret", client_id=7, field=vault.SIGNING_SECRET)
    for other in (b"", b"\x01", sealed[:4], b"\x02" + sealed[1:]):
        assert not box.is_current(other)
    assert "not a ciphertext of this version" in unreadable(box, b"\x02" + sealed[1:])


def test_the_same_text_twice_looks_different() -> None:
    """Every seal has a nonce of its own; who sees two columns cannot tell that they hold the same."""
    box = Vault((NEW,))
    sealed = [box.seal("secret", client_id=7, field=vault.SIGNING_SECRET) for _ in range(1_000)]
    assert len({each[5:17] for each in sealed}) == len({each[17:] for each in sealed}) == 1_000


def test_a_key_listed_twice() -> None:
    """Is one key."""
    sealed = Vault((OLD,)).seal("secret", client_id=7, field=vault.SIGNING_SECRET)
    assert Vault((OLD, OLD)).open(sealed, client_id=7, field=vault.SIGNING_SECRET) == "secret"


def test_the_form_is_fixed() -> None:
    """One that an earlier version of the program wrote opens: the layout, the key's derivation, the binding."""
    sealed = bytes.fromhex(FIXED)
    assert Vault((OLD,)).open(sealed, client_id=7, field=vault.SIGNING_SECRET) == "whsec_fixed"


FIXED = "01410a1898edfa2825919447e3fedf52d4a929ab997008ad86b04709e7f0bc6089a6ba0f4aee7eda8075673f"
