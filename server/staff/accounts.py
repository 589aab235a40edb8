"""The staff itself: who is made, gets another password, is disabled. Every change stands in the audit log."""

import re

import msgspec

from server import ids
from server.errors import Conflict, Invalid, NotFound
from server.net.signing import Keyring
from server.protocol.admin.staff import OperatorEdit
from server.repositories import audit, changes, operator_sessions, operator_tickets, operators
from server.repositories.operators import Operator
from server.repositories.pool import Conn, Pool, reading, unit_of_work
from server.staff import passwords
from server.staff.authority import check_manages, check_may_make
from server.staff.lockout import Lockout
from server.staff.passwords import Passwords
from server.staff.signed import Signed

# One @ between two parts without spaces: whether mail arrives is for the mail to say.
_EMAIL = re.compile(r"[^\s@\x00-\x1f\x7f]{1,64}@[^\s@\x00-\x1f\x7f]{1,255}")
_NAME_LONGEST = 100
# What changes an operator's version.
_EDITS = ("operator.create", "operator.update", "operator.disable", "operator.enable")


class Accounts:
    """`by` is the operator who does it; None for the command line."""

    def __init__(self, pool: Pool, keyring: Keyring, passwords: Passwords | None = None) -> None:
        self._pool = pool
        self._passwords = passwords or Passwords()
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

    async def edit(self, operator_id: int, given: OperatorEdit, *, by: Operator) -> Operator:
        """As they are now. Another role, client or status signs them out everywhere.

        Raises NotFound, Forbidden `role_needed`, Invalid with the field, Conflict `changed_meanwhile` when somebody has
        edited them since, `own_account` for one's own role, client or status, `last_owner`.
        """
        name = _checked_name(given.name)
        async with unit_of_work(self._pool) as conn:
            # Before the row itself, in all that may take an owner away: two who do wait in one order.
            owners = await operators.lock_owners(conn)
            before = check_manages(by, await operators.find_to_change(conn, operator_id=operator_id))
            if before.version != given.version:
                raise await _changed_meanwhile(conn, before)
            moved = (given.role, given.client_id, given.status) != (before.role, before.client_id, before.status)
            if moved and operator_id == by.id:
                raise Conflict("your own role, client and status are for somebody else to change", code="own_account")
            check_may_make(by, role=given.role, client_id=given.client_id)
            if owners == [operator_id] and (given.role, given.status) != ("owner", "active"):
                raise _last_owner()
            after = await operators.change(
                conn, operator_id=operator_id, name=name, role=given.role, serves=given.client_id, status=given.status
            )
            if after is None:
                raise RuntimeError("an operator went though they were locked")
            if moved:
                await _sign_out_everywhere(conn, after)
            await _record(conn, after, "operator.update", by.id, _changes(before, after))
        return after

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
            await self._set_password(conn, operator, hashed, by)
        return operator

    async def new_password(self, operator_id: int, *, by: Operator) -> str:
        """A password that nobody chose, for somebody else; as `reset_password`.

        Raises NotFound, Forbidden `role_needed`, Conflict `own_account`.
        """
        if operator_id == by.id:
            raise Conflict("change your own password with the one that you have", code="own_account")
        async with reading(self._pool) as conn:
            check_manages(by, await operators.find(conn, operator_id=operator_id))
        password = ids.password()
        async with self._passwords.turn():
            hashed = await self._passwords.hash(password)
        async with unit_of_work(self._pool) as conn:
            operator = check_manages(by, await operators.find_to_change(conn, operator_id=operator_id))
            await self._set_password(conn, operator, hashed, by.id)
        return password

    async def change_password(self, signed: Signed, *, current: str, new: str, address: str) -> None:
        """One's own. Every other session of theirs ends.

        Raises Invalid `current` (`wrong_password`) and `new`, RateLimited `locked_out` after some wrong ones: who
        finds a console open must not guess at its leisure.
        """
        operator = signed.operator
        passwords.check(new, email=operator.email, field="new")
        attempt = self._lockout.attempt(operator_id=operator.id, email=operator.email, address=address)
        async with self._passwords.turn():
            async with unit_of_work(self._pool) as conn:
                await self._lockout.charge(conn, attempt)
                stored = await operators.password_hash(conn, operator_id=operator.id)
            if not await self._passwords.matches(stored, current):
                raise Invalid("`current` is not your password", code="wrong_password", field="current")
            hashed = await self._passwords.hash(new)
        async with unit_of_work(self._pool) as conn:
            await operators.set_password(conn, operator_id=operator.id, password_hash=hashed)
            await operator_sessions.revoke_others(conn, operator_id=operator.id, session_id=signed.session_id)
            await operator_tickets.delete_all(conn, operator_id=operator.id)
            await self._lockout.succeeded(conn, attempt)
            await _record(conn, operator, "operator.change_password", operator.id, {})

    async def disable(self, email: str, *, by: int | None = None) -> Operator:
        """Signs them out everywhere and lets them in no more.

        Raises NotFound, Conflict `last_owner`: somebody must be able to run the installation.
        """
        operator = await self._find(email)
        async with unit_of_work(self._pool) as conn:
            if operator.role == "owner" and await operators.lock_owners(conn) == [operator.id]:
                raise _last_owner()
            await operators.set_status(conn, operator_id=operator.id, status="disabled")
            await _sign_out_everywhere(conn, operator)
            await _record(conn, operator, "operator.disable", by, {})
        return msgspec.structs.replace(operator, status="disabled", version=operator.version + 1)

    async def enable(self, email: str, *, by: int | None = None) -> Operator:
        """Raises NotFound."""
        operator = await self._find(email)
        async with unit_of_work(self._pool) as conn:
            await operators.set_status(conn, operator_id=operator.id, status="active")
            await _record(conn, operator, "operator.enable", by, {})
        return msgspec.structs.replace(operator, status="active", version=operator.version + 1)

    async def _set_password(self, conn: Conn, operator: Operator, hashed: str, by: int | None) -> None:
        await operators.set_password(conn, operator_id=operator.id, password_hash=hashed)
        await _sign_out_everywhere(conn, operator)
        await self._lockout.let_in(conn, operator_id=operator.id)
        await _record(conn, operator, "operator.reset_password", by, {})

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


def _last_owner() -> Conflict:
    return Conflict("this is the only active owner; make another one first", code="last_owner")


def _changes(before: Operator, after: Operator) -> dict[str, object]:
    """For the audit log: the fields that changed, and who they may be now."""
    fields = [name for name in ("name", "role", "client_id", "status") if getattr(before, name) != getattr(after, name)]
    return {"fields": fields, "role": after.role, "status": after.status, "version": after.version}


async def _changed_meanwhile(conn: Conn, operator: Operator) -> Conflict:
    last = await changes.find_last(
        conn, client_id=operator.client_id, target_type="operator", target_id=str(operator.id), actions=_EDITS
    )
    return changes.changed_meanwhile("this operator", last)


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


async def _record(conn: Conn, operator: Operator, action: str, by: int | None, details: dict[str, object]) -> None:
    await audit.record(
        conn,
        client_id=operator.client_id,
        operator_id=by,
        action=action,
        target_type="operator",
        target_id=str(operator.id),
        details=details,
    )
