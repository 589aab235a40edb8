"""`frontdesk cases`."""

import asyncio
from pathlib import Path

import click

from server import log
from server.admin.cases import run_body
from server.cli.setting_up import client_option
from server.cli.shared import Group, data_dir_option, json_option, print_json, settings_of
from server.protocol.admin.cases import Run
from server.services import open_services
from server.settings import Settings
from server.turns.cases.case import Verdict
from server.turns.cases.running import Told


@click.group(cls=Group)
def cases() -> None:
    """Test cases: conversations that a client's AI should still do well after a change."""


@cases.command()
@client_option
@click.option("--case", "case_ids", multiple=True, type=int, help="Only this one; give it again for more.")
@data_dir_option
@json_option
def run(*, client_id: int, case_ids: tuple[int, ...], data_dir: Path, as_json: bool) -> None:
    """Ask a client's test cases again, by its model as it is set up now, and judge the answers.

    Its tools are answered from the record: none is really called. Exits with 1 when a case fails.
    """
    log.configure("ERROR", "text")
    with settings_of(data_dir) as settings:
        told = asyncio.run(_run(settings, client_id, list(case_ids) or None, None if as_json else _say))
    if as_json:
        print_json(told)
    else:
        _sum_up(told)
    if told.run.status != "done" or told.run.failed:
        raise click.exceptions.Exit(1)


async def _run(settings: Settings, client_id: int, case_ids: list[int] | None, told: Told | None) -> Run:
    async with open_services(settings) as services:
        # This process answers its own questions, and takes no visitor's turn: it is about to end.
        services.supervisor.drain()
        run_id = await services.case_runs.start(operator_id=None, client_id=client_id, case_ids=case_ids, told=told)
        await services.case_runs.ended(run_id)
        return await run_body(services.pool, client_id, run_id)


def _say(name: str, passed: bool, verdicts: list[Verdict]) -> None:
    click.echo(f"{click.style('passed', fg='green') if passed else click.style('failed', fg='red')}  {name}")
    for each in verdicts:
        if not each.passed:
            words = f"{each.rule} {each.value!r}" if each.value else each.rule
            click.echo(f"        {words}: {each.reason}")


def _sum_up(told: Run) -> None:
    run = told.run
    click.echo(
        f"{run.passed} passed, {run.failed} failed, of {run.total}; {run.tokens_input + run.tokens_output:,} tokens, "
        f"{run.cost:.4f} US dollars"
    )
    if run.status != "done":
        click.echo("the run was interrupted; its log says why", err=True)
