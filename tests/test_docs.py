"""The words are true: what the code has stands in the documents, and what the documents name exists."""

import json
import re
import tomllib
from pathlib import Path

import click
import pytest

from server.api.routes import ENDPOINTS
from server.cli import main
from server.net.egress import Egress
from server.protocol.close import Close
from server.tools.connections import kinds
from server.tools.setup import definition, rules
from server.tools.setup.definition import EndpointDefinition, ToolDefinition
from server.turns import phrases

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text("utf-8")


def commands() -> list[tuple[str, ...]]:
    """Every command of `frontdesk`, groups taken apart."""
    found: list[tuple[str, ...]] = []
    for name, command in main.commands.items():
        if isinstance(command, click.Group):
            found += [(name, sub) for sub in command.commands]
        else:
            found.append((name,))
    return found


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_every_command_is_documented(command: tuple[str, ...]) -> None:
    """The README names each command."""
    line = next((line for line in README.splitlines() if line.startswith(f"| `frontdesk {command[0]}")), "")
    assert all(f"`{part}`" in line or f" {part}" in line for part in command)


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_every_command_explains_itself(command: tuple[str, ...]) -> None:
    """`--help` has a sentence for each command."""
    found: click.Command = main
    for part in command:
        assert isinstance(found, click.Group)
        found = found.commands[part]
    assert found.help


def test_every_variable_is_documented() -> None:
    """Each environment variable that the settings read stands in the README, and no other."""
    source = (ROOT / "server" / "settings.py").read_text("utf-8")
    read = set(re.findall(r'"([A-Z][A-Z_]{3,})"', source)) - {"DEBUG", "INFO", "WARNING", "ERROR"}
    table = README[README.index("## In production") : README.index("## Working on it")]
    assert read == set(re.findall(r"`([A-Z][A-Z_]{3,})`", table)) - {"DEBUG", "INFO", "WARNING", "ERROR"}


def test_the_code_map_is_whole() -> None:
    """Every package and module right below `server/` is in ARCHITECTURE.md, and what is named there exists."""
    named = set(re.findall(r"`(?:server/)?([a-z_]+(?:/|\.py))`", ARCHITECTURE))
    below = {
        f"{each.name}/" if each.is_dir() else each.name
        for each in (ROOT / "server").iterdir()
        if (each / "__init__.py").is_file() or each.suffix == ".py"
    } - {"__init__.py", "assets.py"}
    assert below <= named
    for path in re.findall(r"`((?:server|tests|widget-src|migrations|bench)/[\w/.-]*)`", ARCHITECTURE):
        assert (ROOT / path).exists(), path


def test_the_import_order_is_the_one_that_is_checked() -> None:
    """The rows in ARCHITECTURE.md are the layers of import-linter."""
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"][0]
    layers = [layer.replace("server.", "") for layer in contract["layers"]]
    rows = re.findall(r"^    ((?:[a-z]+)(?: \| [a-z]+)*)$", ARCHITECTURE, re.MULTILINE)
    assert rows == layers


def test_close_codes_are_unique_and_in_range() -> None:
    """Each code is ours and stands once in the generated TypeScript."""
    generated = (ROOT / "widget-src" / "core" / "protocol.gen.ts").read_text("utf-8")
    for code in Close:
        assert 4000 <= code <= 4499
        assert generated.count(f": {code.value},") == 1


def test_every_public_route_is_reachable_from_the_words() -> None:
    """The README names what people call first; the rest is in the OpenAPI document."""
    for path in ("/api/v1/chat", "/healthz", "/readyz", "/metrics"):
        assert path in {endpoint.path for endpoint in ENDPOINTS}
        assert path in README


@pytest.mark.parametrize("language", [each for each in phrases.LANGUAGES if each != "en"])
def test_every_phrase_is_translated(language: str) -> None:
    """A visitor never reads half a conversation in another language."""
    english = phrases.ENGLISH
    assert all(phrases.say(phrase, language) != sentence for phrase, sentence in english.items())
    assert all(phrases.say(phrase, f"{language}-XX") == phrases.say(phrase, language) for phrase in english)


def sample(name: str) -> str:
    """The JSON that the README shows as the file `name`."""
    _, found, after = README.rpartition(f"{name} ")
    if not found:
        _, _, after = README.partition(f"`{name}`:")
    start = after.index("{")
    _, length = json.JSONDecoder().raw_decode(after[start:])
    return after[start : start + length]


async def test_the_samples_are_taken() -> None:
    """What the README shows as a tool, an integration and its endpoint passes the checks of the commands beside it."""
    tool = definition.read(ToolDefinition, sample("order-status.json"), field="file")
    assert rules.checked_tool(tool).tool_name == "get_order_status"
    egress = Egress(())
    try:
        shop = kinds.parse("custom_api", sample("shop.json"), egress)
    finally:
        await egress.close()
    assert json.loads(kinds.dump(shop))["auth"]["type"] == "bearer"
    endpoint = definition.read(EndpointDefinition, sample("find-product.json"), field="file")
    assert rules.checked_endpoint(endpoint, database=False).endpoint_name == "find_product"
