"""`frontdesk retention`."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bars

from server import log
from server.cli.shared import Group, data_dir_option, database, json_option, print_json
from server.jobs.retention import KINDS, Kind, Progress, Result
from server.jobs.retention import run as remove_old
from server.repositories.pool import open_pool


@click.group(cls=Group)
def retention() -> None:
    """What is kept for a time only."""


@retention.command()
@click.option("--dry-run", is_flag=True, help="Count what would be removed, and remove nothing.")
@data_dir_option
@json_option
def run(*, dry_run: bool, data_dir: Path, as_json: bool) -> None:
    """Remove words of conversations after 30 days and calls of tools after 90. For cron, daily.

    What was counted stays: messages, tokens, costs. It may run beside servers, and be stopped at any time.
    """
    log.configure("WARNING", "text")
    with database(data_dir) as url, _bars(shown=not as_json and not dry_run) as progress:
        result = asyncio.run(_run(url, dry_run=dry_run, progress=progress))
    if as_json:
        print_json(result)
        return
    _say(result)


async def _run(url: str, *, dry_run: bool, progress: Progress) -> Result:
    pool = await open_pool(url, max_size=1, application_name="frontdesk retention")
    try:
        return await remove_old(pool, dry_run=dry_run, progress=progress)
    finally:
        await pool.close()


def _say(result: Result) -> None:
    for kind in KINDS:
        count = result.rows[kind.name]
        click.echo(f"{count:>10,}  {kind.label}" if not result.dry_run else f"{count:>10,}  {kind.label} (would be)")
    click.echo(
        f"words from before {result.words_before:%Y-%m-%d}, tool calls from before {result.tools_before:%Y-%m-%d}"
    )


@contextmanager
def _bars(*, shown: bool) -> Iterator[Progress]:
    """A bar for each kind, on a terminal; elsewhere nothing but the lines at the end."""
    console = Console(stderr=True)
    with Bars(
        TextColumn("{task.description:<24}"),
        BarColumn(),
        MofNCompleteColumn(),
        console=console,
        transient=True,
        disable=not (shown and console.is_terminal),
    ) as bars:
        tasks = {kind.name: bars.add_task(kind.label, total=None) for kind in KINDS}

        def progress(kind: Kind, done: int, due: int) -> None:
            # More than were due may be found: others grew old meanwhile.
            bars.update(tasks[kind.name], completed=done, total=max(done, due))

        yield progress
