"""`frontdesk tool`."""

from pathlib import Path
from typing import Any, BinaryIO, get_args

import click
from msgspec import UNSET

from server.cli.setting_up import client_option, contents, with_setup
from server.cli.shared import Group, data_dir_option, json_option, print_json
from server.cli.trials import call
from server.repositories.tools import Tool
from server.tools.setup import definition
from server.tools.setup import tools as setup_tools
from server.tools.setup.base import Setup
from server.tools.setup.definition import ToolDefinition, ToolOptions
from server.tools.setup.tools import ClientToolView, Enabled
from server.tools.tool import Proof


@click.group(cls=Group)
def tool() -> None:
    """Tools: what the AI may do, by webhooks such as n8n's."""


tool.add_command(call)


@tool.command()
@click.option(
    "--file", required=True, type=click.File("rb"), help="A tool as JSON; - for standard input. The README shows one."
)
@data_dir_option
@json_option
def define(*, file: BinaryIO, data_dir: Path, as_json: bool) -> None:
    """Put a tool into the catalogue, for every client to enable, or replace its definition."""
    wanted = definition.read(ToolDefinition, contents(file), field="file")

    async def work(setup: Setup) -> tuple[Tool, bool]:
        return await setup_tools.define_tool(setup, wanted)

    made, new = with_setup(data_dir, work)
    if as_json:
        print_json(made)
        return
    click.echo(f"tool {made.tool_name} is {'defined' if new else 'changed, for every client that has it'}")


@tool.command("list")
@click.option("--client", "client_id", type=int, help="What is enabled for this client.")
@data_dir_option
@json_option
def show(*, client_id: int | None, data_dir: Path, as_json: bool) -> None:
    """List the catalogue, or what a client uses of it."""

    async def all_tools(setup: Setup) -> list[Tool]:
        return await setup_tools.list_catalogue(setup)

    async def clients_tools(setup: Setup) -> list[ClientToolView]:
        return await setup_tools.list_tools(setup, client_id=client_id or 0)

    if client_id is None:
        catalogue = with_setup(data_dir, all_tools)
        lines = [f"{row.tool_name:32} {row.effect:10} {row.proof:9} {row.category}" for row in catalogue]
        _list(catalogue, lines, "the catalogue is empty: `frontdesk tool define` fills it", as_json=as_json)
        return
    enabled = with_setup(data_dir, clients_tools)
    lines = [f"{row.tool_name:32} {row.effect:10} {row.proof:9} {row.n8n_webhook_url or '-'}" for row in enabled]
    _list(enabled, lines, f"client {client_id} uses no tool: `frontdesk tool enable` lets it", as_json=as_json)


@tool.command()
@click.argument("name")
@client_option
@click.option("--webhook", help="Its own URL; the client's base URL and the tool's name unless told.")
@click.option("--timeout-ms", type=int, help="How long an answer may take; 15000 unless told.")
@click.option("--confirm/--no-confirm", default=None, help="Whether the visitor approves each call.")
@click.option("--proof", type=click.Choice(get_args(Proof)), help="What the visitor must have proven.")
@click.option("--config", type=click.File("rb"), help="JSON that every call carries to the workflow; - for stdin.")
@data_dir_option
@json_option
def enable(
    *,
    name: str,
    client_id: int,
    webhook: str | None,
    timeout_ms: int | None,
    confirm: bool | None,
    proof: Proof | None,
    config: BinaryIO | None,
    data_dir: Path,
    as_json: bool,
) -> None:
    """Let a client's AI use a tool, or change how. A new signing secret is printed now and never again."""
    options = ToolOptions(
        n8n_webhook_url=UNSET if webhook is None else webhook,
        timeout_ms=UNSET if timeout_ms is None else timeout_ms,
        custom_config=UNSET if config is None else definition.read_object(contents(config), field="custom_config"),
        proof=UNSET if proof is None else proof,
        confirm=UNSET if confirm is None else confirm,
    )

    async def work(setup: Setup) -> Enabled:
        return await setup_tools.enable_tool(setup, client_id=client_id, tool_name=name, options=options)

    enabled = with_setup(data_dir, work)
    if as_json:
        print_json(enabled)
        return
    click.echo(f"tool         {name} of client {client_id}")
    click.echo(f"webhook      {enabled.tool.n8n_webhook_url}")
    click.echo(f"proof        {enabled.tool.proof}{', and the visitor approves' if enabled.tool.confirm else ''}")
    if enabled.signing_secret is not None:
        click.echo(f"secret       {enabled.signing_secret}   (shown once: keep it)")


@tool.command()
@click.argument("name")
@client_option
@data_dir_option
def disable(name: str, client_id: int, data_dir: Path) -> None:
    """Take a tool from a client's AI. How it was configured is kept."""

    async def work(setup: Setup) -> None:
        await setup_tools.disable_tool(setup, client_id=client_id, tool_name=name)

    with_setup(data_dir, work)
    click.echo(f"client {client_id} does not use {name} any more")


@tool.command("rotate-secret")
@click.argument("name")
@client_option
@data_dir_option
@json_option
def rotate_secret(name: str, client_id: int, data_dir: Path, as_json: bool) -> None:
    """Make a new signing secret; calls are signed with it at once."""

    async def work(setup: Setup) -> str:
        return await setup_tools.rotate_signing_secret(setup, client_id=client_id, tool_name=name)

    secret = with_setup(data_dir, work)
    if as_json:
        print_json({"client_id": client_id, "tool_name": name, "signing_secret": secret})
        return
    click.echo(f"secret       {secret}   (shown once: keep it)")


@tool.command("base-url")
@click.argument("url", required=False)
@client_option
@click.option("--clear", is_flag=True, help="Only tools with a webhook of their own are called.")
@data_dir_option
def base_url(url: str | None, client_id: int, clear: bool, data_dir: Path) -> None:
    """Set where a client's tools are called: below this URL, each by its name."""
    if (url is None) != clear:
        raise click.UsageError("give a URL, or --clear")

    async def work(setup: Setup) -> str | None:
        return await setup_tools.set_webhook_base_url(setup, client_id=client_id, webhook_base_url=url)

    now = with_setup(data_dir, work)
    click.echo(f"client {client_id} has {f'its tools below {now}' if now else 'no webhook base URL'}")


def _list(rows: list[Any], lines: list[str], empty: str, *, as_json: bool) -> None:
    if as_json:
        print_json(rows)
        return
    for line in lines or [empty]:
        click.echo(line)
