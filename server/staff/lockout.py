"""Lock-out with back-off, counted in Postgres: by whom a sign-in is for, and by where it comes from."""

from ipaddress import IPv6Address, ip_address, ip_network
from typing import NamedTuple

from server.errors import RateLimited
from server.net.signing import Keyring
from server.repositories import sign_in_attempts
from server.repositories.pool import Conn

# Failures in a row after which one waits: a person's typing errors, and those of an office behind one address.
WHO_FREE, WHERE_FREE = 5, 20
# Seconds of the first wait and of the longest; each failure doubles it. At the longest, 96 guesses a day.
FIRST_S, MOST_S = 30.0, 900.0
# Seconds without an attempt after which the count begins anew.
FORGET_S = 24 * 3600.0


class Attempt(NamedTuple):
    """What one sign-in counts against."""

    who: bytes
    where: bytes


class Lockout:
    """Every function works in the caller's transaction. What is locked is counted no further."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def attempt(self, *, operator_id: int | None, email: str, address: str) -> Attempt:
        """An address that is nobody's counts like one that is somebody's, so that nothing can be probed."""
        # Not by what was typed where the operator is known: the same account must not have two counts.
        who = f"operator:{operator_id}" if operator_id is not None else f"email:{email.casefold()}"
        return Attempt(self._subject(who), self.place(address))

    def place(self, address: str) -> bytes:
        """Where it comes from. An IPv6 network of 64 bits is one place: its owner may use all of it."""
        return self._subject(f"address:{_network(address)}")

    async def charge(self, conn: Conn, attempt: Attempt) -> None:
        """Counts it. Raises RateLimited `locked_out`; then roll back, so that neither is counted."""
        await self._charge(conn, attempt.who, WHO_FREE)
        await self.charge_place(conn, attempt.where)

    async def charge_place(self, conn: Conn, where: bytes) -> None:
        """The same for who brings a link."""
        await self._charge(conn, where, WHERE_FREE)

    async def succeeded(self, conn: Conn, attempt: Attempt) -> None:
        """The person starts anew. The place only has this attempt back: one colleague must not clear for another."""
        await sign_in_attempts.forget(conn, subject=attempt.who)
        await sign_in_attempts.forgive(conn, subject=attempt.where)

    async def forgive_place(self, conn: Conn, where: bytes) -> None:
        await sign_in_attempts.forgive(conn, subject=where)

    async def let_in(self, conn: Conn, *, operator_id: int) -> None:
        """Somebody gave the operator a new password."""
        await sign_in_attempts.forget(conn, subject=self._subject(f"operator:{operator_id}"))

    async def _charge(self, conn: Conn, subject: bytes, free: int) -> None:
        left_s = await sign_in_attempts.charge(
            conn, subject=subject, free=free, first_s=FIRST_S, most_s=MOST_S, forget_s=FORGET_S
        )
        if left_s is not None:
            wait_ms = int(left_s * 1000) + 1
            raise RateLimited(
                f"too many failed sign-ins; try again in {-(-wait_ms // 1000)} s",
                code="locked_out",
                retry_after_ms=wait_ms,
            )

    def _subject(self, text: str) -> bytes:
        return self._keyring.digest("sign-in-attempts", text)


def _network(address: str) -> str:
    try:
        parsed = ip_address(address)
    except ValueError:
        return address  # a socket's path, or "unknown": one place
    if isinstance(parsed, IPv6Address):
        mapped = parsed.ipv4_mapped
        return str(mapped) if mapped else str(ip_network((int(parsed), 64), strict=False))
    return str(parsed)
