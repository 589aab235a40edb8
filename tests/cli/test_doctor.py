"""`frontdesk doctor`."""

import json
from typing import Any

import psycopg
import pytest

from server.llm.pricing import seed_prices
from server.repositories import migrations
from tests.cli.conftest import Run, refusal
from tests.support import SECRET_KEYS


@pytest.fixture
def given(redis_url: str) -> dict[str, str]:
    """The environment of a small installation without a model of its own."""
    return {
        "REDIS_URL": redis_url,
        "LLM_PROVIDER": "demo",
        "FRONTDESK_PUBLIC_URL": "https://desk.example",
        "FRONTDESK_SECRET_KEYS": SECRET_KEYS[0],
    }


@pytest.fixture
def prices(database_url: str) -> None:
    """Prices are known, as after `frontdesk migrate up`."""
    with psycopg.connect(database_url) as conn, conn.cursor() as cursor:
        cursor.executemany(
            "insert into model_prices (provider, model, input_per_million, output_per_million, valid_from) "
            "values (%s, %s, %s, %s, %s)",
            [
                (each.provider, each.model, each.input_per_million, each.output_per_million, each.valid_from)
                for each in seed_prices()
            ],
        )


def findings(result: Any) -> dict[str, str]:
    """Statuses by check."""
    return {each["check"]: each["status"] for each in json.loads(result.stdout)["findings"]}


@pytest.mark.usefixtures("prices")
def test_well(run: Run, given: dict[str, str]) -> None:
    """Exit code 0 with lines to look at but nothing wrong; one line each; the same as JSON."""
    assert run("operator", "create", "--email", "a@desk.example", "--role", "owner").exit_code == 0
    result = run("doctor", **given)
    assert (result.exit_code, result.stderr) == (0, ""), result.stdout
    lines = result.stdout.splitlines()
    assert any(line.startswith("ok       database        PostgreSQL ") for line in lines)
    assert any(line.startswith("look at  model ") and line.endswith("or OLLAMA_HOST.") for line in lines)
    assert lines[-1] == f"0 wrong, 2 to look at, {len(lines) - 3} well"
    told = run("doctor", "--json", **given)
    assert told.exit_code == 0 and json.loads(told.stdout)["ok"] is True
    assert findings(told)["servers"] == findings(told)["model"] == "warning"


def test_something_is_wrong(run: Run, given: dict[str, str]) -> None:
    """Exit code 1: no owner, no Redis; what to do stands in the line; nothing on standard error."""
    result = run("doctor", **{**given, "REDIS_URL": "unix:///nowhere/redis.sock"})
    assert (result.exit_code, result.stderr) == (1, "")
    assert "wrong    redis           Redis cannot be reached" in result.stdout
    assert "Start it, or correct REDIS_URL." in result.stdout
    assert "wrong    people          nobody may sign in to the console as owner. Run" in result.stdout
    told = run("doctor", "--json", **given)
    assert told.exit_code == 1 and json.loads(told.stdout)["ok"] is False


def test_no_database(run: Run, given: dict[str, str]) -> None:
    """The rest is looked at all the same."""
    result = run("doctor", "--json", "--client", "1", **given, DATABASE_URL="postgresql:///x?host=/nowhere")
    assert result.exit_code == 1
    assert findings(result)["database"] == "error" and findings(result)["redis"] == "ok"
    assert "people" not in findings(result)


def test_missing_migrations(run: Run, given: dict[str, str], database_url: str) -> None:
    """Nothing that needs the tables is asked of them."""
    migrations.downgrade(database_url, all=True)
    result = run("doctor", "--json", "--client", "1", **given)
    assert result.exit_code == 1 and findings(result)["migrations"] == "error"
    assert not {"people", "client", "prices"} & set(findings(result))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"LLM_PROVIDER": "gpt"}, "LLM_PROVIDER is 'gpt'"),
        ({"REDIS_URL": ""}, "not set: REDIS_URL"),
        ({"FRONTDESK_SECRET_KEYS": "short"}, "under 32 characters"),
        ({"LLM_PROVIDER": "anthropic"}, "set ANTHROPIC_API_KEY"),
    ],
)
def test_a_wrong_environment(run: Run, given: dict[str, str], wrong: dict[str, str], said: str) -> None:
    """Is a finding: the variable, and what it may be."""
    result = run("doctor", **{**given, **wrong})
    assert result.exit_code == 1
    assert "wrong    settings" in result.stdout and said in result.stdout


def test_a_client(run: Run, given: dict[str, str]) -> None:
    """Its findings come with the installation's; one that is not there is said in one line."""
    made = json.loads(run("client", "create", "--name", "Pizza", "--domain", "pizza.example", "--json").stdout)
    told = findings(run("doctor", "--client", str(made["id"]), "--json", **given))
    assert told["database"] == "ok" and told["script"] == "warning" and told["webhooks"] == "ok"
    assert refusal(run("doctor", "--client", "999999", **given)) == "there is no client 999999"
