"""`frontdesk migrate`."""

import asyncio
from pathlib import Path

import click
import msgspec

from server.cli.shared import Group, data_dir_option, database, json_option, print_json
from server.llm.pricing import seed_prices
from server.repositories import migrations, prices
from server.repositories.pool import open_pool, reading
from server.repositories.prices import PriceRow


@click.group(cls=Group)
def migrate() -> None:
    """Bring the database's tables up to date, or take them down."""


@migrate.command()
@data_dir_option
def up(data_dir: Path) -> None:
    """Apply every migration that is missing, and the list prices of known models."""
    with database(data_dir) as url:
        applied = upgrade(url)
    for name in applied:
        click.echo(f"applied {name}")
    click.echo("the schema is up to date")


@migrate.command()
@click.option("--all", "everything", is_flag=True, help="Take all of them down. Every table and its rows go.")
@data_dir_option
def down(data_dir: Path, everything: bool) -> None:
    """Roll the last migration back."""
    with database(data_dir) as url:
        names = migrations.downgrade(url, all=everything)
    for name in names:
        click.echo(f"rolled back {name}")
    if not names:
        click.echo("nothing to roll back")


@migrate.command()
@data_dir_option
@json_option
def status(data_dir: Path, as_json: bool) -> None:
    """Say which migrations are applied."""
    with database(data_dir) as url:
        rows = migrations.status(url)
    if as_json:
        print_json(rows)
        return
    for row in rows:
        click.echo(f"{row.name:40} {row.applied_at:%Y-%m-%d %H:%M}" if row.applied_at else f"{row.name:40} -")


def upgrade(url: str) -> list[str]:
    """Migrations, then prices: an answer's cost needs both."""
    applied = migrations.upgrade(url)
    asyncio.run(_load_prices(url))
    return applied


async def _load_prices(url: str) -> None:
    pool = await open_pool(url, max_size=1, application_name="frontdesk migrate")
    try:
        async with reading(pool) as conn:
            rows = [msgspec.convert(price, PriceRow, from_attributes=True) for price in seed_prices()]
            await prices.upsert_all(conn, prices=rows)
    finally:
        await pool.close()
