"""`frontdesk integration`."""

from pathlib import Path
from typing import BinaryIO, get_args

import click

from server import log
from server.cli.setting_up import client_option, contents, with_setup
from server.cli.shared import Group, data_dir_option, json_option, print_json
from server.errors import Invalid
from server.repositories.endpoints import Endpoint
from server.tools.connections.check import Verdict
from server.tools.connections.kinds import IntegrationType
from server.tools.setup import definition
from server.tools.setup import endpoints as setup_endpoints
from server.tools.setup import integrations as setup_integrations
from server.tools.setup.base import Setup
from server.tools.setup.definition import EndpointDefinition
from server.tools.setup.integrations import IntegrationView
from server.tools.sql.databases import Databases

config_option = click.option(
    "--config",
    type=click.File("rb"),
    help="JSON, secrets included; - for standard input, so that they are in no shell's history.",
)
id_argument = click.argument("integration_id", metavar="ID", type=int)


@click.group(cls=Group)
def integration() -> None:
    """Integrations: what the AI may look up in a client's own systems."""


@integration.command()
@client_option
@click.option("--type", "integration_type", required=True, type=click.Choice(get_args(IntegrationType)))
@config_option
@data_dir_option
@json_option
def add(*, client_id: int, integration_type: str, config: BinaryIO | None, data_dir: Path, as_json: bool) -> None:
    """Connect a client's system. Nothing is called yet: `test` does that."""
    raw = _config(config)

    async def work(setup: Setup) -> IntegrationView:
        return await setup_integrations.create_integration(
            setup, client_id=client_id, integration_type=integration_type, config=raw
        )

    _show(with_setup(data_dir, work), as_json=as_json)


@integration.command()
@id_argument
@client_option
@config_option
@click.option("--enable/--disable", "enabled", default=None, help="Whether the AI may look things up there.")
@data_dir_option
@json_option
def update(
    *, integration_id: int, client_id: int, config: BinaryIO | None, enabled: bool | None, data_dir: Path, as_json: bool
) -> None:
    """Change how a system is reached: the whole configuration, secrets included. Or pause it."""
    if config is None and enabled is None:
        raise click.UsageError("give --config, --enable or --disable")
    raw = None if config is None else _config(config)

    async def work(setup: Setup) -> IntegrationView:
        return await setup_integrations.update_integration(
            setup, client_id=client_id, integration_id=integration_id, config=raw, enabled=enabled
        )

    _show(with_setup(data_dir, work), as_json=as_json)


@integration.command("list")
@client_option
@data_dir_option
@json_option
def show(client_id: int, data_dir: Path, as_json: bool) -> None:
    """List a client's systems, without their secrets."""

    async def work(setup: Setup) -> list[IntegrationView]:
        return await setup_integrations.list_integrations(setup, client_id=client_id)

    rows = with_setup(data_dir, work)
    if as_json:
        print_json(rows)
        return
    for row in rows:
        click.echo(_line(row))
    if not rows:
        click.echo(f"client {client_id} has no integrations: `frontdesk integration add` makes one")


@integration.command()
@id_argument
@client_option
@data_dir_option
@json_option
def test(integration_id: int, client_id: int, data_dir: Path, as_json: bool) -> None:
    """Call a system, and say whether it answers and what to do. Exits with 1 when it does not."""

    # The verdict says it; standard output is for nothing else.
    log.configure("ERROR", "text")

    async def work(setup: Setup) -> Verdict:
        databases = Databases(setup.egress)
        try:
            return await setup_integrations.test_integration(
                setup, databases, client_id=client_id, integration_id=integration_id
            )
        finally:
            await databases.close()

    verdict = with_setup(data_dir, work)
    if as_json:
        print_json(verdict)
    else:
        click.echo(f"{'works' if verdict.ok else 'fails'}   {verdict.message}   ({verdict.ms} ms)")
        if verdict.advice:
            click.echo(f"advice  {verdict.advice}")
    if not verdict.ok:
        raise click.exceptions.Exit(1)


@integration.command()
@id_argument
@client_option
@data_dir_option
def remove(integration_id: int, client_id: int, data_dir: Path) -> None:
    """Forget a system and its endpoints."""

    async def work(setup: Setup) -> None:
        await setup_integrations.delete_integration(setup, client_id=client_id, integration_id=integration_id)

    with_setup(data_dir, work)
    click.echo(f"integration {integration_id} of client {client_id} is removed")


