"""The `frontdesk` command against a real database. Commands that end soon run in this process, servers in their own."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner

from server import __version__
from server.cli import main
from server.net.signing import Keyring
from tests.cli.conftest import Run, refusal
from tests.support import SECRET_KEYS

# Seconds a command may take on a busy machine; none takes more than three.
PATIENCE_S = 30


def spawn(environment: dict[str, str | None], *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Runs a command in a process of its own, until it ends."""
    kept = {name: value for name, value in os.environ.items() if name not in environment}
    given = {name: value for name, value in environment.items() if value is not None}
    return subprocess.run(
        [sys.executable, "-c", "from server.cli import main; main(prog_name='frontdesk')", *arguments],
        env={**kept, **given, "PYTHONPATH": str(Path(__file__).parents[2])},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def test_version_and_help(run: Run) -> None:
    """Both, and every command says what it does."""
    assert run("--version").stdout == f"frontdesk, version {__version__}\n"
    for arguments in (
        [],
        ["dev"],
        ["serve"],
        ["migrate", "up"],
        ["migrate", "down"],
        ["client", "create"],
        ["protocol"],
    ):
        result = run(*arguments, "-h")
        assert result.exit_code == 0
        assert result.stdout.startswith("Usage: frontdesk")
    assert run("nonsense").exit_code == 2


def test_migrations_up_down_and_status(environment: dict[str, str | None], empty_database_url: str) -> None:
    """Up says what it applied and knows the prices of models; down takes the newest, or all; status says which."""

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(
            main, ["migrate", *arguments], env={**environment, "DATABASE_URL": empty_database_url}
        )
        assert result.exit_code == 0, result.output
        return result.stdout

    def applied() -> list[bool]:
        return [row["applied_at"] is not None for row in json.loads(run("status", "--json"))]

    count = len(applied())
    assert applied() == [False] * count
    assert len(re.findall(r"^\d{4}\.\S+ +-$", run("status"), re.MULTILINE)) == count
    lines = run("up").splitlines()
    assert lines[-1] == "the schema is up to date"
    assert [bool(re.fullmatch(r"applied \d{4}\.\S+", line)) for line in lines[:-1]] == [True] * count
    assert applied() == [True] * count
    assert len(re.findall(r"^\d{4}\.\S+ +\d{4}-\d\d-\d\d \d\d:\d\d$", run("status"), re.MULTILINE)) == count
    assert run("up") == "the schema is up to date\n"
    with psycopg.connect(empty_database_url) as connection:
        row = connection.execute("select count(*) from model_prices where provider = 'openai'").fetchone()
    assert row is not None
    assert row[0] > 3
    newest = lines[-2].removeprefix("applied ")
    assert run("down") == f"rolled back {newest}\n"
    assert applied() == [True] * (count - 1) + [False]
    assert len(run("down", "--all").splitlines()) == count - 1
    assert run("down") == "nothing to roll back\n"
    assert applied() == [False] * count


def test_a_client_is_created_for_scripts(run: Run, database_url: str) -> None:
    """JSON with the keys and the embed code; the secret key works and is not in the database."""
    result = run("client", "create", "--name", " Bob's ", "--domain", "BobsPizza.com", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    made = json.loads(result.stdout)
    assert set(made) == {"id", "public_key", "api_key", "embed"}
    assert re.fullmatch(r"pk_\w{24}", made["public_key"])
    assert re.fullmatch(r"sk_\w{32}", made["api_key"])
    assert made["embed"] == (
        f'<script async src="http://localhost:8000/widget.js" data-client-key="{made["public_key"]}"></script>'
    )
    with psycopg.connect(database_url) as connection:
        row = connection.execute(
            "select name, domain, allowed_origins, plan_type, status, api_key_hash from clients where id = %s",
            [made["id"]],
        ).fetchone()
    assert row is not None
    assert row[:5] == (
        "Bob's",
        "bobspizza.com",
        ["https://bobspizza.com", "https://www.bobspizza.com"],
        "free",
        "active",
    )
    assert Keyring(SECRET_KEYS).matches("api-key", made["api_key"], row[5])


def test_a_client_is_created_for_people(run: Run) -> None:
    """The same in lines; origins and plan as told, the embed code with the deployment's own address."""
    result = run(
        *("client", "create", "--name", "Jane", "--domain", "jane.example", "--plan", "pro"),
        *("--origin", "HTTPS://Shop.Jane.example:443/x", "--origin", "http://localhost:3000"),
        FRONTDESK_PUBLIC_URL="https://desk.example/",
    )
    assert result.exit_code == 0
    assert "origins      https://shop.jane.example, http://localhost:3000\n" in result.stdout
    assert re.search(r"^secret key   sk_\w{32}   \(shown once: keep it\)$", result.stdout, re.MULTILINE)
    assert 'src="https://desk.example/widget.js"' in result.stdout


def test_the_list_of_clients(run: Run) -> None:
    """Without secrets; empty it says how to make one."""
    assert run("client", "list").stdout == "no clients yet: `frontdesk client create` makes one\n"
    assert json.loads(run("client", "list", "--json").stdout) == []
    made = json.loads(run("client", "create", "--name", "Bob", "--domain", "bob.example", "--json").stdout)
    assert json.loads(run("client", "list", "--json").stdout) == [
        {
            "id": made["id"],
            "name": "Bob",
            "domain": "bob.example",
            "public_key": made["public_key"],
            "plan": "free",
            "status": "active",
        }
    ]
    [line] = run("client", "list").stdout.splitlines()
    assert line.split() == [str(made["id"]), "active", "free", made["public_key"], "Bob", "(bob.example)"]


def test_a_key_is_rotated(run: Run, database_url: str) -> None:
    """A new secret key works and the old one does not; the public key stays."""
    made = json.loads(run("client", "create", "--name", "Bob", "--domain", "bob.example", "--json").stdout)
    rotated = json.loads(run("client", "rotate-key", str(made["id"]), "--json").stdout)
    assert rotated["id"] == made["id"]
    with psycopg.connect(database_url) as connection:
        row = connection.execute("select api_key_hash, api_key_prefix, public_key from clients").fetchone()
    assert row is not None
    assert Keyring(SECRET_KEYS).matches("api-key", rotated["api_key"], row[0])
    assert not Keyring(SECRET_KEYS).matches("api-key", made["api_key"], row[0])
    assert row[1:] == (rotated["api_key"][:8], made["public_key"])


def test_a_client_is_suspended_and_let_back_in(run: Run, database_url: str) -> None:
    """It says so, and so does the list; the log has each change, and nobody of the console who made it."""
    made = json.loads(run("client", "create", "--name", "Bob", "--domain", "bob.example", "--json").stdout)
    for arguments, status in (([], "suspended"), ([], "suspended"), (["--undo"], "active")):
        assert run("client", "suspend", str(made["id"]), *arguments).stdout == f"client {made['id']} is {status}\n"
        [row] = json.loads(run("client", "list", "--json").stdout)
        assert row["status"] == status
    with psycopg.connect(database_url) as connection:
        log = connection.execute("select action, operator_id, client_id from audit_log order by id").fetchall()
    actions = ("client.create", "client.suspend", "client.activate")
    assert log == [(action, None, made["id"]) for action in actions]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["create", "--name", "B", "--domain", "b.example", "--origin", "b.example"],
            "--origin 'b.example' is not an origin; it may be such as https://www.example.com",
        ),
        (["create", "--name", " ", "--domain", "b.example"], "`name` takes 1 to 100 characters in one line"),
        (
            ["create", "--name", "B", "--domain", "https://b.example"],
            "`domain` takes a domain such as bobspizza.com, without https://",
        ),
        (
            ["create", "--name", "B", "--domain", "b.example", "--plan", "gold"],
            "`plan` 'gold' is none; there are free, starter, pro",
        ),
        (["rotate-key", "99"], "there is no client 99; `frontdesk client list` shows them"),
        (["suspend", "99"], "there is no client 99; `frontdesk client list` shows them"),
    ],
)
def test_a_mistake_is_one_line(run: Run, arguments: list[str], said: str) -> None:
    """On standard error, with exit code 1, and nothing is created."""
    assert refusal(run("client", *arguments)) == said
    assert json.loads(run("client", "list", "--json").stdout) == []


