"""Integrations: how to connect to a client's own systems, never their data."""

from datetime import datetime
from typing import Any

import msgspec
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from server.repositories.pool import Conn


class Integration(msgspec.Struct, frozen=True):
    """`connection_config` is ciphertext; `last_test_result` is what the last connection test said; `version` counts the
    edits from 1.
    """

    id: int
    client_id: int
    integration_type: str
    connection_config: bytes
    enabled: bool
    last_sync_test: datetime | None
    last_test_result: dict[str, Any] | None
    version: int
    created_at: datetime


async def create(conn: Conn, *, client_id: int, integration_type: str, connection_config: bytes) -> Integration:
    """`integration_type`: shopify, woocommerce, custom_api, mysql_database or postgres_database."""
    async with conn.cursor(row_factory=class_row(Integration)) as cursor:
        # A system to pull from.
        await cursor.execute(
            """
            insert into client_integrations (client_id, integration_type, connection_config)
            values (%(client_id)s, %(integration_type)s, %(connection_config)s)
            returning id, client_id, integration_type, connection_config, enabled, last_sync_test, last_test_result,
                      version, created_at
            """,
            {
                "client_id": client_id,
                "integration_type": integration_type,
                "connection_config": connection_config,
            },
        )
        row = await cursor.fetchone()
        assert row is not None
        return row


async def find(conn: Conn, *, client_id: int, integration_id: int) -> Integration | None:
    async with conn.cursor(row_factory=class_row(Integration)) as cursor:
        # One system of a client.
        await cursor.execute(
            """
            select id, client_id, integration_type, connection_config, enabled, last_sync_test, last_test_result,
                   version, created_at
            from client_integrations
            where client_id = %(client_id)s and id = %(integration_id)s
            """,
            {"client_id": client_id, "integration_id": integration_id},
        )
        return await cursor.fetchone()


async def list_for_client(conn: Conn, *, client_id: int) -> list[Integration]:
    """Oldest first."""
    async with conn.cursor(row_factory=class_row(Integration)) as cursor:
        # A client's systems.
        await cursor.execute(
            """
            select id, client_id, integration_type, connection_config, enabled, last_sync_test, last_test_result,
                   version, created_at
            from client_integrations
            where client_id = %(client_id)s
            order by id
            """,
            {"client_id": client_id},
        )
        return await cursor.fetchall()


async def update(
    conn: Conn,
    *,
    client_id: int,
    integration_id: int,
    connection_config: bytes | None = None,
    enabled: bool | None = None,
    seen: int | None = None,
) -> bool:
    """What is None stays. False when there is no such integration, or its version is not the one that was `seen`."""
    # A new configuration has not been tested.
    cursor = await conn.execute(
        """
        update client_integrations set
            connection_config = coalesce(%(connection_config)s::bytea, connection_config),
            enabled = coalesce(%(enabled)s::boolean, enabled),
            last_sync_test = case when %(connection_config)s::bytea is null then last_sync_test end,
            last_test_result = case when %(connection_config)s::bytea is null then last_test_result end,
            version = version + 1
        where client_id = %(client_id)s and id = %(integration_id)s
            and (%(seen)s::integer is null or version = %(seen)s)
        returning id
        """,
        {
            "client_id": client_id,
            "integration_id": integration_id,
            "connection_config": connection_config,
            "enabled": enabled,
            "seen": seen,
        },
    )
    return await cursor.fetchone() is not None


async def record_test(conn: Conn, *, client_id: int, integration_id: int, result: dict[str, Any]) -> bool:
    """What a connection test said, just now. False when there is no such integration."""
    # For whoever asks whether it works.
    cursor = await conn.execute(
        """
        update client_integrations set last_sync_test = now(), last_test_result = %(result)s
        where client_id = %(client_id)s and id = %(integration_id)s
        returning id
        """,
        {
            "client_id": client_id,
            "integration_id": integration_id,
            "result": Jsonb(result, dumps=msgspec.json.encode),
        },
    )
    return await cursor.fetchone() is not None


async def delete(conn: Conn, *, client_id: int, integration_id: int) -> bool:
    """Its endpoints go too. False when there is no such integration."""
    # Nothing of it stays.
    cursor = await conn.execute(
        "delete from client_integrations where client_id = %(client_id)s and id = %(integration_id)s returning id",
        {"client_id": client_id, "integration_id": integration_id},
    )
    return await cursor.fetchone() is not None
