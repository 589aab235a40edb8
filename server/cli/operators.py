"""`frontdesk operator`."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar, get_args

import click

from server import ids
from server.cli.shared import Group, data_dir_option, database, json_option, print_json, secret_keys
from server.net.signing import Keyring
from server.protocol.admin.session import Role
from server.repositories.operators import Operator
from server.repositories.pool import open_pool
from server.staff.accounts import Accounts

T = TypeVar("T")

ask_option = click.option("--ask", is_flag=True, help="Ask for the password; otherwise one is made and printed once.")


@click.group(cls=Group)
def operator() -> None:
    """Operators: the people who watch conversations and answer."""


@operator.command()
@click.option("--email", required=True, help="With which they sign in.")
@click.option(
    "--role",
    required=True,
    type=click.Choice(get_args(Role)),
    help="owner: everything; admin: all of a client, or without --client of all; operator: a client's conversations.",
)
@click.option("--client", "client_id", type=int, help="Whose conversations; an operator has one, an owner none.")
@click.option("--name", help="As visitors see it; the e-mail address up to its @ unless told.")
@ask_option
@data_dir_option
@json_option
def create(
    *, email: str, role: str, client_id: int | None, name: str | None, ask: bool, data_dir: Path, as_json: bool
) -> None:
    """Create somebody who may sign in to the console."""
    password = _password(ask=ask)

    async def work(accounts: Accounts) -> Operator:
        return await accounts.create(
            email=email, name=name or email.partition("@")[0], role=role, client_id=client_id, password=password
        )

    _say(_with_accounts(data_dir, work), None if ask else password, as_json=as_json)


@operator.command("list")
@data_dir_option
@json_option
def show(data_dir: Path, as_json: bool) -> None:
    """List all operators."""

    async def work(accounts: Accounts) -> list[Operator]:
        return await accounts.list_all()

    rows = _with_accounts(data_dir, work)
    if as_json:
        print_json([_told(row) for row in rows])
        return
    for row in rows:
        whose = f"client {row.client_id}" if row.client_id is not None else "all clients"
        click.echo(f"{row.id:>6}  {row.status:8}  {row.role:8}  {whose:14}  {row.email}  {row.name}")
    if not rows:
        click.echo("no operators yet: `frontdesk operator create` makes one")


@operator.command("reset-password")
@click.argument("email")
@ask_option
@data_dir_option
@json_option
def reset_password(email: str, ask: bool, data_dir: Path, as_json: bool) -> None:
    """Give an operator another password. They are signed out everywhere, and a lock-out of theirs ends."""
    password = _password(ask=ask)

    async def work(accounts: Accounts) -> Operator:
        return await accounts.reset_password(email, password)

    _say(_with_accounts(data_dir, work), None if ask else password, as_json=as_json)


@operator.command()
@click.argument("email")
@click.option("--undo", is_flag=True, help="Let them in again.")
@data_dir_option
@json_option
def disable(email: str, undo: bool, data_dir: Path, as_json: bool) -> None:
    """Disable an operator: signed out everywhere within 5 seconds, and let in no more."""

    async def work(accounts: Accounts) -> Operator:
        return await (accounts.enable(email) if undo else accounts.disable(email))

    changed = _with_accounts(data_dir, work)
    if as_json:
        print_json(_told(changed))
        return
    click.echo(f"operator {changed.id} {changed.email} is {changed.status}")


def _with_accounts(data_dir: Path, work: Callable[[Accounts], Awaitable[T]]) -> T:
    async def run(url: str) -> T:
        pool = await open_pool(url, max_size=1, application_name="frontdesk cli")
        try:
            return await work(Accounts(pool, Keyring(secret_keys(data_dir))))
        finally:
            await pool.close()

    with database(data_dir) as url:
        return asyncio.run(run(url))


def _password(*, ask: bool) -> str:
    if not ask:
        return ids.password()
    given: str = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    return given


def _say(row: Operator, password: str | None, *, as_json: bool) -> None:
    if as_json:
        print_json({**_told(row), **({} if password is None else {"password": password})})
        return
    click.echo(f"operator     {row.id} {row.email} ({row.role})")
    if password is not None:
        click.echo(f"password     {password}   (shown once: keep it)")


def _told(row: Operator) -> dict[str, object]:
    return {
        "id": row.id,
        "email": row.email,
        "name": row.name,
        "role": row.role,
        "client_id": row.client_id,
        "status": row.status,
    }