@pytest.mark.parametrize("arguments", [["client", "list"], ["migrate", "status"], ["migrate", "up"]])
def test_a_database_that_is_not_there(run: Run, arguments: list[str]) -> None:
    """One line that says what cannot be reached."""
    said = refusal(run(*arguments, DATABASE_URL="postgresql:///d?host=/nowhere"))
    assert "cannot be reached" in said


def test_serve_says_all_that_is_missing(environment: dict[str, str | None], tmp_path: Path) -> None:
    """In one line, and nothing starts."""
    said = refusal(spawn(environment, "serve", cwd=tmp_path))
    assert said == "not set: DATABASE_URL, REDIS_URL, FRONTDESK_SECRET_KEYS"


@pytest.fixture
def complete(environment: dict[str, str | None], database_url: str, redis_url: str) -> dict[str, str | None]:
    """An environment that `serve` would start with."""
    return {
        **environment,
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "FRONTDESK_SECRET_KEYS": SECRET_KEYS[0],
        "LLM_PROVIDER": "demo",
    }


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (("DATABASE_URL", "postgresql:///d?host=/nowhere"), "PostgreSQL cannot be reached.* correct DATABASE_URL"),
        (("REDIS_URL", "unix:///nowhere/redis.sock"), "Redis cannot be reached.* correct REDIS_URL"),
        (("PORT", "http"), "PORT is 'http'.* a number from 1 to 65535"),
    ],
)
def test_serve_says_what_is_wrong(
    complete: dict[str, str | None], tmp_path: Path, wrong: tuple[str, str], said: str
) -> None:
    """Which dependency or variable it is, and what to do, in one line."""
    variable, value = wrong
    assert re.search(said, refusal(spawn({**complete, variable: value}, "serve", cwd=tmp_path)))


