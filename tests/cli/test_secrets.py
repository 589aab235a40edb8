"""`frontdesk secrets` and `frontdesk client identity-secret`."""

import json
import re
from collections.abc import Callable
from typing import Any

import msgspec
import psycopg
import pytest
from click.testing import Result

from server.cli import secrets
from server.net import vault
from server.net.vault import Field, Vault
from tests.cli.conftest import Run, refusal
from tests.support import SECRET_KEYS

OLD, NEW = SECRET_KEYS[0], "fedcba9876543210fedcba9876543210"
BOTH = f"{NEW},{OLD}"


class Kept(msgspec.Struct, frozen=True):
    """A ciphertext in the database, and what it holds."""

    field: Field
    client_id: int
    row_id: int
    text: str


@pytest.fixture
def client(run: Run) -> int:
    """A client's id."""
    made: dict[str, Any] = json.loads(run("client", "create", "--name", "B", "--domain", "b.example", "--json").stdout)
    return int(made["id"])


def keep(database_url: str, client_id: int, *, key: str, name: str = "one") -> list[Kept]:
    """Seals one secret of each kind with this key."""
    box = Vault((key,))

    def sealed(field: Field) -> bytes:
        return box.seal(f"{field} {name}", client_id=client_id, field=field)

    with psycopg.connect(database_url) as conn:
        # A tool, an integration, an identity secret.
        made = conn.execute(
            """
            with tool as (
                insert into tools (tool_name, description, parameters_schema, category, effect)
                values (%(name)s, 'd', '{}', 'c', 'unsafe') returning id
            ), signing as (
                insert into client_tools (client_id, tool_id, signing_secret)
                select %(client)s, id, %(signing)s from tool returning id
            ), connection as (
                insert into client_integrations (client_id, integration_type, connection_config)
                values (%(client)s, 'custom_api', %(connection)s) returning id
            ), identity as (
                update clients set identity_secret = %(identity)s where id = %(client)s returning id
            )
            select signing.id, connection.id, identity.id from signing, connection, identity
            """,
            {
                "name": name,
                "client": client_id,
                "signing": sealed(vault.SIGNING_SECRET),
                "connection": sealed(vault.CONNECTION_CONFIG),
                "identity": sealed(vault.IDENTITY_SECRET),
            },
        ).fetchone()
    assert made is not None
    fields = (vault.SIGNING_SECRET, vault.CONNECTION_CONFIG, vault.IDENTITY_SECRET)
    return [Kept(field, client_id, row, f"{field} {name}") for field, row in zip(fields, made, strict=True)]


def stored(database_url: str, kept: Kept) -> bytes:
    """The ciphertext as it is now."""
    table, _, column = kept.field.partition(".")
    with psycopg.connect(database_url) as conn:
        row = conn.execute(f"select {column} from {table} where id = %s".encode(), [kept.row_id]).fetchone()
    assert row is not None
    value: bytes = row[0]
    return value


def opened(database_url: str, kept: Kept, key: str) -> str:
    """What it holds, by this key alone."""
    return Vault((key,)).open(stored(database_url, kept), client_id=kept.client_id, field=kept.field)


def counts(result: Result) -> tuple[int, int, int]:
    """Re-sealed, current, unreadable, as JSON says."""
    report = json.loads(result.stdout)
    return report["resealed"], report["current"], len(report["unreadable"])


def test_everything_is_sealed_anew(run: Run, client: int, database_url: str) -> None:
    """With the first key, once; after that the old key is not needed for any of it."""
    kept = keep(database_url, client, key=OLD)
    fresh = keep(database_url, client, key=NEW, name="two")[:2]
    was = stored(database_url, fresh[0])
    result = run("secrets", "rotate", "--json", FRONTDESK_SECRET_KEYS=BOTH)
    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(result.stdout) == {"dry_run": False, "resealed": 2, "current": 3, "unreadable": []}
    for each in (*kept[:2], *fresh):
        assert opened(database_url, each, NEW) == each.text
    assert stored(database_url, fresh[0]) == was, "what is current is not touched"
    assert counts(run("secrets", "rotate", "--json", FRONTDESK_SECRET_KEYS=BOTH)) == (0, 5, 0)
    assert counts(run("secrets", "rotate", "--json", FRONTDESK_SECRET_KEYS=NEW)) == (0, 5, 0)


def test_a_dry_run_changes_nothing(run: Run, client: int, database_url: str) -> None:
    """It counts what it would do."""
    kept = keep(database_url, client, key=OLD)
    before = [stored(database_url, each) for each in kept]
    result = run("secrets", "rotate", "--dry-run", FRONTDESK_SECRET_KEYS=BOTH)
    assert (result.exit_code, result.stdout.split()) == (0, ["to", "re-seal", "3", "current", "0", "unreadable", "0"])
    assert [stored(database_url, each) for each in kept] == before


