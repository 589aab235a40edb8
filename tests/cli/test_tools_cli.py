"""`frontdesk tool` and `frontdesk integration`: from definition to removal, without a secret shown."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result

from server.cli import main
from server.cli.trials import printable
from server.net.vault import CONNECTION_CONFIG, SIGNING_SECRET, Vault
from tests.cli.conftest import Run, refusal
from tests.support import SECRET_KEYS

TOOL: dict[str, Any] = {
    "tool_name": "get_order_status",
    "description": "Looks an order up.",
    "parameters_schema": {"type": "object", "properties": {"order_id": {"type": "string"}}, "required": ["order_id"]},
    "effect": "read_only",
    "label": {"en": "Looking up your order"},
}
HTTP: dict[str, Any] = {"api_url": "https://api.example/v1", "auth": {"type": "bearer", "token": "token-5ecret"}}
MENU: dict[str, Any] = {"endpoint_name": "get_menu", "endpoint_url": "/menu", "description": "The menu."}


@pytest.fixture
def client(run: Run) -> str:
    """A client's id, as it is typed."""
    made = json.loads(run("client", "create", "--name", "Bob", "--domain", "bob.example", "--json").stdout)
    return str(made["id"])


def written(name: str, value: Any) -> str:
    """The name of a file, in this test's directory, that holds this."""
    Path(name).write_text(json.dumps(value))
    return name


def done(result: Result) -> str:
    """What a command that worked said."""
    assert (result.exit_code, result.stderr) == (0, ""), result.output
    return result.stdout


@pytest.fixture
def defined(run: Run) -> str:
    """A tool of the catalogue, by its name."""
    assert done(run("tool", "define", "--file", written("tool.json", TOOL))) == "tool get_order_status is defined\n"
    return "get_order_status"


def test_a_tool_from_definition_to_rotation(run: Run, client: str, defined: str, database_url: str) -> None:
    """Defined, enabled, listed, changed, rotated, disabled; the secret is shown when it is made and never again."""
    again = done(run("tool", "define", "--file", written("tool.json", TOOL)))
    assert again == "tool get_order_status is changed, for every client that has it\n"
    [row] = json.loads(done(run("tool", "list", "--json")))
    assert (row["tool_name"], row["effect"], row["proof"]) == ("get_order_status", "read_only", "session")
    assert done(run("tool", "list", "--client", client)).startswith(f"client {client} uses no tool")
    where = ("--client", client, defined)
    enabled = json.loads(done(run("tool", "enable", *where, "--webhook", "https://n8n.example/webhook/o", "--json")))
    secret = enabled["signing_secret"]
    assert secret.startswith("whsec_") and enabled["tool"]["n8n_webhook_url"] == "https://n8n.example/webhook/o"
    assert _opened(database_url, client) == secret
    config = written("config.json", {"shop": 7})
    changed = done(run("tool", "enable", *where, "--timeout-ms", "900", "--confirm", "--config", config))
    assert "secret" not in changed and "and the visitor approves" in changed
    [row] = json.loads(done(run("tool", "list", "--client", client, "--json")))
    assert (row["timeout_ms"], row["confirm"], row["custom_config"], row["signed"]) == (900, True, {"shop": 7}, True)
    rotated = json.loads(done(run("tool", "rotate-secret", *where, "--json")))["signing_secret"]
    assert rotated != secret and _opened(database_url, client) == rotated
    shown = done(run("tool", "list", "--client", client)) + done(run("tool", "list", "--client", client, "--json"))
    assert "whsec_" not in shown
    assert done(run("tool", "disable", *where)) == f"client {client} does not use get_order_status any more\n"
    assert json.loads(done(run("tool", "list", "--client", client, "--json"))) == []


def _opened(database_url: str, client: str) -> str:
    with psycopg.connect(database_url) as connection:
        row = connection.execute("select signing_secret from client_tools where client_id = %s", [client]).fetchone()
    assert row is not None
    return Vault(SECRET_KEYS).open(bytes(row[0]), client_id=int(client), field=SIGNING_SECRET)


