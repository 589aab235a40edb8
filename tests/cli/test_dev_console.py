"""Where `frontdesk dev` says the console is, and how one gets in."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from server.cli.run import _say_where
from server.settings import LlmSettings, Settings
from tests.support import SECRET_KEYS

PATIENCE_S = 60.0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def _dev(environment: dict[str, str | None], directory: Path) -> Iterator[str]:
    """`frontdesk dev`, ready; what it has said."""
    kept = {name: value for name, value in os.environ.items() if name not in environment}
    log = directory / "log"
    command = ["dev", "--port", str(_free_port()), "--data-dir", str(directory / "data")]
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [sys.executable, "-c", "from server.cli import main; main()", *command],
            env={**kept, "PYTHONPATH": str(Path(__file__).parents[2])},
            stdout=sink,
            stderr=sink,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + PATIENCE_S
        while "Stop with" not in log.read_text():
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield log.read_text()
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                raise


def _sign_in(origin: str, secret: str) -> dict[str, object]:
    """With the link's secret, as the console does after a click."""
    body = json.dumps({"secret": secret}).encode()
    headers = {"origin": origin, "content-type": "application/json"}
    with urlopen(Request(f"{origin}/api/v1/admin/link", body, headers, method="POST")) as answer:
        told: dict[str, object] = json.load(answer)["operator"]
        return told


def test_the_link_signs_the_owner_in_once(environment: dict[str, str | None], tmp_path: Path) -> None:
    """The console is where it is said to be; the link works once, and a second start makes another one."""
    secrets = set()
    for _ in range(2):
        with _dev(environment, tmp_path) as said:
            found = re.search(r"Console +(http://localhost:\d+)/admin/\n +sign in +\1/admin/link#(ol_\S+) ", said)
            assert found is not None, said
            origin, secret = found.groups()
            secrets.add(secret)
            with urlopen(f"{origin}/admin/") as page:
                assert page.status == 200 and b'<div id="app">' in page.read()
            assert _sign_in(origin, secret)["role"] == "owner"
            with pytest.raises(HTTPError) as refused:
                _sign_in(origin, secret)
            refused.value.close()
            assert refused.value.code == 401
    assert len(secrets) == 2


@pytest.mark.parametrize(
    ("public_url", "says"),
    [
        (
            "http://127.0.0.1:8000",
            "/admin/\n  sign in   http://localhost:8000/admin/link#ol_1 ",
        ),
        ("https://desk.example.com", "Console     https://desk.example.com/admin/\n"),
        ("http://desk.example.com", "Console     not here: the console needs TLS"),
    ],
)
def test_the_console_is_at_the_public_url(capsys: pytest.CaptureFixture[str], public_url: str, says: str) -> None:
    """A public address must be one with TLS, and then it is the console's; a local one is told as localhost."""
    settings = Settings(
        database_url="postgresql://",
        redis_url="redis://",
        secret_keys=SECRET_KEYS,
        llm=LlmSettings(provider="demo"),
        public_url=public_url,
    )
    _say_where(settings, 8000, "ol_1", 1)
    said = capsys.readouterr().out
    assert says in said
    assert ("ol_1" in said) is ("not here" not in said)
