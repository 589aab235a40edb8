"""Visitors, operators, the audit log, notifications. Sessions of operators: `test_signing_in`."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from server import errors
from server.repositories import audit, conversations, notifications, operator_sessions, operators, visitors
from server.repositories.operators import Operator
from server.repositories.pool import Conn, Pool, unit_of_work
from tests.repositories.conftest import Shop
from tests.repositories.plans import plan_of
from tests.repositories.world import soon


async def _operator(conn: Conn, email: str, *, role: str = "owner", client_id: int | None = None) -> Operator:
    return await operators.create(
        conn, client_id=client_id, email=email, name="Olga", password_hash="$argon2id$x", role=role
    )


async def test_visitors(pool: Pool, pizza: Shop) -> None:
    """Vouched for twice is one person; what is left out stays; erased, the conversation keeps no trace."""
    where: dict[str, Any] = {"client_id": pizza.id}
    async with unit_of_work(pool) as conn:
        first = await visitors.verify(conn, **where, external_id="7", name="Ann", email="ann@example.com")
        again = await visitors.verify(conn, **where, external_id="7", name="Anna", email=None)
        other = await visitors.verify(conn, **where, external_id="8", name=None, email=None)
        assert (again.id, again.name, again.email) == (first.id, "Anna", "ann@example.com")
        assert await visitors.find(conn, **where, visitor_id=first.id) == again
        assert await visitors.list_for_client(conn, **where, limit=1, offset=0) == [other]
        assert await visitors.list_for_client(conn, **where, limit=5, offset=1) == [again]
        cnv: dict[str, Any] = {**where, "conversation_id": pizza.cnv}
        assert await visitors.verified(conn, **cnv) is None
        assert await conversations.verify(conn, **cnv, visitor_id=first.id, verified_until=soon())
        assert await visitors.verified(conn, **cnv) == again
    async with unit_of_work(pool) as conn:
        assert await visitors.erase(conn, **where, visitor_id=first.id)
        assert not await visitors.erase(conn, **where, visitor_id=first.id)
        kept = await conversations.find(conn, **where, conversation_id=pizza.cnv)
    assert kept is not None
    assert (kept.visitor_id, kept.user_identifier, kept.verified_until) == (None, None, None)


async def test_a_conversation_is_one_persons(pool: Pool, pizza: Shop) -> None:
    """Vouched for again until later, never for less; once somebody else is vouched for, nobody is verified."""
    cnv: dict[str, Any] = {"client_id": pizza.id, "conversation_id": pizza.cnv}
    late = soon()
    async with unit_of_work(pool) as conn:
        ann = await visitors.verify(conn, client_id=pizza.id, external_id="7", name=None, email=None)
        bob = await visitors.verify(conn, client_id=pizza.id, external_id="8", name=None, email=None)
        for until in (late - timedelta(minutes=2), late, late - timedelta(minutes=1)):
            assert await conversations.verify(conn, **cnv, visitor_id=ann.id, verified_until=until)
        kept = await conversations.find(conn, **cnv)
        assert kept is not None and (kept.visitor_id, kept.verified_until) == (ann.id, late)
        assert not await conversations.verify(conn, **cnv, visitor_id=bob.id, verified_until=late)
        kept = await conversations.find(conn, **cnv)
        assert kept is not None and (kept.visitor_id, kept.verified_until) == (ann.id, None)
        assert await conversations.verify(conn, **cnv, visitor_id=ann.id, verified_until=late)
        assert await visitors.verified(conn, **cnv) == ann
        assert not await conversations.verify(
            conn, client_id=pizza.id, conversation_id=0, visitor_id=ann.id, verified_until=late
        )


async def test_an_expired_visitor_is_not_verified(pool: Pool, pizza: Shop) -> None:
    """The conversation stays theirs, but nothing may be done in their name."""
    cnv: dict[str, Any] = {"client_id": pizza.id, "conversation_id": pizza.cnv}
    async with unit_of_work(pool) as conn:
        ann = await visitors.verify(conn, client_id=pizza.id, external_id="7", name=None, email=None)
        past = datetime.now(UTC) - timedelta(seconds=1)
        assert await conversations.verify(conn, **cnv, visitor_id=ann.id, verified_until=past)
        assert await visitors.verified(conn, **cnv) is None
        kept = await conversations.find(conn, **cnv)
    assert kept is not None and kept.visitor_id == ann.id


async def test_operators(pool: Pool, pizza: Shop) -> None:
    """Found by address in any case of its letters; listed by client; locked out and given a new password."""
    async with unit_of_work(pool) as conn:
        owner = await _operator(conn, "Owner@x.example")
        staff = await _operator(conn, "staff@x.example", role="operator", client_id=pizza.id)
        assert await operators.find(conn, operator_id=owner.id) == owner
        assert await operators.list_all(conn) == [owner, staff]
        assert await operators.list_for_client(conn, client_id=pizza.id) == [staff]
        assert await operators.set_password(conn, operator_id=owner.id, password_hash="$argon2id$y")
        assert await operators.set_status(conn, operator_id=owner.id, status="disabled")
        login = await operators.find_login(conn, email="oWNER@X.EXAMPLE")
        assert login == operators.OperatorLogin(owner.id, None, "$argon2id$y", "disabled")
        assert await operators.find_login(conn, email="nobody@x.example") is None
        assert await operators.password_hash(conn, operator_id=owner.id) == "$argon2id$y"
        assert await operators.password_hash(conn, operator_id=0) is None
        assert await operators.find_by_email(conn, email="STAFF@x.example") == staff
        assert await operators.find_by_email(conn, email="nobody@x.example") is None
        assert await operators.find(conn, operator_id=0) is None
        assert not await operators.set_password(conn, operator_id=0, password_hash="p")
        assert not await operators.set_status(conn, operator_id=0, status="active")


async def test_the_list_of_operators(pool: Pool, pizza: Shop, bakery: Shop) -> None:
    """Newest first, a page at a time, a client's own or all, with their client's name and when they were seen."""
    async with unit_of_work(pool) as conn:
        owner = await _operator(conn, "o@x.example")
        staff = [await _operator(conn, f"p{no}@x.example", role="operator", client_id=pizza.id) for no in range(3)]
        other = await _operator(conn, "b@x.example", role="admin", client_id=bakery.id)
        signed = await operator_sessions.create(
            conn, operator_id=owner.id, password_hash=None, token_hash=b"t", lifetime_s=60, user_agent=None
        )
        assert signed is not None
        rows = await operators.page(conn, client_id=None, before=None, limit=50)
        assert [row.id for row in rows] == [each.id for each in (other, *reversed(staff), owner)]
        assert (rows[0].client_name, rows[0].last_seen_at) == ("bakery", None)
        assert (rows[-1].client_name, rows[-1].last_seen_at) == (None, signed.last_seen_at)
        first = await operators.page(conn, client_id=pizza.id, before=None, limit=2)
        rest = await operators.page(conn, client_id=pizza.id, before=first[-1].id, limit=2)
        assert [row.id for row in (*first, *rest)] == [each.id for each in reversed(staff)]


async def test_an_operator_is_changed(pool: Pool, pizza: Shop) -> None:
    """All that may be edited at once, a version later; so is a new status; locked meanwhile."""
    async with unit_of_work(pool) as conn:
        ann = await _operator(conn, "a@x.example")
        assert await operators.find_to_change(conn, operator_id=ann.id) == ann
        assert await operators.find_to_change(conn, operator_id=0) is None
        given: dict[str, Any] = {"name": "Anna", "role": "operator", "serves": pizza.id, "status": "disabled"}
        changed = await operators.change(conn, operator_id=ann.id, **given)
        assert changed is not None
        assert (changed.name, changed.role, changed.client_id, changed.status, changed.version) == (
            "Anna",
            "operator",
            pizza.id,
            "disabled",
            ann.version + 1,
        )
        assert await operators.change(conn, operator_id=0, **given) is None
        await operators.set_status(conn, operator_id=ann.id, status="active")
        now = await operators.find(conn, operator_id=ann.id)
        assert now is not None and (now.status, now.version) == ("active", ann.version + 2)
    for wrong, error in (({"role": "owner"}, errors.Invalid), ({"serves": 0}, errors.NotFound)):
        with pytest.raises(error):
            async with unit_of_work(pool) as conn:
                await operators.change(conn, operator_id=ann.id, **{**given, **wrong})


def test_the_plan_of_the_list_of_operators(database_url: str) -> None:
    """From the end of the key; a client's by its index; sessions by their operator."""
    everybody = plan_of(database_url, operators.page, client_id=None, before=9, limit=5)
    assert "Index Scan Backward using operators_pkey" in everybody
    assert "operator_sessions_operator_id_idx" in everybody and "Seq Scan" not in everybody


