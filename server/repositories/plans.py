"""Plans: what a client pays for. System-wide."""

from decimal import Decimal
from typing import Any

import msgspec
from psycopg.rows import class_row

from server.repositories.pool import Conn


class Plan(msgspec.Struct, frozen=True):
    """`monthly_messages` is None where there is no limit; `price` is US dollars a month."""

    name: str
    monthly_messages: int | None
    requests_per_minute: int
    features: dict[str, Any]
    price: Decimal


async def list_all(conn: Conn) -> list[Plan]:
    """Every plan, the cheapest first."""
    async with conn.cursor(row_factory=class_row(Plan)) as cursor:
        # The whole list.
        await cursor.execute(
            "select name, monthly_messages, requests_per_minute, features, price from plans order by price, id"
        )
        return await cursor.fetchall()


async def find(conn: Conn, *, name: str) -> Plan | None:
    async with conn.cursor(row_factory=class_row(Plan)) as cursor:
        # One plan.
        await cursor.execute(
            """
            select name, monthly_messages, requests_per_minute, features, price from plans
            where name = %(name)s
            """,
            {"name": name},
        )
        return await cursor.fetchone()
