"""Endpoints: what can be pulled through an integration."""

from typing import Any

import msgspec
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from server.repositories.pool import Conn


class Endpoint(msgspec.Struct, frozen=True):
    """`endpoint_url` may hold {placeholders}; `method` `SQL` is a statement; `cache_ttl` is seconds, 0 for never.

    `effect`, `proof`, `confirm`, `bound` and `label` are as a tool's. `version` counts the edits from 1.
    """

    id: int
    client_id: int
    integration_id: int
    endpoint_name: str
    endpoint_url: str
    method: str
    description: str
    parameters_schema: dict[str, Any]
    response_path: str | None
    cache_ttl: int
    effect: str
    proof: str
    confirm: bool
    bound: dict[str, str]
    label: dict[str, str]
    version: int


class OfferedEndpoint(Endpoint, frozen=True):
    """An endpoint, and how to reach its system. `connection_config` is ciphertext."""

    integration_type: str
    connection_config: bytes


async def create(
    conn: Conn,
    *,
    client_id: int,
    integration_id: int,
    endpoint_name: str,
    endpoint_url: str,
    method: str,
    description: str,
    parameters_schema: dict[str, Any],
    response_path: str | None = None,
    cache_ttl: int = 300,
    effect: str = "read_only",
    proof: str = "session",
    confirm: bool = False,
    bound: dict[str, str] | None = None,
    label: dict[str, str] | None = None,
    version: int = 1,
) -> Endpoint:
    """Raises Conflict `endpoint_exists` when the client has one of this name, NotFound without the integration."""
    async with conn.cursor(row_factory=class_row(Endpoint)) as cursor:
        # Something a model may look up.
        await cursor.execute(
            """
            insert into integration_endpoints (
                client_id, integration_id, endpoint_name, endpoint_url, method, description, parameters_schema,
                response_path, cache_ttl, effect, proof, confirm, bound, label, version
            ) values (
                %(client_id)s, %(integration_id)s, %(endpoint_name)s, %(endpoint_url)s, %(method)s, %(description)s,
                %(parameters_schema)s, %(response_path)s, %(cache_ttl)s, %(effect)s, %(proof)s, %(confirm)s, %(bound)s,
                %(label)s, %(version)s
            )
            returning id, client_id, integration_id, endpoint_name, endpoint_url, method, description,
                      parameters_schema, response_path, cache_ttl, effect, proof, confirm, bound, label,
                      version
            """,
            {
                "client_id": client_id,
                "integration_id": integration_id,
                "endpoint_name": endpoint_name,
                "endpoint_url": endpoint_url,
                "method": method,
                "description": description,
                "parameters_schema": Jsonb(parameters_schema, dumps=msgspec.json.encode),
                "response_path": response_path,
                "cache_ttl": cache_ttl,
                "effect": effect,
                "proof": proof,
                "confirm": confirm,
                "bound": Jsonb(bound or {}, dumps=msgspec.json.encode),
                "label": Jsonb(label or {}, dumps=msgspec.json.encode),
                "version": version,
            },
        )
        row = await cursor.fetchone()
        assert row is not None
        return row


async def list_offered(conn: Conn, *, client_id: int) -> list[OfferedEndpoint]:
    """Those of enabled integrations, by name: what a model is offered."""
    async with conn.cursor(row_factory=class_row(OfferedEndpoint)) as cursor:
        # A client's live data.
        await cursor.execute(
            """
            select e.id, e.client_id, e.integration_id, e.endpoint_name, e.endpoint_url, e.method, e.description,
                   e.parameters_schema, e.response_path, e.cache_ttl, e.effect, e.proof, e.confirm, e.bound, e.label,
                   e.version, i.integration_type, i.connection_config
            from integration_endpoints e
            join client_integrations i on i.client_id = e.client_id and i.id = e.integration_id
            where e.client_id = %(client_id)s and i.enabled
            order by e.endpoint_name
            """,
            {"client_id": client_id},
        )
        return await cursor.fetchall()


async def list_for_integration(conn: Conn, *, client_id: int, integration_id: int) -> list[Endpoint]:
    """Oldest first."""
    async with conn.cursor(row_factory=class_row(Endpoint)) as cursor:
        # What one system offers.
        await cursor.execute(
            """
            select id, client_id, integration_id, endpoint_name, endpoint_url, method, description, parameters_schema,
                   response_path, cache_ttl, effect, proof, confirm, bound, label, version
            from integration_endpoints
            where client_id = %(client_id)s and integration_id = %(integration_id)s
            order by id
            """,
            {"client_id": client_id, "integration_id": integration_id},
        )
        return await cursor.fetchall()


async def count_by_integration(conn: Conn, *, client_id: int) -> dict[int, int]:
    """How many each integration has, by its id; one without any is left out."""
    # For the list of a client's systems.
    cursor = await conn.execute(
        """
        select integration_id, count(*) from integration_endpoints
        where client_id = %(client_id)s
        group by integration_id
        """,
        {"client_id": client_id},
    )
    return dict(await cursor.fetchall())


async def find_by_name(conn: Conn, *, client_id: int, endpoint_name: str) -> Endpoint | None:
    """Whether or not its integration is enabled."""
    async with conn.cursor(row_factory=class_row(Endpoint)) as cursor:
        # By the name a model calls it.
        await cursor.execute(
            """
            select id, client_id, integration_id, endpoint_name, endpoint_url, method, description, parameters_schema,
                   response_path, cache_ttl, effect, proof, confirm, bound, label, version
            from integration_endpoints
            where client_id = %(client_id)s and endpoint_name = %(endpoint_name)s
            """,
            {"client_id": client_id, "endpoint_name": endpoint_name},
        )
        return await cursor.fetchone()


async def delete(conn: Conn, *, client_id: int, endpoint_id: int, seen: int | None = None) -> bool:
    """False when there is no such endpoint, or its version is not the one that was `seen`."""
    # Not offered any more.
    cursor = await conn.execute(
        """
        delete from integration_endpoints
        where client_id = %(client_id)s and id = %(endpoint_id)s
            and (%(seen)s::integer is null or version = %(seen)s)
        returning id
        """,
        {"client_id": client_id, "endpoint_id": endpoint_id, "seen": seen},
    )
    return await cursor.fetchone() is not None
