"""Clients and plans."""

import secrets
from decimal import Decimal

import msgspec
import pytest

from server import errors, ids
from server.repositories import clients, conversations, plans, visitors
from server.repositories.clients import ClientChanges
from server.repositories.pool import Conn, Pool, reading, unit_of_work
from tests.repositories.conftest import Shop, new_client
from tests.repositories.world import soon


async def test_a_client_is_found_by_either_key(pool: Pool) -> None:
    """The public key and the hash of the secret one name the same client, with its plan's limits."""
    secret = secrets.token_bytes(32)
    async with unit_of_work(pool) as conn:
        made = await clients.create(
            conn,
            name="Bob's Pizza Shop",
            domain="bobs.example",
            allowed_origins=["https://bobs.example", "https://www.bobs.example"],
            public_key="pk_bob",
            api_key_hash=secret,
            api_key_prefix="sk_bob",
            model_config={"model": "m", "temperature": 0.5},
            widget_config={"title": "שלום 🍕"},
        )
    assert (made.plan_type, made.status, made.locale, made.timezone) == ("free", "active", "en", "UTC")
    assert (made.monthly_messages, made.requests_per_minute) == (1000, 60)
    assert made.widget_config == {"title": "שלום 🍕"}
    async with reading(pool) as conn:
        assert await clients.find_by_public_key(conn, public_key="pk_bob") == made
        assert await clients.find_by_api_key_hash(conn, api_key_hash=secret) == made
        assert await clients.find(conn, client_id=made.id) == made
        assert await clients.list_all(conn) == [made]
        assert await clients.find_by_public_key(conn, public_key="pk_") is None
        assert await clients.find_by_api_key_hash(conn, api_key_hash=b"") is None
        assert await clients.find(conn, client_id=made.id + 1) is None


async def test_only_what_is_given_changes(pool: Pool, pizza: Shop) -> None:
    """A field left out stays; webhook_base_url can be cleared; the plan's limits follow the plan."""
    async with unit_of_work(pool) as conn:
        changed = await clients.update(
            conn,
            client_id=pizza.id,
            changes=ClientChanges(webhook_base_url="https://n8n.example", plan_type="pro", system_prompt=""),
        )
        assert changed is not None
        assert (changed.webhook_base_url, changed.plan_type, changed.requests_per_minute) == (
            "https://n8n.example",
            "pro",
            600,
        )
        assert (changed.name, changed.allowed_origins) == (pizza.client.name, pizza.client.allowed_origins)
        same = await clients.update(conn, client_id=pizza.id, changes=ClientChanges())
        assert same == msgspec.structs.replace(changed, version=changed.version + 1)
        cleared = await clients.update(
            conn,
            client_id=pizza.id,
            changes=ClientChanges(webhook_base_url=None, allowed_origins=[], model_config={}, widget_config={"a": [1]}),
        )
        assert cleared is not None
        assert (cleared.webhook_base_url, cleared.allowed_origins, cleared.widget_config) == (None, [], {"a": [1]})
        assert await clients.update(conn, client_id=0, changes=ClientChanges(name="x")) is None


async def test_a_rotated_key_replaces_the_old_one(pool: Pool, pizza: Shop) -> None:
    """Only the new hash finds the client."""
    async with unit_of_work(pool) as conn:
        assert await clients.rotate_key(conn, client_id=pizza.id, api_key_hash=b"1", api_key_prefix="sk_1")
        assert await clients.rotate_key(conn, client_id=pizza.id, api_key_hash=b"2", api_key_prefix="sk_2")
        assert await clients.find_by_api_key_hash(conn, api_key_hash=b"1") is None
        found = await clients.find_by_api_key_hash(conn, api_key_hash=b"2")
        assert found is not None and (found.id, found.api_key_prefix) == (pizza.id, "sk_2")
        assert not await clients.rotate_key(conn, client_id=0, api_key_hash=b"3", api_key_prefix="sk_3")