@integration.command()
@id_argument
@client_option
@data_dir_option
@json_option
def endpoints(integration_id: int, client_id: int, data_dir: Path, as_json: bool) -> None:
    """List what may be looked up in a system."""

    async def work(setup: Setup) -> list[Endpoint]:
        return await setup_endpoints.list_endpoints(setup, client_id=client_id, integration_id=integration_id)

    _show_endpoints(with_setup(data_dir, work), as_json=as_json)


@integration.command("add-endpoint")
@id_argument
@client_option
@click.option("--file", required=True, type=click.File("rb"), help="An endpoint as JSON; - for standard input.")
@data_dir_option
@json_option
def add_endpoint(*, integration_id: int, client_id: int, file: BinaryIO, data_dir: Path, as_json: bool) -> None:
    """Let the AI look something up: a path below the system's address, or a statement."""
    wanted = definition.read(EndpointDefinition, contents(file), field="file")

    async def work(setup: Setup) -> list[Endpoint]:
        return [
            await setup_endpoints.create_endpoint(
                setup, client_id=client_id, integration_id=integration_id, definition=wanted
            )
        ]

    _show_endpoints(with_setup(data_dir, work), as_json=as_json)


@integration.command("update-endpoint")
@click.argument("name")
@client_option
@click.option("--file", required=True, type=click.File("rb"), help="The endpoint as JSON; - for standard input.")
@data_dir_option
@json_option
def update_endpoint(*, name: str, client_id: int, file: BinaryIO, data_dir: Path, as_json: bool) -> None:
    """Put another definition in the place of an endpoint's."""
    wanted = definition.read(EndpointDefinition, contents(file), field="file")

    async def work(setup: Setup) -> list[Endpoint]:
        return [
            await setup_endpoints.update_endpoint(setup, client_id=client_id, endpoint_name=name, definition=wanted)
        ]

    _show_endpoints(with_setup(data_dir, work), as_json=as_json)


@integration.command("remove-endpoint")
@click.argument("name")
@client_option
@data_dir_option
def remove_endpoint(name: str, client_id: int, data_dir: Path) -> None:
    """Take a look-up from the AI."""

    async def work(setup: Setup) -> None:
        await setup_endpoints.delete_endpoint(setup, client_id=client_id, endpoint_name=name)

    with_setup(data_dir, work)
    click.echo(f"endpoint {name} of client {client_id} is removed")


@integration.command()
@id_argument
@client_option
@data_dir_option
@json_option
def preset(integration_id: int, client_id: int, data_dir: Path, as_json: bool) -> None:
    """Make the usual endpoints of a Shopify or WooCommerce shop."""

    async def work(setup: Setup) -> list[Endpoint]:
        return await setup_endpoints.apply_preset(setup, client_id=client_id, integration_id=integration_id)

    _show_endpoints(with_setup(data_dir, work), as_json=as_json)


def _config(file: BinaryIO | None) -> str:
    if file is None:
        raise click.UsageError("give --config FILE, or --config - for standard input")
    try:
        return contents(file).decode()
    except UnicodeDecodeError as error:
        raise Invalid("connection_config must be JSON in UTF-8", field="connection_config") from error


def _show(row: IntegrationView, *, as_json: bool) -> None:
    if as_json:
        print_json(row)
        return
    click.echo(_line(row))


def _line(row: IntegrationView) -> str:
    state = "enabled" if row.enabled else "paused"
    tested = f"{row.last_sync_test:%Y-%m-%d %H:%M}" if row.last_sync_test else "never tested"
    result = row.last_test_result or {}
    verdict = f" {'works' if result.get('ok') else 'fails'}" if result else ""
    return f"{row.id:>6}  {row.integration_type:17} {state:8} {tested}{verdict}  {row.problem or ''}".rstrip()


def _show_endpoints(rows: list[Endpoint], *, as_json: bool) -> None:
    if as_json:
        print_json(rows)
        return
    for row in rows:
        first = row.endpoint_url.splitlines()[0][:60]
        click.echo(f"{row.endpoint_name:32} {row.method:6} {row.effect:10} {row.proof:9} {first}")
    if not rows:
        click.echo("no endpoints yet: `frontdesk integration add-endpoint` or `preset` makes some")
