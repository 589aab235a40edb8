"""The staff itself: who is made, gets another password, is disabled. Every change stands in the audit log."""

import re

import msgspec

from server import ids
from server.errors import Conflict, Invalid, NotFound
from server.net.signing import Keyring
from server.repositories import audit, operator_sessions, operator_tickets, operators
from server.repositories.operators import Operator
from server.repositories.pool import Conn, Pool, reading, unit_of_work
from server.staff import passwords
from server.staff.lockout import Lockout
from server.staff.passwords import Passwords

# One @ between two parts without spaces: whether mail arrives is for the mail to say.
_EMAIL = re.compile(r"[^\s@\x00-\x1f\x7f]{1,64}@[^\s@\x00-\x1f\x7f]{1,255}")
_NAME_LONGEST = 100


class Accounts:
    """`by` is the operator who does it; None for the command line."""

    def __init__(self, pool: Pool, keyring: Keyring) -> None:
        self._pool = pool
        self._passwords = Passwords()
        self._lockout = Lockout(keyring)

    async def create(
        self, *, email: str, name: str, role: str, client_id: int | None, password: str, by: int | None = None
    ) -> Operator:
        """Raises Invalid `email`, `name`, `password`, `role`, `client_id`; Conflict `email_taken`; NotFound."""
        email, name = _checked_email(email), _checked_name(name)
        hashed = await self._hash(password, email)
        async with unit_of_work(self._pool) as conn:
            made = await operators.create(
                conn, client_id=client_id, email=email, name=name, password_hash=hashed, role=role
            )
            await _record(conn, made, "operator.create", by, {"role": role})
        return made

    async def list_all(self) -> list[Operator]:
        """Oldest first."""
        async with reading(self._pool) as conn:
            return await operators.list_all(conn)

    async def ensure_owner(self, email: str) -> None:
        """Makes an owner where there is none yet, with a password that nobody knows: a login link lets them in."""
        if not any(each.role == "owner" for each in await self.list_all()):
            await self.create(email=email, name="Owner", role="owner", client_id=None, password=ids.password())

    async def reset_password(self, email: str, password: str, *, by: int | None = None) -> Operator:
        """Signs them out everywhere, ends a lock-out. Raises NotFound, Invalid `password`."""
        operator = await self._find(email)
        hashed = await self._hash(password, operator.email)
        async with unit_of_work(self._pool) as conn:
            await operators.set_password(conn, operator_id=operator.id, password_hash=hashed)
            await _sign_out_everywhere(conn, operator)
            await self._lockout.let_in(conn, operator_id=operator.id)
            await _record(conn, operator, "operator.reset_password", by, {})
        return operator

    async def disable(self, email: str, *, by: int | None = None) -> Operator:
        """Signs them out everywhere and lets them in no more.

        Raises NotFound, Conflict `last_owner`: somebody must be able to run the installation.
        """
        operator = await self._find(email)
        async with unit_of_work(self._pool) as conn:
            if operator.role == "owner" and await operators.lock_owners(conn) == [operator.id]:
                raise Conflict("this is the only active owner; make another one first", code="last_owner")
            await operators.set_status(conn, operator_id=operator.id, status="disabled")
            await _sign_out_everywhere(conn, operator)
            await _record(conn, operator, "operator.disable", by, {})
        return msgspec.structs.replace(operator, status="disabled")

    async def enable(self, email: str, *, by: int | None = None) -> Operator:
        """Raises NotFound."""
        operator = await self._find(email)
        async with unit_of_work(self._pool) as conn:
            await operators.set_status(conn, operator_id=operator.id, status="active")
            await _record(conn, operator, "operator.enable", by, {})
        return msgspec.structs.replace(operator, status="active")

    async def _find(self, email: str) -> Operator:
        async with reading(self._pool) as conn:
            operator = await operators.find_by_email(conn, email=_checked_email(email))
        if operator is None:
            raise NotFound(f"there is no operator {email!r}; `frontdesk operator list` shows them", field="email")
        return operator

    async def _hash(self, password: str, email: str) -> str:
        passwords.check(password, email=email)
        async with self._passwords.turn():
            return await self._passwords.hash(password)


def _checked_email(email: str) -> str:
    email = email.strip()
    if _EMAIL.fullmatch(email) is None or not email.isprintable():
        raise Invalid(f"`email` {email!r} is not an e-mail address; it may be such as ann@example.com", field="email")
    return email


def _checked_name(name: str) -> str:
    name = name.strip()
    if not 1 <= len(name) <= _NAME_LONGEST or not name.isprintable():
        raise Invalid(f"`name` takes 1 to {_NAME_LONGEST} characters in one line", field="name")
    return name


async def _sign_out_everywhere(conn: Conn, operator: Operator) -> None:
    """After the change itself, which locks the operator's row: whoever signs in meanwhile waits, and then sees it."""
    await operator_sessions.revoke_all(conn, operator_id=operator.id)
    await operator_tickets.delete_all(conn, operator_id=operator.id)


async def _record(conn: Conn, operator: Operator, action: str, by: int | None, details: dict[str, str]) -> None:
    await audit.record(
        conn,
        client_id=operator.client_id,
        operator_id=by,
        action=action,
        target_type="operator",
        target_id=str(operator.id),
        details=details,
    )
