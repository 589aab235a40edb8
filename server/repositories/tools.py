"""The catalogue of tools, shared by all clients: system-wide."""

from datetime import datetime
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from server.repositories.pool import Conn


class Tool(msgspec.Struct, frozen=True):
    """What a client may enable.

    `parameters_schema` is JSON Schema; `effect` is `read_only`, `idempotent` or `unsafe`; `proof` is `none`, `session`
    or `verified`; `bound` is which arguments the server fills, {"customer_id": "visitor.id"}; `label` is by locale;
    `version` counts its edits from 1.
    """

    id: int
    tool_name: str
    description: str
    parameters_schema: dict[str, Any]
    category: str
    effect: str
    proof: str
    confirm: bool
    bound: dict[str, str]
    label: dict[str, str]
    version: int
    created_at: datetime


class ToolChanges(msgspec.Struct, frozen=True, kw_only=True):
    """What to change; a field left out stays."""

    description: str | UnsetType = UNSET
    parameters_schema: dict[str, Any] | UnsetType = UNSET
    category: str | UnsetType = UNSET
    effect: str | UnsetType = UNSET
    proof: str | UnsetType = UNSET
    confirm: bool | UnsetType = UNSET
    bound: dict[str, str] | UnsetType = UNSET
    label: dict[str, str] | UnsetType = UNSET


async def create(
    conn: Conn,
    *,
    tool_name: str,
    description: str,
    parameters_schema: dict[str, Any],
    category: str,
    effect: str,
    label: dict[str, str],
    proof: str = "session",
    confirm: bool = False,
    bound: dict[str, str] | None = None,
) -> Tool:
    """Raises Conflict `tool_exists`."""
    async with conn.cursor(row_factory=class_row(Tool)) as cursor:
        # A tool for every client to enable.
        await cursor.execute(
            """
            insert into tools (
                tool_name, description, parameters_schema, category, effect, proof, confirm, bound, label
            ) values (
                %(tool_name)s, %(description)s, %(parameters_schema)s, %(category)s, %(effect)s, %(proof)s,
                %(confirm)s, %(bound)s, %(label)s
            )
            returning id, tool_name, description, parameters_schema, category, effect, proof, confirm, bound, label,
                      version, created_at
            """,
            {
                "tool_name": tool_name,
                "description": description,
                "parameters_schema": Jsonb(parameters_schema, dumps=msgspec.json.encode),
                "category": category,
                "effect": effect,
                "proof": proof,
                "confirm": confirm,
                "bound": Jsonb(bound or {}, dumps=msgspec.json.encode),
                "label": Jsonb(label, dumps=msgspec.json.encode),
            },
        )
        row = await cursor.fetchone()
        assert row is not None
        return row


async def update(conn: Conn, *, tool_name: str, changes: ToolChanges, seen: int | None = None) -> Tool | None:
    """The tool as it is now, for every client that has it; None when there is no such tool.

    None, too, when its version is not the one that was `seen`.
    """
    given = msgspec.structs.asdict(changes)
    params = {name: None if value is UNSET else value for name, value in given.items()}
    for name in ("parameters_schema", "bound", "label"):
        if params[name] is not None:
            params[name] = Jsonb(params[name], dumps=msgspec.json.encode)
    async with conn.cursor(row_factory=class_row(Tool)) as cursor:
        # Only what was given.
        await cursor.execute(
            """
            update tools set
                description = coalesce(%(description)s, description),
                parameters_schema = coalesce(%(parameters_schema)s::jsonb, parameters_schema),
                category = coalesce(%(category)s, category),
                effect = coalesce(%(effect)s, effect),
                proof = coalesce(%(proof)s, proof),
                confirm = coalesce(%(confirm)s::boolean, confirm),
                bound = coalesce(%(bound)s::jsonb, bound),
                label = coalesce(%(label)s::jsonb, label),
                version = version + 1
            where tool_name = %(tool_name)s and (%(seen)s::integer is null or version = %(seen)s)
            returning id, tool_name, description, parameters_schema, category, effect, proof, confirm, bound, label,
                      version, created_at
            """,
            {**params, "tool_name": tool_name, "seen": seen},
        )
        return await cursor.fetchone()


async def find_by_name(conn: Conn, *, tool_name: str) -> Tool | None:
    async with conn.cursor(row_factory=class_row(Tool)) as cursor:
        # By the name a model calls it.
        await cursor.execute(
            """
            select id, tool_name, description, parameters_schema, category, effect, proof, confirm, bound, label,
                   version, created_at
            from tools
            where tool_name = %(tool_name)s
            """,
            {"tool_name": tool_name},
        )
        return await cursor.fetchone()


async def list_all(conn: Conn) -> list[Tool]:
    """The catalogue, by category and name."""
    async with conn.cursor(row_factory=class_row(Tool)) as cursor:
        # Every tool.
        await cursor.execute(
            """
            select id, tool_name, description, parameters_schema, category, effect, proof, confirm, bound, label,
                   version, created_at
            from tools
            order by category, tool_name
            """
        )
        return await cursor.fetchall()


async def delete(conn: Conn, *, tool_name: str) -> bool:
    """Every client loses it. What was done with it stays on record. False when there is no such tool."""
    # Off every client's list too: their rows go with it.
    cursor = await conn.execute(
        "delete from tools where tool_name = %(tool_name)s returning id", {"tool_name": tool_name}
    )
    return await cursor.fetchone() is not None