def test_tools_for_people(run: Run, client: str, defined: str) -> None:
    """The same in lines; below the client's base URL; the secret with the words that it is shown once."""
    assert done(run("tool", "base-url", "--client", client, "https://n8n.example/webhook/")) == (
        f"client {client} has its tools below https://n8n.example/webhook\n"
    )
    said = done(run("tool", "enable", "--client", client, defined, "--proof", "verified"))
    assert "webhook      https://n8n.example/webhook/get_order_status\n" in said
    assert "proof        verified\n" in said
    assert "(shown once: keep it)" in said
    [line] = done(run("tool", "list", "--client", client)).splitlines()
    assert line.split() == [defined, "read_only", "verified", "https://n8n.example/webhook/get_order_status"]
    assert "shown once" in done(run("tool", "rotate-secret", "--client", client, defined))
    assert done(run("tool", "base-url", "--client", client, "--clear")) == f"client {client} has no webhook base URL\n"
    assert run("tool", "base-url", "--client", client).exit_code == 2


def test_live_data_from_connection_to_removal(run: Run, client: str, database_url: str) -> None:
    """Added from a file, given endpoints, listed, changed, paused, removed; no output has a secret."""
    where = ("--client", client)
    outputs = [done(run("integration", "list", *where))]
    added = done(
        run("integration", "add", *where, "--type", "custom_api", "--config", written("c.json", HTTP), "--json")
    )
    made = json.loads(added)
    number = str(made["id"])
    assert made["connection"]["api_url"] == "https://api.example/v1"
    assert made["connection"]["auth"] == {"type": "bearer", "secrets_set": ["token"]}
    outputs += [added, done(run("integration", "list", *where)), done(run("integration", "list", *where, "--json"))]
    file = written("menu.json", MENU)
    outputs.append(done(run("integration", "add-endpoint", number, *where, "--file", file)))
    [row] = json.loads(done(run("integration", "endpoints", number, *where, "--json")))
    assert (row["endpoint_name"], row["method"], row["effect"]) == ("get_menu", "GET", "read_only")
    card = written("card.json", {**MENU, "endpoint_name": "get_card"})
    outputs.append(done(run("integration", "update-endpoint", "get_menu", *where, "--file", card, "--json")))
    outputs.append(done(run("integration", "endpoints", number, *where)))
    assert outputs[-1].split() == ["get_card", "GET", "read_only", "session", "/menu"]
    config = written("c.json", {**HTTP, "api_url": "https://other.example"})
    paused = done(run("integration", "update", number, *where, "--config", config, "--disable", "--json"))
    assert (json.loads(paused)["enabled"], json.loads(paused)["connection"]["api_url"]) == (
        False,
        "https://other.example",
    )
    outputs += [paused, done(run("integration", "update", number, *where, "--enable"))]
    assert "token-5ecret" in _config(database_url, client)
    assert not any("5ecret" in output for output in outputs)
    assert done(run("integration", "remove-endpoint", "get_card", *where)).endswith("is removed\n")
    assert done(run("integration", "endpoints", number, *where)).startswith("no endpoints yet")
    assert done(run("integration", "remove", number, *where)).endswith("is removed\n")
    assert json.loads(done(run("integration", "list", *where, "--json"))) == []


def _config(database_url: str, client: str) -> str:
    with psycopg.connect(database_url) as connection:
        row = connection.execute("select connection_config from client_integrations").fetchone()
    assert row is not None
    return Vault(SECRET_KEYS).open(bytes(row[0]), client_id=int(client), field=CONNECTION_CONFIG)