@pytest.mark.parametrize(
    ("email", "role", "with_client", "code"),
    [
        ("TAKEN@x.example", "owner", False, "email_taken"),
        ("a@x.example", "king", False, "invalid"),
        ("a@x.example", "owner", True, "invalid"),
        ("a@x.example", "operator", False, "invalid"),
    ],
)
async def test_a_wrong_operator_is_refused(
    pool: Pool, pizza: Shop, *, email: str, role: str, with_client: bool, code: str
) -> None:
    """The same address, a role that there is not, an owner of one client, an operator of none."""
    async with unit_of_work(pool) as conn:
        await _operator(conn, "taken@x.example")
    with pytest.raises(errors.RequestError) as caught:
        async with unit_of_work(pool) as conn:
            await _operator(conn, email, role=role, client_id=pizza.id if with_client else None)
    assert caught.value.code == code


async def test_the_audit_log(pool: Pool, pizza: Shop) -> None:
    """Newest first, a client's own and all; what concerns the installation names no client."""
    async with unit_of_work(pool) as conn:
        owner = await _operator(conn, "o@x.example")
        for client_id, action in ((pizza.id, "client.suspend"), (None, "settings.update"), (pizza.id, "key.rotate")):
            await audit.record(
                conn,
                client_id=client_id,
                operator_id=owner.id,
                action=action,
                target_type="client",
                target_id="1",
                details={"by": "hand"},
            )
        everything = await audit.list_all(conn, limit=5, offset=0)
        assert [entry.action for entry in everything] == ["key.rotate", "settings.update", "client.suspend"]
        assert everything[0].details == {"by": "hand"}
        mine = await audit.list_for_client(conn, client_id=pizza.id, limit=1, offset=1)
        assert [entry.action for entry in mine] == ["client.suspend"]


async def test_notifications(pool: Pool, pizza: Shop) -> None:
    """Newest first until read; one that arrives meanwhile stays unread."""
    where: dict[str, Any] = {"client_id": pizza.id}
    async with unit_of_work(pool) as conn:
        await notifications.create(conn, **where, kind="handoff_requested", conversation_id=pizza.cnv)
        await notifications.create(conn, **where, kind="limit_near", details={"used": 900})
        newest, oldest = await notifications.list_unread(conn, **where, limit=5)
        assert (newest.kind, newest.details, oldest.conversation_id) == ("limit_near", {"used": 900}, pizza.cnv)
        await notifications.mark_read(conn, **where, through_id=oldest.id)
        assert await notifications.list_unread(conn, **where, limit=5) == [newest]
    with pytest.raises(errors.Invalid):
        async with unit_of_work(pool) as conn:
            await notifications.create(conn, **where, kind="birthday")
