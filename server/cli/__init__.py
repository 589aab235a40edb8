"""The `frontdesk` command. One module a group; errors go to standard error, in one line, with an exit code."""

import click

from server import __version__
from server.cli import (
    cases,
    clients,
    doctor,
    integrations,
    migrate,
    operators,
    protocol,
    retention,
    run,
    secrets,
    tools,
)
from server.cli.shared import Group


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="frontdesk")
def main() -> None:
    """A self-hosted, multi-tenant AI front desk for websites."""


main.add_command(run.dev)
main.add_command(run.serve)
main.add_command(migrate.migrate)
main.add_command(clients.client)
main.add_command(operators.operator)
main.add_command(tools.tool)
main.add_command(integrations.integration)
main.add_command(cases.cases)
main.add_command(secrets.secrets)
main.add_command(doctor.doctor)
main.add_command(retention.retention)
main.add_command(protocol.protocol)