def test_more_than_a_page(run: Run, client: int, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Page after page, every one once."""
    monkeypatch.setattr(secrets, "PAGE", 2)
    kept = [keep(database_url, client, key=OLD, name=f"tool{number}") for number in range(5)]
    result = run("secrets", "rotate", FRONTDESK_SECRET_KEYS=BOTH)
    assert result.stdout.split() == ["re-sealed", "11", "current", "0", "unreadable", "0"]
    for signing, connection, _ in kept:
        assert opened(database_url, signing, NEW) == signing.text
        assert opened(database_url, connection, NEW) == connection.text


def test_what_cannot_be_opened_is_named(run: Run, client: int, database_url: str) -> None:
    """Sealed with a key that is not listed, or damaged, even with the current key; the others are done all the same."""
    lost = keep(database_url, client, key="x" * 32, name="lost")
    kept = keep(database_url, client, key=OLD, name="kept")
    with psycopg.connect(database_url) as conn:
        damaged = Vault((NEW,)).seal("s", client_id=client + 1, field=vault.CONNECTION_CONFIG)
        conn.execute("update client_integrations set connection_config = %s where id = %s", [damaged, kept[1].row_id])
    result = run("secrets", "rotate", FRONTDESK_SECRET_KEYS=BOTH)
    assert result.exit_code == 1
    assert result.stdout.split() == ["re-sealed", "2", "current", "0", "unreadable", "3"]
    named = [line.partition(": ")[0] for line in result.stderr.splitlines()]
    assert named == [
        f"client {client}, tool lost",
        f"client {client}, integration {lost[1].row_id} (custom_api)",
        f"client {client}, integration {kept[1].row_id} (custom_api)",
    ]
    assert "does not list" in result.stderr and "another client or field" in result.stderr
    again = run("secrets", "rotate", "--json", FRONTDESK_SECRET_KEYS=BOTH)
    assert (again.exit_code, counts(again)) == (1, (0, 2, 3))
    assert {each["owner"] for each in json.loads(again.stdout)["unreadable"]} >= {"tool lost"}
    assert opened(database_url, kept[0], NEW) == kept[0].text


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_concurrent_change_wins(
    run: Run, client: int, database_url: str, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """A secret that somebody replaces between the read and the write is not overwritten; theirs is sealed anew."""
    target = keep(database_url, client, key=OLD)[at]
    table, _, column = target.field.partition(".")
    theirs = Vault((OLD,)).seal("theirs", client_id=client, field=target.field)
    seal: Callable[..., bytes] = Vault.seal
    met: list[Field] = []

    def meanwhile(self: Vault, text: str, *, client_id: int, field: Field) -> bytes:
        if field == target.field and field not in met:
            with psycopg.connect(database_url) as conn:
                conn.execute(f"update {table} set {column} = %s where id = %s".encode(), [theirs, target.row_id])
        met.append(field)
        return seal(self, text, client_id=client_id, field=field)

    monkeypatch.setattr(Vault, "seal", meanwhile)
    result = run("secrets", "rotate", "--json", FRONTDESK_SECRET_KEYS=BOTH)
    assert (result.exit_code, counts(result)) == (0, (3, 0, 0))
    assert met.count(target.field) == 2
    assert opened(database_url, target, NEW) == "theirs"


def test_nothing_to_do(run: Run) -> None:
    """An empty database has no secrets."""
    assert counts(run("secrets", "rotate", "--json")) == (0, 0, 0)


def test_its_help_says_what_still_needs_the_old_key(run: Run) -> None:
    """Before somebody removes it."""
    said = " ".join(run("secrets", "rotate", "-h").stdout.split())
    assert "API keys and session tokens are stored as HMACs" in said
    assert "If you remove it, these API keys stop working" in said


def test_an_identity_secret_is_made_once(run: Run, client: int, database_url: str) -> None:
    """Shown when it is made, and again only when another is made; in the database it is sealed."""
    made = run("client", "identity-secret", str(client), "--json")
    first = json.loads(made.stdout)
    assert set(first) == {"id", "identity_secret"}
    assert re.fullmatch(r"ids_[0-9a-f]{64}", first["identity_secret"])
    kept = Kept(vault.IDENTITY_SECRET, client, client, "")
    assert opened(database_url, kept, OLD) == first["identity_secret"]
    assert first["identity_secret"].encode() not in stored(database_url, kept)
    assert refusal(run("client", "identity-secret", str(client))) == (
        f"client {client} has an identity secret, which was shown once; --rotate makes another and ends it"
    )
    assert opened(database_url, kept, OLD) == first["identity_secret"]
    said = run("client", "identity-secret", str(client), "--rotate").stdout
    match = re.fullmatch(r"identity secret   (ids_[0-9a-f]{64})   \(shown once: keep it\)\n", said)
    assert match is not None and match[1] != first["identity_secret"]
    assert opened(database_url, kept, OLD) == match[1]


def test_an_identity_secret_of_nobody(run: Run) -> None:
    """Says which clients there are."""
    for more in ([], ["--rotate"]):
        said = refusal(run("client", "identity-secret", "99", *more))
        assert said == "there is no client 99; `frontdesk client list` shows them"
