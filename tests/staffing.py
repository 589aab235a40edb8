"""People of the console, for tests: `hire` makes one whose password everybody here knows."""

import itertools

from server.net.signing import Keyring
from server.repositories.operators import Operator
from server.repositories.pool import Pool
from server.staff.accounts import Accounts

PASSWORD = "correct horse battery"
_numbers = itertools.count(1)


async def hire(
    pool: Pool,
    keyring: Keyring,
    *,
    role: str = "owner",
    client_id: int | None = None,
    email: str | None = None,
    name: str = "Olga",
) -> Operator:
    """An operator with `PASSWORD`. An owner of the installation unless told otherwise."""
    return await Accounts(pool, keyring).create(
        email=email or f"person{next(_numbers)}@desk.example",
        name=name,
        role=role,
        client_id=client_id,
        password=PASSWORD,
    )
