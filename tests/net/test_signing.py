"""Digests of credentials, by derived keys."""

import pytest

from server.net.signing import Keyring

OLD, NEW = "o" * 32, "n" * 32


def test_a_digest_is_of_its_key_purpose_and_credential() -> None:
    """The same three give the same 32 bytes, any other gives others, and none of them shows the credential."""
    ring = Keyring((NEW,))
    digest = ring.digest("api-key", "sk_1")
    assert digest == Keyring((NEW,)).digest("api-key", "sk_1")
    assert len(digest) == 32
    others = {
        Keyring((OLD,)).digest("api-key", "sk_1"),
        ring.digest("session-token", "sk_1"),
        ring.digest("session-id", "sk_1"),
        ring.digest("tool-callback", "sk_1"),
        ring.digest("api-key", "sk_2"),
        ring.digest("api-key", "sk_1 "),
    }
    assert len(others) == 6
    assert digest not in others
    assert b"sk_1" not in digest


def test_the_first_key_makes_and_all_keys_check() -> None:
    """After a rotation old digests still match; once the old key is gone they do not."""
    before = Keyring((OLD,)).digest("api-key", "sk_1")
    rotated = Keyring((NEW, OLD))
    assert rotated.digest("api-key", "sk_1") == Keyring((NEW,)).digest("api-key", "sk_1") != before
    assert rotated.digests("api-key", "sk_1") == [rotated.digest("api-key", "sk_1"), before]
    assert rotated.matches("api-key", "sk_1", before)
    assert not Keyring((NEW,)).matches("api-key", "sk_1", before)


@pytest.mark.parametrize("stored", [b"", b"x", b"\0" * 32, b"\0" * 33])
def test_what_is_no_digest_does_not_match(stored: bytes) -> None:
    """Of any length, without an error."""
    assert not Keyring((NEW,)).matches("api-key", "sk_1", stored)


@pytest.mark.parametrize("credential", ["", "é漢🙂", "\0", "\ud800", "x" * 100_000])
def test_any_text_is_digested(credential: str) -> None:
    """What a stranger sends as a key is refused for not matching, not by an error."""
    ring = Keyring((NEW,))
    assert ring.matches("session-token", credential, ring.digest("session-token", credential))
