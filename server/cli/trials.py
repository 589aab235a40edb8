"""`frontdesk tool call`: how one call of a tool goes, for people."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

import click

from server import log
from server.cli.setting_up import client_option, contents, with_setup
from server.cli.shared import data_dir_option, json_option, print_json
from server.protocol.admin.tools import Trial, TrialExchange, TrialResult, TrialVisitor
from server.tools.setup import definition
from server.tools.setup.base import Setup
from server.tools.setup.trial import try_call

# What a terminal would obey instead of showing: controls but line breaks and tabs, and marks that turn text around.
_COMMANDS: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]"
)


@click.command()
@click.argument("name")
@client_option
@click.option("--arguments", type=click.File("rb"), help="The model's arguments as JSON; - for standard input.")
@click.option("--visitor", metavar="ID", help="Pose as this verified visitor: the client's own name for them.")
@click.option("--email", help="That visitor's e-mail address.")
@click.option("--visitor-name", help="That visitor's name.")
@click.option("--really", is_flag=True, help="Needed for an unsafe tool: it does what it does for visitors.")
@data_dir_option
@json_option
def call(
    *,
    name: str,
    client_id: int,
    arguments: BinaryIO | None,
    visitor: str | None,
    email: str | None,
    visitor_name: str | None,
    really: bool,
    data_dir: Path,
    as_json: bool,
) -> None:
    """Call a client's tool, or its live data, to try it out.

    Shows what is sent, without credentials, what comes back, and what a model would read. Exits with 1 when it fails.
    """
    if visitor is None and (email is not None or visitor_name is not None):
        raise click.UsageError("--email and --visitor-name are of a visitor: give --visitor ID")
    trial = Trial(
        arguments={} if arguments is None else definition.read_object(contents(arguments), field="arguments"),
        visitor=None if visitor is None else TrialVisitor(id=visitor, email=email, name=visitor_name),
        really=really,
    )
    # The result says it; standard output is for nothing else.
    log.configure("ERROR", "text")

    async def work(setup: Setup) -> TrialResult:
        return await try_call(setup, client_id=client_id, name=name, trial=trial)

    result = with_setup(data_dir, work)
    if as_json:
        print_json(result)
    else:
        for line in _lines(result):
            click.echo(printable(line))
    if result.outcome not in {"ok", "accepted"}:
        raise click.exceptions.Exit(1)


def printable(text: str) -> str:
    """Text from elsewhere, on a terminal: what the terminal would obey is spelled out."""
    return _COMMANDS.sub(lambda found: found[0].encode("unicode_escape").decode(), text.replace("\r\n", "\n"))


def _lines(result: TrialResult) -> Iterator[str]:
    for exchange in result.exchanges:
        yield from _exchange(exchange)
    yield f"outcome      {result.outcome}   ({result.ms} ms)"
    if result.error is not None:
        yield f"reason       {result.error}"
    if result.content:
        yield "the model reads"
        yield result.content


def _exchange(exchange: TrialExchange) -> Iterator[str]:
    request, response = exchange.request, exchange.response
    yield f"> {request.method} {request.url}"
    yield from (f"> {name}: {value}" for name, value in request.headers.items())
    if request.body:
        yield request.body
    if request.parameters:
        yield from (f"> :{name} = {value!r}" for name, value in request.parameters.items())
    if response is None:
        yield f"< nothing: {exchange.error}   ({exchange.ms} ms)"
    else:
        yield f"< {response.status or 'rows'}   {response.bytes} bytes{', cut' * response.cut}   ({exchange.ms} ms)"
        yield from (f"< {name}: {value}" for name, value in response.headers.items())
        if response.body:
            yield response.body
    yield ""