def test_secrets_by_standard_input(
    environment: dict[str, str | None], run: Run, client: str, database_url: str
) -> None:
    """Where neither a shell's history nor a file keeps them; then a shop's preset."""
    shop = json.dumps({"shop": "bob.myshopify.com", "access_token": "token-5ecret"})
    variables = {**environment, "DATABASE_URL": database_url, "FRONTDESK_SECRET_KEYS": SECRET_KEYS[0]}
    arguments = ["integration", "add", "--client", client, "--type", "shopify", "--config", "-", "--json"]
    made = json.loads(done(CliRunner().invoke(main, arguments, env=variables, input=shop)))
    assert "5ecret" not in json.dumps(made) and "token-5ecret" in _config(database_url, client)
    rows = json.loads(done(run("integration", "preset", str(made["id"]), "--client", client, "--json")))
    assert "get_product" in {row["endpoint_name"] for row in rows}
    assert "get_product" in refusal_of_second(run, str(made["id"]), client)


def refusal_of_second(run: Run, number: str, client: str) -> str:
    """A preset twice says which endpoint is there; the ones that are there stay."""
    before = done(run("integration", "endpoints", number, "--client", client, "--json"))
    assert refusal(run("integration", "preset", number, "--client", client)) == "An endpoint of this name exists."
    assert done(run("integration", "endpoints", number, "--client", client, "--json")) == before
    return before


