"""The staff: passwords, sessions, tickets, links, lock-out, and the accounts themselves, on a real Postgres."""

import asyncio
import time
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from typing import Any

import argon2
import msgspec
import pytest

from server import ids
from server.errors import Conflict, Forbidden, Invalid, NotFound, RateLimited, RequestError, Unauthorized
from server.net.signing import Keyring
from server.protocol.admin.staff import OperatorEdit
from server.repositories.operators import Operator
from server.services import Services, open_services
from server.settings import Settings
from server.staff import Signed, Staff, lockout, passwords, serves
from server.staff.accounts import Accounts
from server.staff.authority import manages, sees
from tests.staffing import PASSWORD, hire
from tests.support import SECRET_KEYS, Shop, new_shop, rows

HERE = "192.0.2.7"
WRONG = "incorrect horse battery"
NASTY = ["", " ", "\0", "a\0b", "\ud800", "é漢🙂", "' or '1'='1", "x" * 10_000]


@pytest.fixture
async def owner(services: Services) -> Operator:
    """Who runs the installation."""
    return await hire(services.pool, services.keyring, email="Owner@desk.example")


@pytest.fixture
def accounts(services: Services) -> Accounts:
    """As the command line has them."""
    return Accounts(services.pool, services.keyring)


async def enter(services: Services, operator: Operator, password: str = PASSWORD, **more: Any) -> tuple[str, Signed]:
    """Signs in."""
    return await services.staff.sign_in(operator.email, password, **{"address": HERE, **more})


async def refusal(work: Awaitable[object]) -> tuple[type[RequestError], str, str]:
    """What somebody is told who is refused."""
    with pytest.raises(RequestError) as caught:
        await work
    return type(caught.value), caught.value.code, caught.value.message


async def code(work: Awaitable[object]) -> str:
    """The code of the refusal."""
    return (await refusal(work))[1]


async def audited(services: Services) -> list[tuple[Any, ...]]:
    """Action, who did it, whom it is about, details: oldest first."""
    return await rows(services, "select action, operator_id, target_id, details from audit_log order by id")


async def age_locks(services: Services, seconds: float) -> None:
    """As if so many seconds had passed."""
    await rows(
        services,
        "update sign_in_attempts set last_at = last_at - make_interval(secs => %s), "
        "locked_until = locked_until - make_interval(secs => %s)",
        seconds,
        seconds,
    )


# --- signing in and out


async def test_in_and_out(services: Services, owner: Operator) -> None:
    """The e-mail address in any case of its letters; the token is the session until somebody signs out."""
    token, signed = await services.staff.sign_in(" oWNER@Desk.example ", PASSWORD, address=HERE, user_agent="Firefox")
    assert token.startswith("os_")
    assert signed.operator == owner
    assert timedelta(hours=11, minutes=59) < signed.expires_at - datetime.now(UTC) <= timedelta(hours=12)
    assert await services.staff.signed(token) == signed
    assert await services.staff.still(signed) == signed
    other, _ = await enter(services, owner)
    await services.staff.sign_out(token)
    assert await code(services.staff.signed(token)) == "signed_out"
    assert await code(services.staff.still(signed)) == "signed_out"
    assert await code(services.staff.sign_out(token)) == "signed_out"
    assert (await services.staff.signed(other)).operator == owner
    assert [(action, who, whom) for action, who, whom, _ in await audited(services)] == [
        ("operator.create", None, str(owner.id)),
        ("operator.sign_in", owner.id, str(owner.id)),
        ("operator.sign_in", owner.id, str(owner.id)),
        ("operator.sign_out", owner.id, str(owner.id)),
    ]


async def test_no_secret_is_in_the_database(services: Services, owner: Operator) -> None:
    """Of a password, a session, a ticket and a link only digests."""
    token, signed = await enter(services, owner)
    secrets = [PASSWORD, token, await services.staff.ticket(signed), await services.staff.login_link(owner.id)]
    tables = ("operators", "operator_sessions", "operator_tickets", "sign_in_attempts", "audit_log")
    stored = "".join([str(await rows(services, f"select t::text from {table} t")) for table in tables])
    assert "argon2id" in stored and HERE in stored
    assert not [secret for secret in secrets if secret in stored or secret[3:] in stored]


