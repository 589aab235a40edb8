"""`frontdesk protocol`."""

import click

from server.protocol import emit


@click.command()
def protocol() -> None:
    """Write the wire's TypeScript and JSON Schema from the structs in server/protocol/."""
    for path, text in emit.outputs().items():
        path.write_text(text, encoding="utf-8")
        click.echo(f"wrote {path.name}")
