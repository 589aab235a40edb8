"""`frontdesk secrets`."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import click
import msgspec

from server.cli.shared import Group, data_dir_option, json_option, print_json, secret_keys, with_connection
from server.errors import SecretUnreadable
from server.net import vault
from server.net.signing import Keyring
from server.net.vault import Field, Vault
from server.repositories import ciphertexts
from server.repositories.ciphertexts import Sealed
from server.repositories.pool import Conn

# Ciphertexts read at once: of some 500 bytes each.
PAGE = 200

Pages = Callable[..., Awaitable[list[Sealed]]]
Replace = Callable[..., Awaitable[bool]]

_KINDS: tuple[tuple[Field, Pages, Replace], ...] = (
    (vault.SIGNING_SECRET, ciphertexts.list_signing_secrets, ciphertexts.replace_signing_secret),
    (vault.CONNECTION_CONFIG, ciphertexts.list_connection_configs, ciphertexts.replace_connection_config),
    (vault.IDENTITY_SECRET, ciphertexts.list_identity_secrets, ciphertexts.replace_identity_secret),
)


class Unreadable(msgspec.Struct):
    """A ciphertext that no key opens: whose, of what, and why."""

    client_id: int
    owner: str
    reason: str


class Report(msgspec.Struct):
    """What became of the ciphertexts. In a dry run `resealed` counts those that would be."""

    dry_run: bool
    resealed: int = 0
    current: int = 0
    unreadable: list[Unreadable] = []


@click.group(cls=Group)
def secrets() -> None:
    """What the deployment keeps sealed: signing secrets, connections, identity secrets."""


@secrets.command()
@click.option("--dry-run", is_flag=True, help="Change nothing, say what would be.")
@data_dir_option
@json_option
def rotate(*, dry_run: bool, data_dir: Path, as_json: bool) -> None:
    """Seal everything with the first key of FRONTDESK_SECRET_KEYS.

    \b
    To change the deployment's key:
      1. append the new key to FRONTDESK_SECRET_KEYS on every server, and restart them
      2. move it to the front on every server, and restart them
      3. run this command; run again, it changes nothing more

    After that no ciphertext needs the old key. But API keys and session tokens are stored as HMACs, which cannot be
    made anew without the credential itself: those made under the old key are accepted only as long as it stays in the
    list. If you remove it, these API keys stop working (`frontdesk client rotate-key` makes another) and these visitors
    begin new chats.

    Exits with 1 when something cannot be opened, and names it.
    """
    keys = Vault(secret_keys(data_dir))

    async def work(conn: Conn, _keyring: Keyring) -> Report:
        report = Report(dry_run)
        for field, pages, replace in _KINDS:
            await _reseal(conn, keys, report, field=field, pages=pages, replace=replace)
        return report

    report = with_connection(data_dir, work)
    if as_json:
        print_json(report)
    else:
        _say(report)
    if report.unreadable:
        raise click.exceptions.Exit(1)


async def _reseal(conn: Conn, keys: Vault, report: Report, *, field: Field, pages: Pages, replace: Replace) -> None:
    after_id = 0
    while page := await pages(conn, after_id=after_id, limit=PAGE):
        for row in page:
            try:
                text = keys.open(row.ciphertext, client_id=row.client_id, field=field)
            except SecretUnreadable as error:
                report.unreadable.append(Unreadable(row.client_id, row.owner, error.message))
            else:
                if keys.is_current(row.ciphertext):
                    report.current += 1
                elif report.dry_run:
                    report.resealed += 1
                else:
                    new = keys.seal(text, client_id=row.client_id, field=field)
                    if not await replace(conn, client_id=row.client_id, row_id=row.id, old=row.ciphertext, new=new):
                        break  # somebody changed it since it was read: read on from here
                    report.resealed += 1
            after_id = row.id


def _say(report: Report) -> None:
    done = "to re-seal" if report.dry_run else "re-sealed"
    click.echo(f"{done:<12} {report.resealed}")
    click.echo(f"{'current':<12} {report.current}")
    click.echo(f"{'unreadable':<12} {len(report.unreadable)}")
    for each in report.unreadable:
        click.echo(f"client {each.client_id}, {each.owner}: {each.reason}", err=True)
