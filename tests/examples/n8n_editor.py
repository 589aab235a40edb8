"""What of n8n 2.x a test needs: how a workflow's file is built, and what its expressions and Code nodes answer.

JavaScript runs in a real Node, with the few names that n8n gives it.
"""

import json
import re
import subprocess
import sys
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

FOLDER = Path(__file__).parents[2] / "examples" / "n8n"
WORKFLOWS = ("get_order_status", "check_inventory", "get_product_info", "book_appointment", "long_running")

_NODE = str(Path(sys.executable).with_name("node"))
_SCRIPT = """
const tasks = JSON.parse(require('fs').readFileSync(0, 'utf8'));
const RealDate = Date;
const answers = tasks.map(({ source, expression, nodes, json, now }) => {
  class Date extends RealDate {
    constructor(...given) { given.length ? super(...given) : super(now * 1000); }
    static now() { return now * 1000; }
  }
  const of = (name) => {
    if (!(name in nodes)) throw new Error(`there is no ${name}`);
    return { first: () => ({ json: nodes[name] }) };
  };
  const names = ['$', '$json', '$now', '$execution', 'Date'];
  const values = [of, json, { toSeconds: () => now }, { id: '7' }, Date];
  return new Function(...names, expression ? `return (${source});` : source)(...values);
});
process.stdout.write(JSON.stringify(answers));
"""


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """One run: an expression (what stands between `{{` and `}}`) or the whole of a Code node.

    `nodes` is what each node gave out, `json` what comes in, `now` the Unix time in seconds.
    """

    source: str
    expression: bool
    nodes: dict[str, Any]
    json: Any = None
    now: float = 0.0


def run(tasks: list[Task]) -> list[Any]:
    """The answers, in their order. Raises CalledProcessError when one throws."""
    done = subprocess.run(
        [_NODE, "-e", _SCRIPT], input=msgspec.json.encode(tasks), capture_output=True, check=True, timeout=30
    )
    answers: list[Any] = json.loads(done.stdout)
    return answers


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """A node's parameter and what it is filled from, as in Task."""

    text: str
    nodes: dict[str, Any]
    json: Any = None
    now: float = 0.0


def fill(parameters: list[Parameter]) -> list[Any]:
    """Their values: text with expressions in it, or the value of the one expression that a parameter consists of."""
    split = [re.split(r"\{\{(.*?)\}\}", each.text.removeprefix("="), flags=re.DOTALL) for each in parameters]
    values = iter(
        run(
            [
                Task(source=source, expression=True, nodes=each.nodes, json=each.json, now=each.now)
                for each, parts in zip(parameters, split, strict=True)
                for source in parts[1::2]
            ]
        )
    )
    filled: list[Any] = []
    for each, parts in zip(parameters, split, strict=True):
        assert each.text.startswith("="), "no expression"
        parts[1::2] = found = [next(values) for _ in parts[1::2]]
        alone = len(found) == 1 and not (parts[0] + parts[2]).strip()
        filled.append(found[0] if alone else "".join(str(part) for part in parts))
    return filled


class Workflow:
    """One file. `edges` are (from, output, to)."""

    def __init__(self, name: str) -> None:
        self.text = (FOLDER / f"{name}.json").read_text(encoding="utf-8")
        self.data: dict[str, Any] = json.loads(self.text)
        self.nodes: list[dict[str, Any]] = self.data["nodes"]

    @cached_property
    def by_name(self) -> dict[str, dict[str, Any]]:
        return {node["name"]: node for node in self.nodes}

    @cached_property
    def edges(self) -> list[tuple[str, int, str]]:
        return [
            (source, output, target["node"])
            for source, kinds in self.data["connections"].items()
            for output, targets in enumerate(kinds["main"])
            for target in targets
        ]

    def kind(self, name: str) -> str:
        """The node's type without its package."""
        return str(self.by_name[name]["type"]).removeprefix("n8n-nodes-base.")

    def parameters(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.by_name[name]["parameters"]
        return found

    def reached(self, start: str, *, without: tuple[str, int]) -> set[str]:
        """The nodes that can run after `start` when nothing leaves by this output."""
        seen, todo = {start}, [start]
        while todo:
            here = todo.pop()
            for source, output, target in self.edges:
                if source == here and (source, output) != without and target not in seen:
                    seen.add(target)
                    todo.append(target)
        return seen

    def ways(self, start: str) -> list[list[str]]:
        """Every way from a node to an end."""
        after = [target for source, _, target in self.edges if source == start]
        return [[start, *way] for target in after for way in self.ways(target)] if after else [[start]]
