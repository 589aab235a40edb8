"""Which checks are made, of the installation and of a client, with what is there to make them with."""

from datetime import UTC, datetime
from functools import partial

import msgspec
from redis.asyncio import Redis

from server.doctor import client as of_client
from server.doctor import installation
from server.doctor.check import Check, carry_out
from server.errors import NotFound
from server.llm.registry import Registry
from server.net.egress import Egress
from server.net.vault import Vault
from server.protocol.admin.doctor import DoctorReport, Finding
from server.repositories import clients
from server.repositories.pool import Pool, reading
from server.settings import Settings


class Means(msgspec.Struct, frozen=True):
    """What checks need. Without a `pool` or a `registry` what needs them is left out: why is a finding already."""

    settings: Settings
    redis: Redis
    egress: Egress
    vault: Vault
    pool: Pool | None
    registry: Registry | None


async def examine_installation(means: Means) -> list[Finding]:
    """What all clients need. Takes as long as the slowest check, 15 s at most. Raises nothing."""
    settings, pool, registry = means.settings, means.pool, means.registry
    first: list[Finding] = []
    checks = [Check("redis", partial(installation.redis_answers, means.redis))]
    if registry is not None:
        checks.append(Check("model", partial(installation.model, registry)))
    checks.append(Check("address", partial(installation.address, settings)))
    checks.append(Check("egress", partial(installation.way_out, settings)))
    if pool is not None:
        schema = Check("migrations", partial(installation.schema, settings))
        first = await carry_out([Check("database", partial(installation.postgres, pool)), schema])
        if has_tables(first):
            checks += _of_tables(pool, registry, means.vault)
    return [*first, *await carry_out(checks)]


def has_tables(findings: list[Finding]) -> bool:
    """Whether what was found lets the database be asked further."""
    return {each.check for each in findings if each.status != "error"} >= {"database", "migrations"}


def _of_tables(pool: Pool, registry: Registry | None, vault: Vault) -> list[Check]:
    checks = [
        Check("secrets", partial(installation.keys, pool, vault)),
        Check("people", partial(installation.people, pool)),
        Check("servers", partial(installation.servers, pool)),
        Check("retention", partial(installation.kept, pool)),
    ]
    if registry is not None:
        checks.append(Check("prices", partial(installation.costs, pool, registry)))
    return checks


async def examine_client(means: Means, client_id: int) -> list[Finding]:
    """What one client needs. Raises NotFound, and Unavailable without a database."""
    if means.pool is None:
        return []
    async with reading(means.pool) as conn:
        client = await clients.find(conn, client_id=client_id)
    if client is None:
        raise NotFound(f"there is no client {client_id}")
    checks = [
        Check("client", partial(of_client.standing, client, means.pool)),
        Check("origins", partial(of_client.origins, client)),
        Check("script", partial(of_client.script, client, means.pool)),
        Check("webhooks", partial(of_client.webhooks, client, means.pool, means.egress)),
        Check("integrations", partial(of_client.systems, client, means.pool)),
        Check("tool calls", partial(of_client.calls, client, means.pool)),
    ]
    if means.registry is not None:
        checks.insert(3, Check("client's model", partial(of_client.model, client, means.registry)))
    return await carry_out(checks)


def report(findings: list[Finding], *, client_id: int | None) -> DoctorReport:
    """All that was found."""
    return DoctorReport(
        at=datetime.now(UTC),
        client_id=client_id,
        ok=all(each.status != "error" for each in findings),
        findings=findings,
    )
