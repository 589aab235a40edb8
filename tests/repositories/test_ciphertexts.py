"""What is kept sealed: read in pages, replaced when it is still what was read."""

from collections.abc import Awaitable, Callable

import pytest

from server.repositories import ciphertexts, integrations
from server.repositories.ciphertexts import Sealed
from server.repositories.pool import Conn, Pool, unit_of_work
from tests.repositories.conftest import Shop
from tests.repositories.world import populate

Read = Callable[..., Awaitable[list[Sealed]]]
Replace = Callable[..., Awaitable[bool]]


async def _signing_secrets(conn: Conn, *, after_id: int, limit: int) -> list[Sealed]:
    return await ciphertexts.list_signing_secrets(conn, after_id=after_id, limit=limit)


async def _connection_configs(conn: Conn, *, after_id: int, limit: int) -> list[Sealed]:
    return await ciphertexts.list_connection_configs(conn, after_id=after_id, limit=limit)


async def _identity_secrets(conn: Conn, *, after_id: int, limit: int) -> list[Sealed]:
    return await ciphertexts.list_identity_secrets(conn, after_id=after_id, limit=limit)


async def _signing_secret(conn: Conn, row: Sealed, old: bytes, new: bytes) -> bool:
    return await ciphertexts.replace_signing_secret(conn, client_id=row.client_id, row_id=row.id, old=old, new=new)


async def _connection_config(conn: Conn, row: Sealed, old: bytes, new: bytes) -> bool:
    return await ciphertexts.replace_connection_config(conn, client_id=row.client_id, row_id=row.id, old=old, new=new)


async def _identity_secret(conn: Conn, row: Sealed, old: bytes, new: bytes) -> bool:
    return await ciphertexts.replace_identity_secret(conn, client_id=row.client_id, row_id=row.id, old=old, new=new)


@pytest.mark.parametrize(
    ("read", "replace", "owner"),
    [
        (_signing_secrets, _signing_secret, "tool tool_{name}"),
        (_connection_configs, _connection_config, "integration {id} (custom_api)"),
        (_identity_secrets, _identity_secret, "identity secret"),
    ],
)
async def test_pages_and_replacing(
    pool: Pool, pizza: Shop, bakery: Shop, *, read: Read, replace: Replace, owner: str
) -> None:
    """Every client's, one page after the other; a row that changed meanwhile is left alone."""
    for shop in (pizza, bakery):
        await populate(pool, shop)
    async with unit_of_work(pool) as conn:
        [first] = await read(conn, after_id=0, limit=1)
        [second] = await read(conn, after_id=first.id, limit=5)
        assert await read(conn, after_id=second.id, limit=5) == []
        for shop, row in ((pizza, first), (bakery, second)):
            assert (row.client_id, row.ciphertext) == (shop.id, b"sealed")
            assert row.owner == owner.format(name=shop.client.name, id=row.id)
        assert not await replace(conn, first, b"another", b"new")
        assert await replace(conn, first, b"sealed", b"new")
        assert not await replace(conn, first, b"sealed", b"newer")
        assert [row.ciphertext for row in await read(conn, after_id=0, limit=5)] == [b"new", b"sealed"]


async def test_sealing_anew_is_no_new_configuration(pool: Pool, pizza: Shop) -> None:
    """What the last connection test said stays."""
    world = await populate(pool, pizza)
    async with unit_of_work(pool) as conn:
        await integrations.record_test(conn, client_id=pizza.id, integration_id=world.integration, result={"ok": True})
        before = await integrations.find(conn, client_id=pizza.id, integration_id=world.integration)
        assert await ciphertexts.replace_connection_config(
            conn, client_id=pizza.id, row_id=world.integration, old=b"sealed", new=b"new"
        )
        after = await integrations.find(conn, client_id=pizza.id, integration_id=world.integration)
    assert before is not None and after is not None
    assert (after.connection_config, after.last_test_result) == (b"new", {"ok": True})
    assert after.last_sync_test == before.last_sync_test is not None
