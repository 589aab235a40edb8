"""Signing in, and who is signed in. All instances share what is here: it lies in Postgres and nowhere else."""

import base64
from datetime import UTC, datetime

from server import ids
from server.errors import Forbidden, NotFound, Unauthorized
from server.net.signing import Keyring
from server.repositories import audit, operator_sessions, operator_tickets, operators, sign_in_attempts
from server.repositories.operator_sessions import LiveSession
from server.repositories.operators import Operator, OperatorLogin
from server.repositories.pool import Conn, Pool, reading, unit_of_work
from server.staff.authority import check_manages
from server.staff.lockout import FORGET_S, Attempt, Lockout
from server.staff.passwords import Passwords
from server.staff.signed import Signed

# Seconds a console stays signed in: a long day's work.
SESSION_S = 12 * 3600.0
# Seconds between two marks of when a session was seen, so that a read does not cost a write.
SEEN_S = 60.0
# Seconds in which a ticket opens a socket, and a link signs in.
TICKET_S = 30.0
LINK_S = 15 * 60.0
# Characters of a browser's description of itself that are kept.
USER_AGENT = 300


class Staff:
    """Says yes or no to the people of the console.

    The answers to an address that is nobody's, to a wrong password and to a disabled operator are the same, and so is
    the work behind them.
    """

    def __init__(self, pool: Pool, keyring: Keyring, passwords: Passwords | None = None) -> None:
        self._pool = pool
        self._keyring = keyring
        self._passwords = passwords or Passwords()
        self._lockout = Lockout(keyring)

    async def sign_in(
        self, email: str, password: str, *, address: str, user_agent: str | None = None
    ) -> tuple[str, Signed]:
        """The secret for the cookie, and who it is.

        Raises Unauthorized `bad_login`, RateLimited `locked_out` or `sign_in_busy`.
        """
        email = _storable(email.strip())
        async with self._passwords.turn():
            login, attempt = await self._admit(email, address)
            right = await self._passwords.matches(login.password_hash if login else None, password)
            begun = None
            if login is not None and right:
                begun = await self._begin(login, attempt, address=address, user_agent=user_agent)
            if login is None or begun is None:
                await self._record_failure(login, address, right=right)
                raise Unauthorized("no operator has this e-mail address and this password", code="bad_login")
            if self._passwords.aged(login.password_hash):
                await self._rehash(login, password)
        return begun

    async def signed(self, token: str) -> Signed:
        """Whose cookie this is. Raises Unauthorized `signed_out`."""
        async with reading(self._pool) as conn:
            for digest in self._keyring.digests("operator-session", token):
                live = await operator_sessions.find_by_token(conn, token_hash=digest)
                if live is not None:
                    if (datetime.now(UTC) - live.last_seen_at).total_seconds() > SEEN_S:
                        await operator_sessions.touch(conn, session_id=live.id)
                    return _signed(live)
        raise _signed_out()

    async def still(self, signed: Signed) -> Signed:
        """The same as they are now. Raises Unauthorized `signed_out`: signed out, revoked, disabled or expired.

        What was opened by a session and stays open asks every 3 s: revoking reaches everybody within 5 s.
        """
        async with reading(self._pool) as conn:
            live = await operator_sessions.find(conn, session_id=signed.session_id)
        if live is None:
            raise _signed_out()
        return _signed(live)

    async def sign_out(self, token: str) -> None:
        """Ends the session and the sockets it has opened. Raises as `signed`."""
        signed = await self.signed(token)
        async with unit_of_work(self._pool) as conn:
            await operator_sessions.revoke(conn, session_id=signed.session_id)
            await _record(conn, signed, "operator.sign_out", {})

    async def ticket(self, signed: Signed) -> str:
        """A secret that opens one socket for this session, within 30 s. Raises Unauthorized `signed_out`."""
        ticket = ids.operator_ticket()
        async with unit_of_work(self._pool) as conn:
            await operator_tickets.delete_expired(conn)
            made = await operator_tickets.create_socket(
                conn,
                session_id=signed.session_id,
                secret_hash=self._keyring.digest("operator-ticket", ticket),
                lifetime_s=TICKET_S,
            )
        if not made:
            raise _signed_out()
        return ticket

    async def redeem(self, ticket: str) -> Signed:
        """Whose ticket this is, once. Raises Unauthorized `bad_ticket`: unknown, used, expired or signed out since."""
        # Not one transaction: a ticket is used up whatever comes after.
        async with reading(self._pool) as conn:
            for digest in self._keyring.digests("operator-ticket", ticket):
                used = await operator_tickets.use(conn, kind="socket", secret_hash=digest)
                if used is not None and used.session_id is not None:
                    live = await operator_sessions.find(conn, session_id=used.session_id)
                    if live is not None:
                        return _signed(live)
        raise Unauthorized("this ticket is not valid; a ticket opens one socket within 30 s", code="bad_ticket")

    def csrf(self, token: str) -> str:
        """What a page sends along with each change, to show that it is ours and not only has our cookie."""
        return base64.urlsafe_b64encode(self._keyring.digest("operator-csrf", token)).rstrip(b"=").decode()

    def check_csrf(self, token: str, given: str | None) -> None:
        """Raises Forbidden `csrf`."""
        if not self._keyring.matches("operator-csrf", token, _decoded(given or "")):
            raise Forbidden("send the `csrf` of this session as `X-CSRF-Token`", code="csrf")

    async def login_link(self, operator_id: int, *, by: Operator | None = None) -> str:
        """A secret that signs an operator in once, within 15 minutes. `by` is who asks; None for the command line.

        Raises NotFound, and Forbidden `role_needed` for somebody whom `by` does not manage.
        """
        secret = ids.login_link()
        async with unit_of_work(self._pool) as conn:
            await operator_tickets.delete_expired(conn)
            if by is not None:
                operator = check_manages(by, await operators.find_to_change(conn, operator_id=operator_id))
                await _record_link(conn, operator, by)
            made = await operator_tickets.create_link(
                conn,
                operator_id=operator_id,
                secret_hash=self._keyring.digest("operator-ticket", secret),
                lifetime_s=LINK_S,
            )
            if not made:
                raise NotFound("there is no active operator of this id")
        return secret

    async def sign_in_by_link(self, secret: str, *, address: str, user_agent: str | None = None) -> tuple[str, Signed]:
        """As `sign_in`. Raises Unauthorized `bad_link`, RateLimited `locked_out`."""
        where = self._lockout.place(address)
        async with unit_of_work(self._pool) as conn:
            await self._lockout.charge_place(conn, where)
        token = ids.operator_token()
        async with unit_of_work(self._pool) as conn:
            live = await self._use_link(conn, secret, token, user_agent)
            if live is not None:
                await self._lockout.forgive_place(conn, where)
                await _record(conn, _signed(live), "operator.sign_in", {"address": address, "how": "link"})
        if live is None:
            await self._record_failure(None, address, how="link")
            raise Unauthorized("this link is not valid; a link signs in once within 15 minutes", code="bad_link")
        return token, _signed(live)

    async def _admit(self, email: str, address: str) -> tuple[OperatorLogin | None, Attempt]:
        """Counts the attempt before it is known to fail. Raises RateLimited `locked_out`; then nothing is counted."""
        async with unit_of_work(self._pool) as conn:
            login = await operators.find_login(conn, email=email)
            attempt = self._lockout.attempt(operator_id=login.id if login else None, email=email, address=address)
            await self._lockout.charge(conn, attempt)
        return login, attempt

    async def _begin(
        self, login: OperatorLogin, attempt: Attempt, *, address: str, user_agent: str | None
    ) -> tuple[str, Signed] | None:
        """None when the operator is disabled, or got another password since it was read."""
        token = ids.operator_token()
        async with unit_of_work(self._pool) as conn:
            live = await self._create(conn, login.id, token, user_agent, password_hash=login.password_hash)
            if live is None:
                return None
            await self._lockout.succeeded(conn, attempt)
            await _record(conn, _signed(live), "operator.sign_in", {"address": address, "how": "password"})
            await operator_sessions.delete_expired(conn)
            await sign_in_attempts.delete_old(conn, forget_s=FORGET_S)
        return token, _signed(live)

    async def _use_link(self, conn: Conn, secret: str, token: str, user_agent: str | None) -> LiveSession | None:
        for digest in self._keyring.digests("operator-ticket", secret):
            used = await operator_tickets.use(conn, kind="link", secret_hash=digest)
            if used is not None:
                return await self._create(conn, used.operator_id, token, user_agent, password_hash=None)
        return None

    async def _create(
        self, conn: Conn, operator_id: int, token: str, user_agent: str | None, *, password_hash: str | None
    ) -> LiveSession | None:
        return await operator_sessions.create(
            conn,
            operator_id=operator_id,
            password_hash=password_hash,
            token_hash=self._keyring.digest("operator-session", token),
            lifetime_s=SESSION_S,
            user_agent=_storable(user_agent[:USER_AGENT]) if user_agent else None,
        )

    async def _record_failure(
        self, login: OperatorLogin | None, address: str, *, right: bool = False, how: str = "password"
    ) -> None:
        # What was typed is not kept: people type passwords where an e-mail address belongs.
        reason = "unknown" if login is None else "disabled" if right else "wrong"
        async with unit_of_work(self._pool) as conn:
            await audit.record(
                conn,
                client_id=login.client_id if login else None,
                operator_id=None,
                action="operator.sign_in_failed",
                target_type="operator",
                target_id=str(login.id) if login else "unknown",
                details={"address": address, "how": how, "reason": reason},
            )

    async def _rehash(self, login: OperatorLogin, password: str) -> None:
        new = await self._passwords.hash(password)
        async with unit_of_work(self._pool) as conn:
            await operators.rehash(conn, operator_id=login.id, old=login.password_hash, new=new)


async def _record(conn: Conn, signed: Signed, action: str, details: dict[str, str]) -> None:
    """In the audit log: what an operator did to their own sessions."""
    await audit.record(
        conn,
        client_id=signed.operator.client_id,
        operator_id=signed.operator.id,
        action=action,
        target_type="operator",
        target_id=str(signed.operator.id),
        details=details,
    )


async def _record_link(conn: Conn, operator: Operator, by: Operator) -> None:
    await audit.record(
        conn,
        client_id=operator.client_id,
        operator_id=by.id,
        action="operator.link",
        target_type="operator",
        target_id=str(operator.id),
    )


def login_url(origin: str, secret: str) -> str:
    """Where a login link leads. The secret stands behind the #: no server and no log sees it on the way."""
    return f"{origin}/admin/link#{secret}"


def _signed(live: LiveSession) -> Signed:
    return Signed(operator=live.operator, session_id=live.id, expires_at=live.expires_at)


def _signed_out() -> Unauthorized:
    return Unauthorized("sign in first", code="signed_out")


def _decoded(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text.encode("ascii", "replace") + b"==")
    except ValueError:
        return b""


def _storable(text: str) -> str:
    """Postgres takes no NUL and no half of a surrogate pair; no address of an operator has one."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