async def test_an_identity_secret(pool: Pool, pizza: Shop, bakery: Shop) -> None:
    """Set once, then only replaced on purpose, which ends what rests on the old one, at this client alone."""

    async def verified(conn: Conn) -> list[bool]:
        found = []
        for shop in (pizza, bakery):
            visitor = await visitors.verified(conn, client_id=shop.id, conversation_id=shop.cnv)
            found.append(visitor is not None)
        return found

    async with unit_of_work(pool) as conn:
        assert await clients.identity_secret(conn, client_id=pizza.id) is None
        assert await clients.set_identity_secret(conn, client_id=pizza.id, identity_secret=b"1", replace=False)
        for shop in (pizza, bakery):
            visitor = await visitors.verify(conn, client_id=shop.id, external_id="7", name=None, email=None)
            assert await conversations.verify(
                conn,
                client_id=shop.id,
                conversation_id=shop.cnv,
                visitor_id=visitor.id,
                verified_until=soon(),
            )
        assert not await clients.set_identity_secret(conn, client_id=pizza.id, identity_secret=b"2", replace=False)
        assert await clients.identity_secret(conn, client_id=pizza.id) == b"1"
        assert await verified(conn) == [True, True]
        assert await clients.set_identity_secret(conn, client_id=pizza.id, identity_secret=b"2", replace=True)
        assert await clients.identity_secret(conn, client_id=pizza.id) == b"2"
        assert await verified(conn) == [False, True]
        assert not await clients.set_identity_secret(conn, client_id=0, identity_secret=b"3", replace=True)
        assert await clients.identity_secret(conn, client_id=0) is None


async def test_a_client_is_suspended(pool: Pool, pizza: Shop) -> None:
    """The status changes, and only to one that there is."""
    async with unit_of_work(pool) as conn:
        assert await clients.set_status(conn, client_id=pizza.id, status="suspended")
        found = await clients.find(conn, client_id=pizza.id)
        assert found is not None and found.status == "suspended"
        assert not await clients.set_status(conn, client_id=0, status="active")
    with pytest.raises(errors.Invalid, match="active, suspended"):
        async with unit_of_work(pool) as conn:
            await clients.set_status(conn, client_id=pizza.id, status="asleep")


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"public_key": "taken"}, "public_key_taken", "public_key"),
        ({"api_key_hash": b"taken"}, "api_key_taken", "api_key"),
        ({"plan_type": "gold"}, "invalid", "plan_type"),
        ({"name": ""}, "invalid", "name"),
    ],
)
async def test_a_wrong_client_is_refused(pool: Pool, changes: dict[str, str], code: str, field: str) -> None:
    """A key taken twice, a plan that is not there, no name: each says which field."""

    def kwargs() -> dict[str, object]:
        return {
            "name": "n",
            "domain": "d",
            "allowed_origins": [],
            "public_key": ids.public_key(),
            "api_key_hash": secrets.token_bytes(32),
            "api_key_prefix": "sk_",
        }

    async with unit_of_work(pool) as conn:
        await clients.create(conn, **{**kwargs(), "public_key": "taken", "api_key_hash": b"taken"})  # type: ignore[arg-type]  # one dict for many types
    with pytest.raises(errors.RequestError) as caught:
        async with unit_of_work(pool) as conn:
            await clients.create(conn, **{**kwargs(), **changes})  # type: ignore[arg-type]  # one dict for many types
    assert (caught.value.code, caught.value.field) == (code, field)


async def test_plans(pool: Pool) -> None:
    """The plans that come with the schema, their prices exact."""
    async with reading(pool) as conn:
        found = await plans.list_all(conn)
        assert [plan.name for plan in found] == ["free", "starter", "pro"]
        assert all(isinstance(plan.price, Decimal) for plan in found)
        free = await plans.find(conn, name="free")
        assert free is not None and (free.monthly_messages, free.requests_per_minute) == (1000, 60)
        assert await plans.find(conn, name="gold") is None


async def test_clients_are_apart(pool: Pool) -> None:
    """Two clients may share a name, never an id."""
    async with unit_of_work(pool) as conn:
        one, two = await new_client(conn, "same"), await new_client(conn, "same")
        assert one.id != two.id
        assert [client.id for client in await clients.list_all(conn)] == [one.id, two.id]


async def test_origins_of_active_clients(pool: Pool, pizza: Shop, bakery: Shop) -> None:
    """Each once, of whichever client; a suspended client's do not count."""
    async with unit_of_work(pool) as conn:
        await clients.update(
            conn, client_id=pizza.id, changes=ClientChanges(allowed_origins=["https://a.example", "https://b.example"])
        )
        await clients.update(conn, client_id=bakery.id, changes=ClientChanges(allowed_origins=["https://b.example"]))
        assert sorted(await clients.origins(conn)) == ["https://a.example", "https://b.example"]
        await clients.set_status(conn, client_id=pizza.id, status="suspended")
        assert await clients.origins(conn) == ["https://b.example"]
