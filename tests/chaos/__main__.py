"""Runs rows of the rig and prints the table: `python -m tests.chaos [--rows a,b] [--seed N] [--size small|full]`.

Ends with 1 when a promise was broken; a figure that was missed is printed.
"""

import argparse
import secrets
import sys
import time
import traceback
from typing import get_args

import uvloop

from tests.chaos.forks import ForkServer
from tests.chaos.rows import ROWS
from tests.chaos.table import Outcome, Row, measured, rendered
from tests.chaos.world import Services, Size, World, own_services


def main() -> None:
    names = [row.name for row in ROWS]
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--rows", default=",".join(names), help=f"comma-separated, of: {', '.join(names)}")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000), help="a printed one repeats a run")
    parser.add_argument("--size", choices=get_args(Size), default="full")
    arguments = parser.parse_args()
    chosen = arguments.rows.split(",")
    if unknown := sorted(set(chosen) - set(names)):
        parser.error(f"no such rows: {', '.join(unknown)}; there are {', '.join(names)}")
    rows = [row for row in ROWS if row.name in chosen]
    with own_services() as services:
        outcomes = uvloop.run(_run(rows, arguments.seed, arguments.size, services))
    print(rendered(outcomes))
    print(f"\nSeed {arguments.seed}, size {arguments.size}.")
    sys.exit(not all(outcome.kept for outcome in outcomes))


async def _run(rows: list[Row], seed: int, size: Size, services: Services) -> list[Outcome]:
    outcomes = []
    for row in rows:
        print(f"{row.name} (seed {seed}): {row.what}", file=sys.stderr, flush=True)
        outcome = await run(row, seed, size, services)
        for text, verdict in measured(outcome):
            print(f"    {text} {verdict}", file=sys.stderr, flush=True)
        outcomes.append(outcome)
    return outcomes


async def run(row: Row, seed: int, size: Size, services: Services) -> Outcome:
    """One row, in a world of its own. What breaks it is part of the outcome: the other rows go on."""
    began, forks = time.monotonic(), ForkServer()
    try:
        figures = await row.run(World(seed, size, services, forks))
        broke = None
    except Exception as error:  # noqa: BLE001  # whatever it is, it is printed, and fails the run
        traceback.print_exc()
        figures, broke = [], f"{type(error).__name__}: {error}"
    finally:
        await forks.stop()
    return Outcome(row, figures, seed, time.monotonic() - began, broke)


if __name__ == "__main__":
    main()
