"""`make bench` and `make bench-peers`: Frontdesk side by side, in one run, each server alone on one core.

`README.md` beside this says how to read it.
"""

import argparse
import os
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from bench import fanout, idle, streams, tools, turns, widget
from bench.plots import draw
from bench.report import Report, Section, commit, machine, table
from bench.rig import OUTPUT, Rig, open_rig
from bench.servers import split_cores

SECTIONS: dict[str, Callable[[Rig], Section]] = {
    "streams": streams.section,
    "turns": turns.section,
    "tools": tools.section,
    "idle": idle.section,
    "fanout": fanout.section,
    "widget": widget.section,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a short run, to see that all of it works")
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections, by name: %(default)s")
    parser.add_argument("--peers", action="store_true", help="Chainlit and LiteLLM's proxy too: see make bench-peers")
    arguments = parser.parse_args()
    names = arguments.only.split(",")
    if unknown := set(names) - set(SECTIONS):
        parser.error(f"no such section: {', '.join(sorted(unknown))} (there are {', '.join(SECTIONS)})")
    cores = split_cores()
    os.sched_setaffinity(0, cores.others)
    with open_rig(cores, quick=arguments.quick, peers=arguments.peers) as rig:
        sections = []
        for name in names:
            rig.say(f"--- {name}")
            sections.append(SECTIONS[name](rig))
        report = Report(datetime.now(UTC).isoformat(timespec="minutes"), machine(), commit(), rig.rounds, sections)
    _write(report)
    print(table(report))


def _write(report: Report) -> None:
    """The table, all figures and the plots, into `output/`."""
    (OUTPUT / "report.md").write_text(table(report) + "\n")
    (OUTPUT / "report.json").write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2))
    for section in report.sections:
        for curve in section.curves:
            draw(curve, OUTPUT)


if __name__ == "__main__":
    main()