def test_a_connection_test_for_scripts(
    environment: dict[str, str | None], run: Run, client: str, database_url: str
) -> None:
    """Exit code 1 when the system does not answer, with what to do and nothing else; and the list says so."""
    config = written("c.json", {**HTTP, "api_url": "http://127.0.0.1:9/"})
    allowed = {"FRONTDESK_ALLOW_PRIVATE_EGRESS": "127.0.0.0/8"}
    where = ("--client", client)
    added = run("integration", "add", *where, "--type", "custom_api", "--config", config, "--json", **allowed)
    number = str(json.loads(done(added))["id"])
    ours = {"DATABASE_URL": database_url, "FRONTDESK_SECRET_KEYS": SECRET_KEYS[0], **allowed}

    def test(*arguments: str) -> str:
        tested = subprocess.run(
            [sys.executable, "-c", "from server.cli import main; main()", "integration", "test", *arguments],
            env={**{name: value for name, value in os.environ.items() if name not in environment}, **ours}
            | {"PYTHONPATH": str(Path(__file__).parents[2])},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert (tested.returncode, tested.stderr) == (1, "")
        return tested.stdout

    verdict = json.loads(test(number, *where, "--json"))
    assert not verdict["ok"] and verdict["message"] and verdict["advice"]
    said = test(number, *where)
    assert said.startswith("fails   ") and "advice  " in said
    assert " fails" in done(run("integration", "list", *where, **allowed))


ALLOWED = {"FRONTDESK_ALLOW_PRIVATE_EGRESS": "127.0.0.0/8"}
# A terminal would clear its screen and turn the line around.
HOSTILE = "\x1b[2Jgone\u202etxt.exe<script>"


@pytest.fixture
def system() -> Iterator[str]:
    """A client's system on this machine: it repeats its path and its credentials, and adds hostile text."""

    class System(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            said = {"path": self.path, "key": self.headers.get("Authorization"), "text": HOSTILE}
            body = json.dumps({**said, "sent": self.rfile.read(length).decode()}, ensure_ascii=False).encode()
            self.send_response(200 if "broken" not in self.path else 500)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 - the name is http.server's

        def log_message(self, format: str, *args: object) -> None:
            pass  # standard error is the test's

    with ThreadingHTTPServer(("127.0.0.1", 0), System) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_a_tool_is_tried_out(run: Run, client: str, defined: str, system: str) -> None:
    """What went out, what came back, what a model reads; for scripts with exit code 1 where it fails."""
    where = ("--client", client, defined)
    done(run("tool", "enable", *where, "--webhook", f"{system}/hook?token=hook-5ecret", **ALLOWED))
    arguments = ("--arguments", written("a.json", {"order_id": "A-1"}))
    said = done(run("tool", "call", *where, *arguments, **ALLOWED))
    assert f"> POST {system}/hook?token=••••••" in said and "> webhook-signature: ••••••" in said
    assert '"arguments":{"order_id":"A-1"}' in said and "< 200 " in said and "outcome      ok" in said
    assert "the model reads" in said and "5ecret" not in said
    assert "\x1b" not in said
    assert "\u202e" not in said
    assert "\\u001b[2Jgone\\u202etxt.exe<script>" in said
    result = json.loads(done(run("tool", "call", *where, *arguments, "--json", **ALLOWED)))
    assert (result["outcome"], len(result["exchanges"])) == ("ok", 1)
    assert json.loads(result["content"])["text"] == HOSTILE
    done(run("tool", "enable", *where, "--webhook", f"{system}/broken", **ALLOWED))
    failed = run("tool", "call", *where, *arguments, "--json", **ALLOWED)
    assert (failed.exit_code, json.loads(failed.stdout)["outcome"]) == (1, "failed")


def test_live_data_is_tried_out(run: Run, client: str, system: str) -> None:
    """By the name a model knows it by; with a visitor to pose as."""
    config = {"api_url": system, "auth": {"type": "bearer", "token": "token-5ecret"}}
    added = run(
        "integration",
        "add",
        "--client",
        client,
        "--type",
        "custom_api",
        "--config",
        written("c.json", config),
        "--json",
        **ALLOWED,
    )
    number = str(json.loads(done(added))["id"])
    schema = {"type": "object", "properties": {"who": {"type": "string"}}, "required": ["who"]}
    mine = {**MENU, "endpoint_url": "/orders{?who}", "parameters_schema": schema, "bound": {"who": "visitor.email"}}
    file = written("mine.json", {**mine, "proof": "verified"})
    done(run("integration", "add-endpoint", number, "--client", client, "--file", file, **ALLOWED))
    call = ("tool", "call", "--client", client, "get_menu")
    said = done(run(*call, "--visitor", "c-7", "--email", "ann@example.com", **ALLOWED))
    assert (
        f"> GET {system}/orders?who=ann%40example.com" in said or f"> GET {system}/orders?who=ann@example.com" in said
    )
    assert "5ecret" not in said and "••••••" in said
    assert refusal(run(*call, **ALLOWED)).startswith("visitor: whom to pose as is needed")
    assert run(*call, "--email", "ann@example.com", **ALLOWED).exit_code == 2


def test_an_unsafe_tool_is_called_only_really(run: Run, client: str, system: str) -> None:
    """Not by accident."""
    done(run("tool", "define", "--file", written("book.json", {**TOOL, "tool_name": "book", "effect": "unsafe"})))
    done(run("tool", "enable", "--client", client, "book", "--webhook", f"{system}/book", **ALLOWED))
    call = ("tool", "call", "--client", client, "book", "--arguments", written("a.json", {"order_id": "1"}))
    assert refusal(run(*call, **ALLOWED)).startswith("really: book is unsafe")
    assert "outcome      ok" in done(run(*call, "--really", **ALLOWED))


def test_what_a_terminal_would_obey() -> None:
    """Is spelled out; letters of every script, line breaks and tabs stay."""
    assert printable("é שלום 日本\n\tx") == "é שלום 日本\n\tx"
    assert printable("a\r\nb\x00\x1b]0;x\x07\x9b\u2028\u2066\ud800") == (
        "a\nb\\x00\\x1b]0;x\\x07\\x9b\\u2028\\u2066\\ud800"
    )


BAD: list[tuple[Callable[[str], list[str]], str]] = [
    (lambda c: ["tool", "call", "--client", c, "nothing"], "client 1 has no tool 'nothing'"),
    (lambda c: ["tool", "call", "--client", "99", "nothing"], "there is no client 99"),
    (
        lambda c: ["tool", "call", "--client", c, "x", "--arguments", written("x.json", [])],
        "arguments: must be a JSON object",
    ),
    (lambda c: ["tool", "define", "--file", written("t.json", {})], "description: is missing"),
    (
        lambda c: ["tool", "define", "--file", written("t.json", {**TOOL, "parameters_schema": {"type": "objct"}})],
        'parameters_schema/type: must be "object" at the root',
    ),
    (
        lambda c: ["tool", "define", "--file", written("t.json", {**TOOL, "effect": "none"})],
        "effect: invalid enum value 'none'; it may be read_only, idempotent, unsafe",
    ),
    (lambda c: ["tool", "enable", "--client", c, "nothing"], "there is no tool 'nothing' in the catalogue"),
    (lambda c: ["tool", "enable", "--client", "99", "get_order_status"], "there is no client 99"),
    (
        lambda c: ["tool", "enable", "--client", c, "get_order_status"],
        "n8n_webhook_url: is needed, because the client has no webhook_base_url",
    ),
    (
        lambda c: ["tool", "enable", "--client", c, "get_order_status", "--timeout-ms", "5"],
        "timeout_ms: takes 100 to 120,000 milliseconds",
    ),
    (
        lambda c: ["tool", "enable", "--client", c, "get_order_status", "--config", written("x.json", [])],
        "custom_config: must be a JSON object",
    ),
    (lambda c: ["tool", "disable", "--client", c, "nothing"], "client 1 has no tool 'nothing'"),
    (lambda c: ["tool", "rotate-secret", "--client", c, "nothing"], "client 1 has no tool 'nothing'"),
    (lambda c: ["tool", "list", "--client", "99"], "there is no client 99"),
    (
        lambda c: ["integration", "add", "--client", c, "--type", "custom_api", "--config", written("i.json", {})],
        "api_url is missing",
    ),
    (
        lambda c: ["integration", "add", "--client", c, "--type", "custom_api", "--config", written("i.json", "x")],
        "connection_config must be a JSON object",
    ),
    (lambda c: ["integration", "test", "99", "--client", c], "client 1 has no integration 99"),
    (lambda c: ["integration", "remove", "99", "--client", c], "client 1 has no integration 99"),
    (lambda c: ["integration", "endpoints", "99", "--client", c], "client 1 has no integration 99"),
    (lambda c: ["integration", "remove-endpoint", "x", "--client", c], "client 1 has no endpoint 'x'"),
    (lambda c: ["integration", "list", "--client", "99"], "there is no client 99"),
]


@pytest.mark.usefixtures("defined")
def test_a_mistake_is_one_line(run: Run, client: str, subtests: pytest.Subtests) -> None:
    """On standard error, with exit code 1, and nothing is made."""
    before = done(run("tool", "list", "--json"))
    for arguments, said in BAD:
        with subtests.test(said):
            assert refusal(run(*arguments(client))) == said
    assert done(run("tool", "list", "--json")) == before
    assert json.loads(done(run("tool", "list", "--client", client, "--json"))) == []
    assert json.loads(done(run("integration", "list", "--client", client, "--json"))) == []


def test_a_private_address_is_refused(run: Run, client: str, defined: str) -> None:
    """Unless the deployment allows its network."""
    arguments = ("tool", "enable", "--client", client, defined, "--webhook", "http://127.0.0.1:5678/webhook/x")
    assert refusal(run(*arguments)).startswith("n8n_webhook_url ")
    done(run(*arguments, FRONTDESK_ALLOW_PRIVATE_EGRESS="127.0.0.0/8"))


def test_a_file_that_is_too_large(run: Run) -> None:
    """It is not read to its end."""
    Path("big.json").write_bytes(b" " * (1024 * 1024 + 1))
    assert refusal(run("tool", "define", "--file", "big.json")) == "big.json is larger than 1024 KB"
