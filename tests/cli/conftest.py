"""Commands in this process, on this test's database and away from this machine's own settings."""

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from server.cli import main
from tests.support import SECRET_KEYS

Run = Callable[..., Result]


@pytest.fixture
def environment() -> dict[str, str | None]:
    """What takes this machine's own settings away from a command."""
    ours = re.compile("DATABASE_URL|REDIS_URL|PORT|FRONTDESK_|LLM_|OPENAI_|ANTHROPIC_|OLLAMA_|LOG_")
    return {name: None for name in os.environ if ours.match(name)}


@pytest.fixture
def run(environment: dict[str, str | None], database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command on this test's database, in a directory of its own."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, **more: str | None) -> Result:
        variables = {**environment, "DATABASE_URL": database_url, "FRONTDESK_SECRET_KEYS": SECRET_KEYS[0], **more}
        return CliRunner().invoke(main, arguments, env=variables, prog_name="frontdesk")

    return run


def refusal(result: Result | subprocess.CompletedProcess[str]) -> str:
    """The one line that a failed command says on standard error."""
    code = result.exit_code if isinstance(result, Result) else result.returncode
    out = result.stdout
    assert (code, out) == (1, ""), (out, result.stderr)
    assert result.stderr.count("\n") == 1, result.stderr
    line = result.stderr.rstrip("\n")
    assert line.startswith("Error: ")
    return line.removeprefix("Error: ")
