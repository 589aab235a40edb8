"""What the command line and the console set up with. Every function checks all of it first: nothing changes when
anything is wrong. Secrets go in sealed and never come out, but for the one that is made here and shown once.

Each change is written to the audit log with it. `seen` is the version that somebody edited: where the thing has another
one by now they are told who changed it, and nothing is overwritten; None overwrites whatever is there.
"""

from typing import Any

import msgspec

from server.errors import Conflict, NotFound
from server.net.egress import Egress
from server.net.vault import CONNECTION_CONFIG, Vault
from server.repositories import audit, changes, clients, integrations
from server.repositories.clients import Client
from server.repositories.integrations import Integration
from server.repositories.pool import Conn, Pool
from server.tools.connections import kinds as connections
from server.tools.connections.kinds import Connection


class Setup(msgspec.Struct, frozen=True):
    """What setting up needs. `operator_id` is who does it, None for the command line."""

    pool: Pool
    vault: Vault
    egress: Egress
    operator_id: int | None = None


class Target(msgspec.Struct, frozen=True):
    """A thing as the audit log names it. `client_id` is None for what is the installation's."""

    client_id: int | None
    kind: str
    id: str


async def record(setup: Setup, conn: Conn, target: Target, action: str, **details: Any) -> None:
    """In the transaction of the change. `details` hold no secrets."""
    await audit.record(
        conn,
        client_id=target.client_id,
        operator_id=setup.operator_id,
        action=action,
        target_type=target.kind,
        target_id=target.id,
        details=details,
    )


async def changed_meanwhile(conn: Conn, target: Target, what: str) -> Conflict:
    """For whoever edited an older version. `what` begins the sentence."""
    last = await changes.find_last(conn, client_id=target.client_id, target_type=target.kind, target_id=target.id)
    return changes.changed_meanwhile(what, last)


async def known_client(conn: Conn, client_id: int) -> Client:
    """Raises NotFound."""
    client = await clients.find(conn, client_id=client_id)
    if client is None:
        raise NotFound(f"there is no client {client_id}")
    return client


async def known_integration(conn: Conn, client_id: int, integration_id: int) -> Integration:
    """Raises NotFound, also for another client's."""
    row = await integrations.find(conn, client_id=client_id, integration_id=integration_id)
    if row is None:
        raise NotFound(f"client {client_id} has no integration {integration_id}")
    return row


def opened(setup: Setup, row: Integration) -> Connection:
    """Secrets included: never to be shown. Raises SecretUnreadable, and Invalid when the deployment's rules of egress
    have changed since."""
    text = setup.vault.open(row.connection_config, client_id=row.client_id, field=CONNECTION_CONFIG)
    return connections.parse(row.integration_type, text, setup.egress)
