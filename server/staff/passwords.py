"""Passwords: argon2id, hashed off the event loop, a few at a time."""

import asyncio
import unicodedata
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError

from server import log
from server.errors import Invalid, RateLimited

logger = log.get("staff")

# Characters. Shorter ones are guessed; longer ones are no passwords.
SHORTEST, LONGEST = 12, 1024
# Each takes 64 MiB (RFC 9106's second choice, argon2-cffi's own defaults) and about 50 ms of four cores.
AT_ONCE = 2
# Those that wait for their turn: some seconds' worth. Past it people are told to come again.
WAITING = 50
BUSY_MS = 2_000


def check(password: str, *, email: str, field: str = "password") -> None:
    """Raises Invalid with the field: too short, too long, or the operator's own address."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise Invalid(f"`{field}` takes {SHORTEST} to {LONGEST} characters", field=field)
    if password.casefold() == email.casefold():
        raise Invalid(f"`{field}` may not be the e-mail address", field=field)


class Passwords:
    """Hashes and compares. The same letters in another Unicode form are the same password."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher()
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Room for one piece of work. Raises RateLimited `sign_in_busy` when too many wait already."""
        if self._waiting >= WAITING:
            raise RateLimited(
                "too many people sign in at this moment; try again in a moment",
                code="sign_in_busy",
                retry_after_ms=BUSY_MS,
            )
        self._waiting += 1
        try:
            async with self._slots:
                yield
        finally:
            self._waiting -= 1

    async def hash(self, password: str) -> str:
        """In argon2's own text form, salt and parameters included."""
        return await asyncio.to_thread(self._hasher.hash, _normal(password))

    async def matches(self, stored: str | None, password: str) -> bool:
        """Whether `stored` is this password's hash. Without one the same work is done, and it is not."""
        if stored is None:
            await self.hash(password)
            return False
        return await asyncio.to_thread(self._matches, stored, _normal(password))

    def aged(self, stored: str) -> bool:
        """Whether it was hashed with other parameters than today's."""
        return self._hasher.check_needs_rehash(stored)

    def _matches(self, stored: str, password: bytes) -> bool:
        try:
            return self._hasher.verify(stored, password)
        except VerifyMismatchError:
            return False
        except InvalidHashError:
            logger.exception("a stored password hash is none")
            return False


def _normal(password: str) -> bytes:
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")
