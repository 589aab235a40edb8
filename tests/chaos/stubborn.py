"""An owner that does not take the hint: it never learns that a turn is no longer its own, and goes on.

    await cluster.add(install=["tests.chaos.stubborn:owner"])

An honest instance that wakes up late stops by itself, at its own clock, at the next extension or when it is told. This
one believes its lease holds, takes every extension for granted and hears no control message. What is left are the
fences that do not depend on anybody's good behaviour: those of Postgres and of the protocol.
"""

from collections.abc import Mapping

from server.fanout.hub import Hub
from server.repositories import turn_leases
from server.repositories.pool import Conn
from server.turns.lease import Lease
from tests.chaos.points import replace


def owner() -> None:
    """Makes this process one. Called in a forked instance before it serves."""
    extend = turn_leases.extend

    async def extended(conn: Conn, *, owner: str, gens: Mapping[int, int], lease_s: float) -> list[int]:
        await extend(conn, owner=owner, gens=gens, lease_s=lease_s)
        return list(gens)

    replace(turn_leases, "extend", extended)
    replace(Hub, "on_control", lambda _hub, _listener: None)
    replace(Lease, "holds", property(lambda _lease: True))
