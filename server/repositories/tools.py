"""The catalogue of tools, shared by all clients: system-wide."""

from datetime import datetime
from typing import Any

import msgspec
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from server.repositories.pool import Conn


class Tool(msgspec.Struct, frozen=True):
    """`parameters_schema` is JSON Schema; `effect` is `read_only`, `idempotent` or `unsafe`; `label` is by locale."""

    id: int
    tool_name: str
    description: str
    parameters_schema: dict[str, Any]
    category: str
    effect: str
    label: dict[str, str]
    created_at: datetime


async def create(
    conn: Conn,
    *,
    tool_name: str,
    description: str,
    parameters_schema: dict[str, Any],
    category: str,
    effect: str,
    label: dict[str, str],
) -> Tool:
    """Raises Conflict `tool_exists`."""
    async with conn.cursor(row_factory=class_row(Tool)) as cursor:
        # A tool for every client to enable.
        await cursor.execute(
            """
            insert into tools (tool_name, description, parameters_schema, category, effect, label)
            values (%(tool_name)s, %(description)s, %(parameters_schema)s, %(category)s, %(effect)s, %(label)s)
            returning id, tool_name, description, parameters_schema, category, effect, label, created_at
            """,
            {
                "tool_name": tool_name,
                "description": description,
                "parameters_schema": Jsonb(parameters_schema, dumps=msgspec.json.encode),
                "category": category,
                "effect": effect,
                "label": Jsonb(label, dumps=msgspec.json.encode),
            },
        )
        row = await cursor.fetchone()
        assert row is not None
        return row


async def find_by_name(conn: Conn, *, tool_name: str) -> Tool | None:
    async with conn.cursor(row_factory=class_row(Tool)) as cursor:
        # By the name a model calls it.
        await cursor.execute(
            """
            select id, tool_name, description, parameters_schema, category, effect, label, created_at from tools
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
            select id, tool_name, description, parameters_schema, category, effect, label, created_at from tools
            order by category, tool_name
            """
        )
        return await cursor.fetchall()
