"""`frontdesk client`."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import click

from server.cli.shared import Group, data_dir_option, database, json_option, print_json, secret_keys, with_connection
from server.clients import Clients, script
from server.errors import Conflict, Invalid, NotFound
from server.net.origin import normal_origin
from server.net.signing import Keyring
from server.net.vault import Vault
from server.repositories import clients
from server.repositories.clients import Client
from server.repositories.pool import Conn, open_pool

T = TypeVar("T")


@click.group(cls=Group)
def client() -> None:
    """Clients: the businesses whose websites have a front desk."""


@client.command()
@click.option("--name", required=True, help="As visitors know the business.")
@click.option("--domain", required=True, help="Its domain, e.g. bobspizza.com.")
@click.option(
    "--origin", "origins", multiple=True, help="An origin its pages have; https:// and www. of the domain unless told."
)
@click.option("--plan", default="free", show_default=True, help="Which plan's limits apply.")
@data_dir_option
@json_option
def create(*, name: str, domain: str, origins: tuple[str, ...], plan: str, data_dir: Path, as_json: bool) -> None:
    """Create a client. Its keys and the embed code are printed now, and the secret key never again."""
    allowed = [_origin(each) for each in origins]

    async def work(all_clients: Clients) -> tuple[Client, str]:
        return await all_clients.create(name=name, domain=domain, allowed_origins=allowed, plan=plan)

    made, secret = _with_clients(data_dir, work)
    if as_json:
        print_json({"id": made.id, "public_key": made.public_key, "api_key": secret, "embed": embed(made)})
        return
    click.echo(f"client       {made.id} {made.name}")
    click.echo(f"origins      {', '.join(made.allowed_origins)}")
    click.echo(f"public key   {made.public_key}")
    click.echo(f"secret key   {secret}   (shown once: keep it)")
    click.echo(f"embed code   {embed(made)}")


@client.command("list")
@data_dir_option
@json_option
def show(data_dir: Path, as_json: bool) -> None:
    """List all clients."""

    async def work(conn: Conn, _keyring: Keyring) -> list[Client]:
        return await clients.list_all(conn)

    rows = with_connection(data_dir, work)
    if as_json:
        print_json(
            [
                {
                    "id": row.id,
                    "name": row.name,
                    "domain": row.domain,
                    "public_key": row.public_key,
                    "plan": row.plan_type,
                    "status": row.status,
                }
                for row in rows
            ]
        )
        return
    for row in rows:
        click.echo(f"{row.id:>6}  {row.status:9}  {row.plan_type:8}  {row.public_key}  {row.name} ({row.domain})")
    if not rows:
        click.echo("no clients yet: `frontdesk client create` makes one")


@client.command("rotate-key")
@click.argument("client_id", type=int)
@data_dir_option
@json_option
def rotate_key(client_id: int, data_dir: Path, as_json: bool) -> None:
    """Make a new secret key; the old one stops working at once."""

    async def work(all_clients: Clients) -> str:
        return await all_clients.rotate_api_key(client_id)

    secret = _with_clients(data_dir, work, client_id)
    if as_json:
        print_json({"id": client_id, "api_key": secret})
        return
    click.echo(f"secret key   {secret}   (shown once: keep it)")


@client.command()
@click.argument("client_id", type=int)
@click.option("--undo", is_flag=True, help="Make it active again.")
@data_dir_option
def suspend(client_id: int, undo: bool, data_dir: Path) -> None:
    """Suspend a client: its widget says so within seconds and no model is called."""

    async def work(all_clients: Clients) -> Client:
        return await all_clients.set_status(client_id, "active" if undo else "suspended")

    changed = _with_clients(data_dir, work, client_id)
    click.echo(f"client {client_id} is {changed.status}")


@client.command("identity-secret")
@click.argument("client_id", type=int)
@click.option("--rotate", is_flag=True, help="Make another; whoever the old one vouched for is unverified at once.")
@data_dir_option
@json_option
def identity_secret(*, client_id: int, rotate: bool, data_dir: Path, as_json: bool) -> None:
    """Make the secret with which the client's backend vouches for visitors.

    The backend signs a JWT with it (HS256; `sub` is its own name for the person, `exp` the expiry, `email` and `name`
    may be given), and the page hands it to the widget. The secret is printed now and never again.
    """

    async def work(all_clients: Clients) -> str:
        try:
            return await all_clients.new_identity_secret(client_id, rotate=rotate)
        except Conflict:
            raise Conflict(
                f"client {client_id} has an identity secret, which was shown once; --rotate makes another and ends it"
            ) from None

    secret = _with_clients(data_dir, work, client_id)
    if as_json:
        print_json({"id": client_id, "identity_secret": secret})
        return
    click.echo(f"identity secret   {secret}   (shown once: keep it)")


def embed(row: Client) -> str:
    """What goes into the website's HTML."""
    return script(row.public_key, os.environ.get("FRONTDESK_PUBLIC_URL", "") or "http://localhost:8000")


def _with_clients(data_dir: Path, work: Callable[[Clients], Awaitable[T]], client_id: int | None = None) -> T:
    """Runs one piece of work; `client_id` is whom it is about."""
    keys = secret_keys(data_dir)

    async def run(url: str) -> T:
        pool = await open_pool(url, max_size=1, application_name="frontdesk cli")
        try:
            return await work(Clients(pool, Keyring(keys), Vault(keys)))
        except NotFound:
            raise NotFound(f"there is no client {client_id}; `frontdesk client list` shows them") from None
        finally:
            await pool.close()

    with database(data_dir) as url:
        return asyncio.run(run(url))


def _origin(text: str) -> str:
    origin = normal_origin(text)
    if origin is None:
        raise Invalid(f"--origin {text!r} is not an origin; it may be such as https://www.example.com", field="origin")
    return origin