def test_serve_wants_its_migrations(complete: dict[str, str | None], empty_database_url: str, tmp_path: Path) -> None:
    """A schema that is behind is named, with the command that brings it up."""
    said = refusal(spawn({**complete, "DATABASE_URL": empty_database_url}, "serve", cwd=tmp_path))
    assert re.fullmatch(r"\d+ migrations are missing; run `frontdesk migrate up`", said)


@pytest.fixture
def used_port() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_dev_on_a_used_port(environment: dict[str, str | None], used_port: int, tmp_path: Path) -> None:
    """It says so before anything starts: no services, no data directory."""
    said = refusal(spawn(environment, "dev", "--port", str(used_port), cwd=tmp_path))
    assert said == f"port {used_port} on 127.0.0.1: Address already in use; choose another with --port"
    assert list(tmp_path.iterdir()) == []


def test_dev_with_a_wrong_variable(environment: dict[str, str | None], tmp_path: Path) -> None:
    """What is wrong in the environment is said before the services start."""
    wrong = {**environment, "LOG_LEVEL": "loud"}
    said = refusal(spawn(wrong, "dev", "--port", str(_free_port()), cwd=tmp_path))
    assert said == "LOG_LEVEL is 'loud'; it may be DEBUG, INFO, WARNING, ERROR"
    assert not (tmp_path / ".frontdesk" / "postgres").exists()


def test_serve_answers_and_stops(complete: dict[str, str | None], tmp_path: Path) -> None:
    """With all it needs it listens, is ready, and ends when it is told to."""
    port = _free_port()
    kept = {name: value for name, value in os.environ.items() if name not in complete}
    given = {name: value for name, value in complete.items() if value is not None}
    process = subprocess.Popen(
        [sys.executable, "-c", "from server.cli import main; main()", "serve", "--host", "127.0.0.1"],
        env={**kept, **given, "PORT": str(port), "PYTHONPATH": str(Path(__file__).parents[2])},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if b"instance ready" in line:
                break
        assert process.poll() is None, b"".join(said).decode()
        answer = _get(port, "/readyz")
        assert answer.startswith(b"HTTP/1.1 200")
    finally:
        process.terminate()
        out, _ = process.communicate(timeout=PATIENCE_S)
    assert out == b""
    assert process.returncode == 0


def _free_port() -> int:
    """A port that nobody uses just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _get(port: int, path: str) -> bytes:
    """A plain GET. The server listens within moments of being ready."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as connection:
                connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
                return b"".join(iter(lambda: connection.recv(65_536), b""))
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.01)
