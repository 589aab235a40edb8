"""Puts the demo shops into the database, once."""

import msgspec

from server import ids
from server.embedded.demo_data import DEMO_CLIENTS, DemoClient
from server.net.signing import Keyring
from server.repositories import clients
from server.repositories.clients import Client, ClientChanges
from server.repositories.pool import Conn


async def seed(conn: Conn, keyring: Keyring, *, origins: list[str]) -> list[Client]:
    """Creates the shops that are missing; shops that are there only learn new origins. Idempotent."""
    there = {client.domain: client for client in await clients.list_all(conn)}
    return [await _shop(conn, keyring, each, there.get(each.domain), origins) for each in DEMO_CLIENTS]


async def _shop(conn: Conn, keyring: Keyring, demo: DemoClient, there: Client | None, origins: list[str]) -> Client:
    if there is None:
        # Nobody is told this key: a demo shop has no server of its own. `client rotate-key` makes one that is told.
        secret = ids.secret_key()
        return await clients.create(
            conn,
            name=demo.name,
            domain=demo.domain,
            allowed_origins=origins,
            public_key=ids.public_key(),
            api_key_hash=keyring.digest("api-key", secret),
            api_key_prefix=secret[:8],
            plan_type="pro",
            system_prompt=demo.system_prompt,
            widget_config=msgspec.to_builtins(demo.widget_config),
            locale=demo.locale,
            timezone=demo.timezone,
        )
    if set(origins) <= set(there.allowed_origins):
        return there
    merged = [*there.allowed_origins, *(each for each in origins if each not in there.allowed_origins)]
    changed = await clients.update(conn, client_id=there.id, changes=ClientChanges(allowed_origins=merged))
    return changed or there