async def test_tokens_that_are_none(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same answer for each, from whatever is asked."""
    monkeypatch.setattr(lockout, "WHERE_FREE", 100)
    for token in (*NASTY, ids.operator_token(), ids.session_token(), ids.login_link()):
        out = (Unauthorized, "signed_out", "sign in first")
        assert await refusal(services.staff.signed(token)) == out
        assert await code(services.staff.redeem(token)) == "bad_ticket"
        assert await code(services.staff.sign_in_by_link(token, address=HERE)) == "bad_link"


async def test_the_refusals_are_the_same(services: Services, accounts: Accounts, owner: Operator) -> None:
    """Nobody's address, a wrong password, a disabled operator: one answer. The audit log knows better."""
    gone = await hire(services.pool, services.keyring)
    await accounts.disable(gone.email)
    answers = [
        await refusal(services.staff.sign_in("nobody@desk.example", PASSWORD, address=HERE)),
        await refusal(enter(services, owner, WRONG)),
        await refusal(enter(services, gone)),
        *[await refusal(services.staff.sign_in(email, PASSWORD, address=HERE)) for email in NASTY],
    ]
    assert set(answers) == {
        (Unauthorized, "bad_login", "no operator has this e-mail address and this password"),
    }
    failures = [row for row in await audited(services) if row[0] == "operator.sign_in_failed"]
    told = {"address": HERE, "how": "password"}
    assert failures[:3] == [
        ("operator.sign_in_failed", None, "unknown", {**told, "reason": "unknown"}),
        ("operator.sign_in_failed", None, str(owner.id), {**told, "reason": "wrong"}),
        ("operator.sign_in_failed", None, str(gone.id), {**told, "reason": "disabled"}),
    ]
    assert len(failures) == len(answers)


async def test_passwords_that_are_wrong(services: Services, owner: Operator) -> None:
    """Any text at all, without an error of another kind."""
    for password in (*NASTY, PASSWORD + " ", PASSWORD.upper(), PASSWORD[:-1]):
        assert await code(enter(services, owner, password)) == "bad_login"
        await rows(services, "delete from sign_in_attempts")


async def test_nobodys_address_costs_the_same(services: Services, owner: Operator) -> None:
    """In CPU time of the process: the work is argon2's either way."""

    async def cost_of(email: str) -> float:
        began = time.process_time()
        assert await code(services.staff.sign_in(email, WRONG, address=HERE)) == "bad_login"
        return time.process_time() - began

    somebody = min([await cost_of(owner.email) for _ in range(4)])
    nobody = min([await cost_of(f"nobody{number}@desk.example") for number in range(4)])
    assert somebody > 0.02, "argon2 with 64 MiB takes more"
    assert 0.5 < nobody / somebody < 2


async def test_the_same_letters_in_another_form(services: Services, accounts: Accounts, owner: Operator) -> None:
    """A keyboard that composes and one that does not type the same password."""
    await accounts.reset_password(owner.email, "crème brûlée, 12€ ﬁn")
    await enter(services, owner, "cre\u0300me bru\u0302le\u0301e, 12€ fin")


async def test_an_old_hash_is_made_anew(services: Services, owner: Operator) -> None:
    """With its first use; the password stays."""
    old = argon2.PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash(PASSWORD)
    await rows(services, "update operators set password_hash = %s where id = %s", old, owner.id)
    await enter(services, owner)
    [(new,)] = await rows(services, "select password_hash from operators where id = %s", owner.id)
    assert new != old and argon2.extract_parameters(new) == argon2.profiles.RFC_9106_LOW_MEMORY
    await enter(services, owner)


async def test_a_hash_that_is_none(services: Services, owner: Operator) -> None:
    """Nobody gets in by it."""
    await rows(services, "update operators set password_hash = 'x' where id = %s", owner.id)
    assert await code(enter(services, owner, "x")) == "bad_login"


async def test_a_session_ends_in_time(services: Services, owner: Operator) -> None:
    """By the database's clock, for whoever asks about it."""
    token, signed = await enter(services, owner)
    await rows(services, "update operator_sessions set expires_at = now()")
    assert await code(services.staff.signed(token)) == "signed_out"
    assert await code(services.staff.still(signed)) == "signed_out"
    assert await code(services.staff.ticket(signed)) == "signed_out"
    await enter(services, owner)
    assert await rows(services, "select count(*) from operator_sessions") == [(1,)], "the expired one went"


async def test_when_a_session_was_seen(services: Services, owner: Operator) -> None:
    """Marked once a minute, so that a read does not cost a write."""
    token, _ = await enter(services, owner)

    async def seen() -> datetime:
        await services.staff.signed(token)
        [(at,)] = await rows(services, "select last_seen_at from operator_sessions")
        assert isinstance(at, datetime)
        return at

    first = await seen()
    assert await seen() == first
    await rows(services, "update operator_sessions set last_seen_at = now() - interval '61 s'")
    assert await seen() > first


async def test_who_they_are_now(services: Services, owner: Operator, shop: Shop) -> None:
    """Another role reaches a session that is open."""
    token, signed = await enter(services, owner)
    await rows(services, "update operators set role = 'operator', client_id = %s where id = %s", shop.id, owner.id)
    for now in (await services.staff.still(signed), await services.staff.signed(token)):
        assert (now.operator.role, now.operator.client_id) == ("operator", shop.id)


@pytest.mark.parametrize(
    ("role", "own", "others"), [("owner", True, True), ("admin", True, True), ("operator", True, False)]
)
async def test_whom_they_serve(services: Services, shop: Shop, *, role: str, own: bool, others: bool) -> None:
    """Those of no client serve all of them, those of one client that one alone."""
    operator = await hire(services.pool, services.keyring, role=role, client_id=shop.id if role == "operator" else None)
    assert (serves(operator, shop.id), serves(operator, shop.id + 1)) == (own, others)


async def test_an_admin_of_one_client(services: Services, shop: Shop) -> None:
    """Serves that client alone."""
    operator = await hire(services.pool, services.keyring, role="admin", client_id=shop.id)
    assert (serves(operator, shop.id), serves(operator, shop.id + 1)) == (True, False)


# --- keys


async def test_after_a_rotation_of_keys(services: Services, owner: Operator) -> None:
    """Sessions, tickets, links and CSRF tokens of the old key work as long as it is listed."""
    token, signed = await enter(services, owner)
    tickets = [await services.staff.ticket(signed) for _ in range(2)]
    links = [await services.staff.login_link(owner.id) for _ in range(2)]
    csrf = services.staff.csrf(token)
    new = "f" * 32
    rotated, without = (Staff(services.pool, Keyring(keys)) for keys in ((new, *SECRET_KEYS), (new,)))
    assert await code(without.signed(token)) == "signed_out"
    assert await code(without.redeem(tickets[0])) == "bad_ticket"
    assert await code(without.sign_in_by_link(links[0], address=HERE)) == "bad_link"
    with pytest.raises(Forbidden):
        without.check_csrf(token, csrf)
    assert await rotated.signed(token) == await rotated.redeem(tickets[0]) == signed
    assert (await rotated.sign_in_by_link(links[0], address=HERE))[1].operator == owner
    rotated.check_csrf(token, csrf)
    assert rotated.csrf(token) == without.csrf(token) != csrf


async def test_csrf(services: Services, owner: Operator) -> None:
    """One a session; of another session, and what is none, refused."""
    (one, _), (other, _) = await enter(services, owner), await enter(services, owner)
    services.staff.check_csrf(one, services.staff.csrf(one))
    right = services.staff.csrf(one)
    assert one not in right and len(right) == 43
    for wrong in (None, *NASTY, services.staff.csrf(other), right[:-4], one):
        with pytest.raises(Forbidden) as caught:
            services.staff.check_csrf(one, wrong)
        assert caught.value.code == "csrf"


# --- lock-out


async def test_a_lock_out_on_all_instances(services: Services, settings: Settings, owner: Operator) -> None:
    """Five failures, wherever they were; then the right password waits as well, and who is somebody else does not."""
    async with open_services(settings) as other:
        for number in range(lockout.WHO_FREE):
            assert await code(enter((services, other)[number % 2], owner, WRONG, address=f"192.0.2.{number}")) == (
                "bad_login"
            )
        for each in (services, other):
            with pytest.raises(RateLimited) as caught:
                await enter(each, owner)
            assert caught.value.code == "locked_out"
            assert caught.value.retry_after_ms is not None and 15_000 < caught.value.retry_after_ms <= 30_001
        await enter(other, await hire(services.pool, services.keyring))
        await age_locks(services, 31)
        token, _ = await enter(other, owner)
        assert (await services.staff.signed(token)).operator == owner
        for _ in range(lockout.WHO_FREE - 1):
            assert await code(enter(services, owner, WRONG)) == "bad_login"
        await enter(services, owner)


async def test_each_further_failure_doubles_the_wait(services: Services, owner: Operator) -> None:
    """30 s, 60 s, 120 s; nothing is hashed or counted while it lasts."""
    for _ in range(lockout.WHO_FREE):
        await code(enter(services, owner, WRONG))
    for wait_s in (30, 60, 120):
        for _ in range(3):
            with pytest.raises(RateLimited) as caught:
                await enter(services, owner, WRONG)
            assert caught.value.retry_after_ms is not None
            assert wait_s * 0.6 < caught.value.retry_after_ms / 1000 <= wait_s + 0.001
        await age_locks(services, wait_s)
        assert await code(enter(services, owner, WRONG)) == "bad_login"
    failures = [row for row in await audited(services) if row[0] == "operator.sign_in_failed"]
    assert len(failures) == lockout.WHO_FREE + 3


async def test_nobodys_address_is_locked_like_somebodys(services: Services) -> None:
    """So that a lock-out does not tell who works here; the case of letters makes no second count."""
    for number in range(lockout.WHO_FREE):
        email = "Nobody@desk.example" if number % 2 else "nobody@DESK.example"
        assert await code(services.staff.sign_in(email, WRONG, address=HERE)) == "bad_login"
    assert await code(services.staff.sign_in("nobody@desk.example", WRONG, address=HERE)) == "locked_out"


async def test_many_guesses_at_the_same_moment(services: Services, settings: Settings, owner: Operator) -> None:
    """On two instances: as many are compared as would be one after the other."""
    async with open_services(settings) as other:
        codes = await asyncio.gather(
            *(code(enter((services, other)[number % 2], owner, WRONG)) for number in range(12))
        )
    assert codes.count("bad_login") == lockout.WHO_FREE
    assert codes.count("locked_out") == 12 - lockout.WHO_FREE


@pytest.mark.parametrize(
    ("addresses", "same"),
    [
        (("192.0.2.1", "192.0.2.1", "::ffff:192.0.2.1"), True),
        (("2001:db8::1", "2001:db8::ffff:1", "2001:db8:0:0:1::"), True),
        (("2001:db8::1", "2001:db8:0:1::1", "2001:db8:0:2::1"), False),
        (("unknown", "unknown", "unknown"), True),
    ],
)
async def test_a_place_is_locked(
    services: Services, owner: Operator, monkeypatch: pytest.MonkeyPatch, *, addresses: tuple[str, ...], same: bool
) -> None:
    """Whoever tries one password on many people from one address, or one IPv6 network. A link is no way around."""
    monkeypatch.setattr(lockout, "WHERE_FREE", 3)
    for number, address in enumerate(addresses):
        work = services.staff.sign_in(f"nobody{number}@desk.example", WRONG, address=address)
        assert await code(work) == "bad_login"
    link = await services.staff.login_link(owner.id)
    if same:
        assert await code(enter(services, owner, address=addresses[0])) == "locked_out"
        assert await code(services.staff.sign_in_by_link(link, address=addresses[0])) == "locked_out"
        await enter(services, owner, address="198.51.100.1")
    else:
        await enter(services, owner, address=addresses[0])


async def test_a_colleague_does_not_clear_a_place(
    services: Services, owner: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Signing in oneself between two guesses gives no third guess."""
    monkeypatch.setattr(lockout, "WHERE_FREE", 3)
    for number in range(3):
        if number < 2:
            await enter(services, owner)
        assert await code(services.staff.sign_in(f"nobody{number}@desk.example", WRONG, address=HERE)) == "bad_login"
    assert await code(enter(services, owner)) == "locked_out"


async def test_too_many_at_once(services: Services, owner: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes 64 MiB: what waits is bounded, and who is over it is told and not counted as a failure."""
    monkeypatch.setattr(passwords, "WAITING", 2)
    results = await asyncio.gather(*(enter(services, owner) for _ in range(4)), return_exceptions=True)
    refused = [each for each in results if isinstance(each, RateLimited)]
    assert [each.code for each in refused] == ["sign_in_busy"] * 2
    assert await rows(services, "select count(*) from operator_sessions") == [(2,)]
    await enter(services, owner)


# --- tickets


async def test_a_ticket_opens_once(services: Services, settings: Settings, owner: Operator) -> None:
    """On any instance, for the session that asked."""
    _, signed = await enter(services, owner)
    ticket = await services.staff.ticket(signed)
    async with open_services(settings) as other:
        assert await other.staff.redeem(ticket) == signed
        for each in (services, other):
            assert await code(each.staff.redeem(ticket)) == "bad_ticket"


async def test_two_redeem_at_the_same_moment(services: Services, settings: Settings, owner: Operator) -> None:
    """On two instances: one of them wins, ten times out of ten."""
    _, signed = await enter(services, owner)
    async with open_services(settings) as other:
        for _ in range(10):
            ticket = await services.staff.ticket(signed)
            results = await asyncio.gather(
                *(each.staff.redeem(ticket) for each in (services, other) * 2), return_exceptions=True
            )
            assert [each for each in results if isinstance(each, Signed)] == [signed]
            lost = [each.code for each in results if isinstance(each, Unauthorized)]
            assert lost == ["bad_ticket"] * 3


async def test_a_ticket_ends(services: Services, accounts: Accounts, owner: Operator) -> None:
    """In 30 s, and with the session it was made for; a link is no ticket."""
    assert await code(services.staff.redeem(await services.staff.login_link(owner.id))) == "bad_ticket"
    token, signed = await enter(services, owner)
    ticket = await services.staff.ticket(signed)
    [(left,)] = await rows(
        services, "select extract(epoch from expires_at - now())::float from operator_tickets where kind = 'socket'"
    )
    assert 15 < left <= 30
    await rows(services, "update operator_tickets set expires_at = now()")
    assert await code(services.staff.redeem(ticket)) == "bad_ticket"
    ticket = await services.staff.ticket(signed)
    assert await rows(services, "select count(*) from operator_tickets") == [(1,)], "the expired ones went"
    await services.staff.sign_out(token)
    assert await code(services.staff.redeem(ticket)) == "bad_ticket"
    assert await code(services.staff.ticket(signed)) == "signed_out"
    _, signed = await enter(services, owner)
    ticket = await services.staff.ticket(signed)
    await hire(services.pool, services.keyring)
    await accounts.disable(owner.email)
    assert await code(services.staff.redeem(ticket)) == "bad_ticket"


# --- links


async def test_a_link_signs_in_once(services: Services, settings: Settings, owner: Operator) -> None:
    """On any instance, four at the same moment included; it needs no password and ends no lock-out."""
    link = await services.staff.login_link(owner.id)
    async with open_services(settings) as other:
        results = await asyncio.gather(
            *(each.staff.sign_in_by_link(link, address=HERE) for each in (services, other) * 2),
            return_exceptions=True,
        )
        [(token, signed)] = [each for each in results if isinstance(each, tuple)]
        assert [each.code for each in results if isinstance(each, RequestError)] == ["bad_link"] * 3
        assert await other.staff.signed(token) == signed
    assert signed.operator == owner
    assert [row for row in await audited(services) if row[0] == "operator.sign_in"] == [
        ("operator.sign_in", owner.id, str(owner.id), {"address": HERE, "how": "link"})
    ]
    failures = [row for row in await audited(services) if row[0] == "operator.sign_in_failed"]
    assert (
        failures
        == [("operator.sign_in_failed", None, "unknown", {"address": HERE, "how": "link", "reason": "unknown"})] * 3
    )


async def test_a_link_ends(services: Services, accounts: Accounts, owner: Operator) -> None:
    """In 15 minutes, with another password, with the operator; a ticket is no link."""
    _, signed = await enter(services, owner)
    assert await code(services.staff.sign_in_by_link(await services.staff.ticket(signed), address=HERE)) == "bad_link"
    link = await services.staff.login_link(owner.id)
    [(left,)] = await rows(
        services, "select extract(epoch from expires_at - now())::float from operator_tickets where kind = 'link'"
    )
    assert 14 * 60 < left <= 15 * 60
    await rows(services, "update operator_tickets set expires_at = now()")
    assert await code(services.staff.sign_in_by_link(link, address=HERE)) == "bad_link"
    link = await services.staff.login_link(owner.id)
    await accounts.reset_password(owner.email, PASSWORD)
    assert await code(services.staff.sign_in_by_link(link, address=HERE)) == "bad_link"
    link = await services.staff.login_link(owner.id)
    await hire(services.pool, services.keyring)
    await accounts.disable(owner.email)
    assert await code(services.staff.sign_in_by_link(link, address=HERE)) == "bad_link"
    assert await refusal(services.staff.login_link(owner.id)) == await refusal(services.staff.login_link(0))


# --- accounts


async def test_a_new_password(services: Services, accounts: Accounts, owner: Operator) -> None:
    """The old one works no more, who is signed in is out, a lock-out is over."""
    token, signed = await enter(services, owner)
    for _ in range(lockout.WHO_FREE):
        await code(enter(services, owner, WRONG))
    assert await code(enter(services, owner)) == "locked_out"
    await accounts.reset_password("OWNER@desk.example", "another horse battery")
    assert await code(services.staff.signed(token)) == "signed_out"
    assert await code(services.staff.still(signed)) == "signed_out"
    assert await code(enter(services, owner)) == "bad_login"
    await enter(services, owner, "another horse battery")


async def test_disabled_and_back(services: Services, accounts: Accounts, shop: Shop) -> None:
    """Out at once, in no more; with the same password again once that is undone, but not with the old session."""
    operator = await hire(services.pool, services.keyring, role="operator", client_id=shop.id)
    token, signed = await enter(services, operator)
    assert (await accounts.disable(operator.email)).status == "disabled"
    assert await code(services.staff.still(signed)) == "signed_out"
    assert await code(enter(services, operator)) == "bad_login"
    # Each is an edit: whoever had them open in the console is told.
    assert await accounts.enable(operator.email) == msgspec.structs.replace(operator, version=operator.version + 2)
    assert await code(services.staff.signed(token)) == "signed_out"
    await enter(services, operator)
    actions = await rows(services, "select action from audit_log where client_id = %s order by id", shop.id)
    assert [action for (action,) in actions] == [
        "operator.create",
        "operator.sign_in",
        "operator.disable",
        "operator.sign_in_failed",
        "operator.enable",
        "operator.sign_in",
    ]


async def test_somebody_must_own(services: Services, accounts: Accounts, owner: Operator) -> None:
    """The last owner stays, of two who go at the same moment as well."""
    assert await refusal(accounts.disable(owner.email)) == (
        Conflict,
        "last_owner",
        "this is the only active owner; make another one first",
    )
    second = await hire(services.pool, services.keyring)
    results = await asyncio.gather(
        accounts.disable(owner.email), accounts.disable(second.email), return_exceptions=True
    )
    assert sorted(type(each).__name__ for each in results) == ["Conflict", "Operator"]
    assert await rows(services, "select count(*) from operators where status = 'active'") == [(1,)]


async def test_an_owner_is_made_once(services: Services, accounts: Accounts) -> None:
    """Where there is none; somebody else's owner is enough, a client's admin is not."""
    await hire(services.pool, services.keyring, role="admin")
    await accounts.ensure_owner("owner@localhost")
    await accounts.ensure_owner("owner@localhost")
    [admin, made] = await accounts.list_all()
    assert (admin.role, made.role, made.email) == ("admin", "owner", "owner@localhost")
    assert (await services.staff.sign_in_by_link(await services.staff.login_link(made.id), address=HERE))[
        1
    ].operator == made


GOOD: dict[str, Any] = {
    "email": "ann@desk.example",
    "name": "Ann",
    "role": "admin",
    "client_id": None,
    "password": PASSWORD,
}


@pytest.mark.parametrize(
    ("changes", "kind", "field"),
    [
        *[
            ({"email": email}, Invalid, "email")
            for email in ("", "ann", "@", "a@", "@b", "a b@c", "a@b\nc", "a@b@c", "a\0@b", "a" * 65 + "@b", "a@\u202eb")
        ],
        *[({"name": name}, Invalid, "name") for name in ("", "  ", "x" * 101, "a\nb", "a\0b", "a\u202eb")],
        *[({"password": each}, Invalid, "password") for each in ("", "x" * 11, "x" * 1025, "ANN@desk.example")],
        ({"role": "king"}, Invalid, "role"),
        ({"role": "operator"}, Invalid, "client_id"),
        ({"role": "owner", "client_id": 1}, Invalid, "client_id"),
        ({"client_id": 1}, NotFound, None),
    ],
)
async def test_accounts_that_are_wrong(
    services: Services, accounts: Accounts, *, changes: dict[str, Any], kind: type[RequestError], field: str | None
) -> None:
    """Each names its field, and nothing is made."""
    with pytest.raises(kind) as caught:
        await accounts.create(**{**GOOD, **changes})
    assert caught.value.field == field
    assert await rows(services, "select from operators") == []
    assert await rows(services, "select from audit_log") == []


async def test_accounts_that_are_not_there(services: Services, accounts: Accounts, owner: Operator) -> None:
    """Said by name, with what shows those that are; a taken address as well."""
    for work in (accounts.reset_password("x@y", PASSWORD), accounts.disable("x@y"), accounts.enable("x@y")):
        kind, _, message = await refusal(work)
        assert kind is NotFound and "'x@y'" in message and "frontdesk operator list" in message
    for work in (accounts.reset_password("x", PASSWORD), accounts.disable(""), accounts.enable("\0@b")):
        assert (await refusal(work))[0] is Invalid
    assert await code(accounts.reset_password(owner.email, "short")) == "invalid"
    assert await code(accounts.create(**{**GOOD, "email": "owner@DESK.example"})) == "email_taken"
    await enter(services, owner)


def test_what_is_shown_of_a_session_has_no_secret(owner: Operator) -> None:
    """A log that prints it gives nothing away."""
    assert set(msgspec.structs.asdict(Signed(owner, 1, datetime.now(UTC)))) == {
        "operator",
        "session_id",
        "expires_at",
    }
    assert "password_hash" not in msgspec.structs.asdict(owner)


# --- who manages whom


async def test_who_manages_whom(services: Services, shop: Shop) -> None:
    """Every role against every role: of the same client, of another one, of all."""
    other = await new_shop(services, "bakery")
    people = {
        "owner": await hire(services.pool, services.keyring),
        "admin": await hire(services.pool, services.keyring, role="admin"),
        "shop admin": await hire(services.pool, services.keyring, role="admin", client_id=shop.id),
        "shop operator": await hire(services.pool, services.keyring, role="operator", client_id=shop.id),
        "other admin": await hire(services.pool, services.keyring, role="admin", client_id=other.id),
        "other operator": await hire(services.pool, services.keyring, role="operator", client_id=other.id),
    }
    everybody = set(people)
    seen = {name: {each for each, whom in people.items() if sees(by, whom)} for name, by in people.items()}
    managed = {name: {each for each, whom in people.items() if manages(by, whom)} for name, by in people.items()}
    assert seen == {
        "owner": everybody,
        "admin": everybody,
        "shop admin": {"shop admin", "shop operator"},
        "shop operator": set(),
        "other admin": {"other admin", "other operator"},
        "other operator": set(),
    }
    assert managed == {**seen, "admin": everybody - {"owner"}}


async def test_two_owners_demote_each_other(services: Services, accounts: Accounts) -> None:
    """At the same moment, each by right: one of them stays."""
    ann, bob = [await hire(services.pool, services.keyring) for _ in range(2)]

    def demoted(operator: Operator) -> OperatorEdit:
        return OperatorEdit(version=operator.version, name=operator.name, role="admin", client_id=None, status="active")

    ends = await asyncio.gather(
        accounts.edit(bob.id, demoted(bob), by=ann),
        accounts.edit(ann.id, demoted(ann), by=bob),
        return_exceptions=True,
    )
    assert sorted(type(end).__name__ for end in ends) == ["Conflict", "Operator"]
    [error] = [end for end in ends if isinstance(end, Conflict)]
    assert error.code == "last_owner"
    assert await rows(services, "select count(*) from operators where role = 'owner' and status = 'active'") == [(1,)]
