"""`frontdesk doctor`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import click

from server import log
from server.cli.shared import data_dir_option, json_option, print_json, settings_of
from server.doctor import Means, examine_client, examine_installation, has_tables, report
from server.errors import FrontdeskError, SettingsError, Unavailable
from server.llm.registry import Registry, build_registry
from server.net.egress import Egress
from server.net.vault import Vault
from server.protocol.admin.doctor import DoctorReport, Finding
from server.repositories.pool import Pool, open_pool
from server.services import open_redis
from server.settings import Settings

_COLOR = {"ok": "green", "warning": "yellow", "error": "red"}
_MARK = {"ok": "ok", "warning": "look at", "error": "wrong"}
# Connections to Postgres: the checks run side by side.
_POOL = 4


@click.command()
@click.option("--client", "client_id", type=int, help="Look at this client as well.")
@data_dir_option
@json_option
def doctor(*, client_id: int | None, data_dir: Path, as_json: bool) -> None:
    """Say what is wrong and what to do: database, Redis, migrations, model, n8n, egress, origins.

    Exits with 1 when something is wrong.
    """
    log.configure("ERROR", "text")
    try:
        with settings_of(data_dir) as settings:
            told = asyncio.run(_examine(settings, client_id))
    except (SettingsError, Unavailable) as error:
        told = report([_failed("settings", error)], client_id=client_id)
    except FrontdeskError as error:
        raise click.ClickException(error.message) from error
    if as_json:
        print_json(told)
    else:
        _say(told)
    if not told.ok:
        raise click.exceptions.Exit(1)


async def _examine(settings: Settings, client_id: int | None) -> DoctorReport:
    async with _means(settings) as (means, missing):
        findings = await examine_installation(means)
        if client_id is not None and has_tables(findings):
            findings += await examine_client(means, client_id)
    return report([*missing, *findings], client_id=client_id)


@asynccontextmanager
async def _means(settings: Settings) -> AsyncIterator[tuple[Means, list[Finding]]]:
    """What can be opened, and a finding for each that cannot."""
    findings: list[Finding] = []
    async with AsyncExitStack() as stack:
        redis = open_redis(settings.redis_url)
        stack.push_async_callback(redis.aclose)
        egress = Egress(settings.allow_private_egress)
        stack.push_async_callback(egress.close)
        pool: Pool | None = None
        registry: Registry | None = None
        try:
            pool = await open_pool(settings.database_url, max_size=_POOL, application_name="frontdesk doctor")
            stack.push_async_callback(pool.close)
        except Unavailable as error:
            findings.append(_failed("database", error, "Start it, or correct DATABASE_URL."))
        try:
            registry = await build_registry(settings.llm)
            stack.push_async_callback(registry.close)
        except SettingsError as error:
            findings.append(_failed("model", error))
        yield Means(settings, redis, egress, Vault(settings.secret_keys), pool, registry), findings


def _failed(check: str, error: FrontdeskError, advice: str = "Correct it, and run the doctor again.") -> Finding:
    return Finding(check=check, status="error", says=error.message, advice=advice, ms=0)


def _say(told: DoctorReport) -> None:
    """One line each."""
    for each in told.findings:
        mark = click.style(f"{_MARK[each.status]:<8}", fg=_COLOR[each.status])
        click.echo(f"{mark} {each.check:<15} {each.says}" + (f". {each.advice}" if each.advice else ""))
    wrong = sum(each.status == "error" for each in told.findings)
    look = sum(each.status == "warning" for each in told.findings)
    click.echo(f"{wrong} wrong, {look} to look at, {len(told.findings) - wrong - look} well")
