"""`frontdesk retention run`."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from tests.cli.conftest import Run, refusal

# A conversation of so many messages, 31 days old.
OLD = """
with k as (
    insert into clients (name, domain, public_key, api_key_hash, api_key_prefix)
    values ('pizza', 'pizza.example', 'pk', 'h', 'sk') returning id
), c as (
    insert into conversations (public_id, client_id, session_id, session_token_hash, channel, locale, epoch)
    select 'c', id, 's', 'h', 'api', 'en', 'e' from k returning id, client_id
)
insert into messages (public_id, client_id, conversation_id, role, seq, content, created_at)
select 'm' || n, client_id, id, 'user', n, 'word', now() - interval '31 days' from c, generate_series(1, %s) n
"""


def _left(database_url: str) -> int:
    with psycopg.connect(database_url) as conn:
        row = conn.execute("select count(*) from messages where content is not null").fetchone()
    assert row is not None
    return int(row[0])


@pytest.fixture
def old(database_url: str) -> str:
    """A database with 2,500 old messages."""
    with psycopg.connect(database_url) as conn:
        conn.execute(OLD, [2_500])
    return database_url


def test_a_dry_run_and_a_run(run: Run, old: str) -> None:
    """The dry one counts; the other removes the same, and says so; a third finds nothing."""
    dry = run("retention", "run", "--dry-run")
    assert (dry.exit_code, dry.stderr) == (0, "")
    assert "     2,500  messages emptied (would be)" in dry.stdout
    assert _left(old) == 2_500
    wet = run("retention", "run")
    assert (wet.exit_code, wet.stderr) == (0, "")
    assert "     2,500  messages emptied\n" in wet.stdout
    assert _left(old) == 0
    assert "         0  messages emptied\n" in run("retention", "run").stdout


def test_json(run: Run, old: str) -> None:
    """For scripts: every kind, and where the lines were."""
    told = json.loads(run("retention", "run", "--json").stdout)
    assert told["rows"]["messages"] == 2_500 and told["dry_run"] is False
    assert told["words_before"] > told["tools_before"]
    assert set(told["rows"]) >= {"events", "messages", "summaries", "whispers", "tool_calls"}
    assert _left(old) == 0


def test_no_database(run: Run) -> None:
    """One line, and exit code 1."""
    assert "PostgreSQL cannot be reached" in refusal(
        run("retention", "run", DATABASE_URL="postgresql:///x?host=/nowhere")
    )


def test_on_a_terminal(environment: dict[str, str | None], old: str, tmp_path: Path) -> None:
    """Bars while it works, which leave nothing behind but the lines."""
    ours, theirs = pty.openpty()
    kept = {name: value for name, value in os.environ.items() if name not in environment}
    process = subprocess.Popen(
        [sys.executable, "-c", "from server.cli import main; main()", "retention", "run"],
        stderr=theirs,
        stdout=subprocess.PIPE,
        cwd=tmp_path,
        env={**kept, "DATABASE_URL": old, "TERM": "xterm-256color", "PYTHONPATH": str(Path(__file__).parents[2])},
        text=True,
    )
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 4096):
            shown += piece
    except OSError:
        pass  # how Linux says that the other side is closed
    out, _ = process.communicate(timeout=30)
    os.close(ours)
    assert process.returncode == 0
    assert "2,500  messages emptied\n" in out
    assert "messages emptied" in shown.decode() and "2500/2500" in shown.decode()
