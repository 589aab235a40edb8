"""`frontdesk cases run`: judged on the command line, with an exit code for a pipeline."""

import asyncio
import json
from typing import Any

import pytest

from server.services import open_services
from server.settings import Settings
from server.turns.cases.case import Rules
from tests.cli.conftest import Run, refusal
from tests.support import new_shop, remember, visit
from tests.wire_servers import Failure, WireServer

QUESTIONS = ("Where are you?", "When are you open?")


@pytest.fixture
async def client(settings: Settings) -> int:
    """A client with two cases: of the echo that the model is, one holds and one does not."""
    async with open_services(settings) as services:
        shop = await new_shop(services)
        for text, words in zip(QUESTIONS, ("where are you", "nine to five"), strict=True):
            session = await visit(services, shop)
            await remember(services, session, ("user", text), ("assistant", "Main Street."))
            await services.cases.save(
                operator_id=None,
                client_id=shop.id,
                conversation_id=session.conversation.public_id,
                name=None,
                rules=Rules(must_contain=[words]),
            )
        return shop.id


@pytest.fixture
def environment_of(settings: Settings) -> dict[str, str]:
    """What the command is told of this test's Redis and model."""
    llm = settings.llm
    return {
        "REDIS_URL": settings.redis_url,
        "LLM_PROVIDER": "openai",
        "LLM_MODEL": llm.model or "",
        "OPENAI_API_KEY": llm.openai_api_key or "",
        "OPENAI_BASE_URL": llm.openai_base_url or "",
    }


async def test_for_people(run: Run, client: int, environment_of: dict[str, str]) -> None:
    """A line a case, the reasons of what failed, the sums; exit code 1."""
    result = await asyncio.to_thread(run, "cases", "run", "--client", str(client), **environment_of)
    assert (result.exit_code, result.stderr) == (1, "")
    assert "passed  Where are you?\n" in result.stdout
    assert "failed  When are you open?\n        must_contain 'nine to five': in no answer\n" in result.stdout
    assert result.stdout.splitlines()[-1].startswith("1 passed, 1 failed, of 2; 72 tokens, ")


async def test_for_scripts(run: Run, client: int, environment_of: dict[str, str]) -> None:
    """JSON as the API tells it, and 0 where all pass."""
    first = await asyncio.to_thread(run, "cases", "run", "--client", str(client), "--json", **environment_of)
    told: dict[str, Any] = json.loads(first.stdout)
    assert first.exit_code == 1
    assert (told["run"]["status"], told["run"]["passed"], told["run"]["started_by"]) == ("done", 1, None)
    passed = next(each for each in told["results"] if each["status"] == "passed")
    assert passed["answers"][0]["former"] == "Main Street."
    again = await asyncio.to_thread(
        run,
        "cases",
        "run",
        "--client",
        str(client),
        "--case",
        str(passed["case_id"]),
        "--json",
        **environment_of,
    )
    assert (again.exit_code, json.loads(again.stdout)["run"]["total"]) == (0, 1)


async def test_a_model_that_is_away(run: Run, client: int, environment_of: dict[str, str], model: WireServer) -> None:
    """Every case fails with the reason, and so does the command."""
    model.default = lambda _: Failure(400, "no such model")
    result = await asyncio.to_thread(run, "cases", "run", "--client", str(client), **environment_of)
    assert result.exit_code == 1
    assert result.stdout.count("answered: question 1 has no answer: model_refused: HTTP 400") == 2


async def test_what_cannot_be_run(run: Run, client: int, environment_of: dict[str, str]) -> None:
    """One line on standard error."""
    for arguments, words in (
        (("--client", "999"), "There is no such client."),
        (("--client", str(client), "--case", "999"), "this client has no case 999"),
    ):
        result = await asyncio.to_thread(run, "cases", "run", *arguments, **environment_of)
        assert refusal(result) == words
    nothing = await asyncio.to_thread(run, "cases", "run", "--client", str(client))
    assert refusal(nothing) == "not set: REDIS_URL"
