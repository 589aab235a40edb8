"""What an installation needs: database, Redis, schema, model, prices, keys, people, its own address."""

import asyncio
import ipaddress
import time
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from server.doctor.check import Found, counted, fine, worth, wrong
from server.errors import SecretUnreadable
from server.llm import pricing
from server.llm.pricing import Price
from server.llm.registry import Registry
from server.net import vault
from server.net.vault import Vault
from server.repositories import ciphertexts, database, instances, migrations, operators, presence, prices, retention
from server.repositories.pool import Pool, check, reading
from server.settings import Settings

# What the schema and the statements are written for (data: PostgreSQL 15, Redis 6.2).
POSTGRES_LEAST = 15_00_00
REDIS_LEAST = (6, 2)
# Milliseconds of a round trip past which every answer waits noticeably: a turn makes about ten.
SLOW_MS = 50
# Part of `max_connections` that may be taken before another instance finds none.
CONNECTIONS_FULL = 0.8
# Seconds that clocks may differ: signed requests are good for 5 minutes, leases for 15 s.
CLOCK_S = 5.0
# Addresses of a network that somebody allowed on purpose: 10.0.0.0/8.
WIDEST = 2**24
# Ciphertexts read at once, and at most: who has more runs `frontdesk secrets rotate --dry-run`.
_PAGE = 500
_MOST = 5_000
_SEALED = (
    (vault.SIGNING_SECRET, ciphertexts.list_signing_secrets),
    (vault.CONNECTION_CONFIG, ciphertexts.list_connection_configs),
    (vault.IDENTITY_SECRET, ciphertexts.list_identity_secrets),
)


async def postgres(pool: Pool) -> list[Found]:
    """Version, way there, connections, clock."""
    async with reading(pool) as conn:
        health = await database.health(conn)
    began = time.monotonic()
    await check(pool)
    ms = (time.monotonic() - began) * 1000
    if health.version_num < POSTGRES_LEAST:
        return [wrong(f"PostgreSQL {health.version} is too old", "Use PostgreSQL 15 or newer.")]
    found = []
    if health.connections > CONNECTIONS_FULL * health.max_connections:
        taken = f"{counted(health.connections, 'connection is', 'connections are')} taken of {health.max_connections}"
        found.append(worth(taken, "Raise max_connections; an instance takes up to 20."))
    if ms > SLOW_MS:
        found.append(worth(f"a round trip takes {ms:.0f} ms", "Put database and servers into the same place."))
    if abs((health.at - datetime.now(UTC)).total_seconds()) > CLOCK_S:
        found.append(worth("its clock and this machine's differ by more than 5 s", "Set both by NTP."))
    return found or [fine(f"PostgreSQL {health.version.split()[0]} answers in {ms:.0f} ms")]


async def schema(settings: Settings) -> list[Found]:
    """Whether every migration is applied."""
    rows = await asyncio.to_thread(migrations.status, settings.database_url)
    missing = [row.name for row in rows if row.applied_at is None]
    if missing:
        says = f"{counted(len(missing), 'migration is', 'migrations are')} missing, from {missing[0]} on"
        return [wrong(says, "Run `frontdesk migrate up`.")]
    return [fine(f"all {len(rows)} migrations are applied")]


async def redis_answers(redis: Redis) -> list[Found]:
    """Everything works without it, slower and less live."""
    began = time.monotonic()
    try:
        await redis.ping()
        ms = (time.monotonic() - began) * 1000
        server = await redis.info("server")
        memory = await redis.info("memory")
    except ResponseError:
        return [fine(f"Redis answers in {ms:.0f} ms, and does not tell its version")]
    except (RedisError, OSError) as error:
        return [wrong(f"Redis cannot be reached: {' '.join(str(error).split())}", "Start it, or correct REDIS_URL.")]
    version = str(server.get("redis_version", ""))
    if tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) < REDIS_LEAST:
        return [wrong(f"Redis {version} is too old", "Use Redis 6.2 or newer.")]
    used, most = int(memory.get("used_memory", 0)), int(memory.get("maxmemory", 0))
    if most and used > CONNECTIONS_FULL * most and memory.get("maxmemory_policy") == "noeviction":
        says = f"{used / most:.0%} of its memory is used, and at 100% it refuses writes"
        return [worth(says, "Set maxmemory-policy to allkeys-lru, or give it more.")]
    return [fine(f"Redis {version} answers in {ms:.0f} ms")]


async def model(registry: Registry) -> list[Found]:
    """Whether those that are configured would answer."""
    default = registry.default_provider
    if default.name == "demo":
        says = "the demo model answers: it repeats prepared sentences"
        return [worth(says, "Set OPENAI_API_KEY, ANTHROPIC_API_KEY or OLLAMA_HOST.")]
    providers = [each for each in registry.providers if each.name != "demo"]
    found = []
    for provider, problem in zip(providers, await asyncio.gather(*(each.check() for each in providers)), strict=True):
        if problem is None:
            continue
        if provider is default:
            found.append(wrong(f"{provider.name}: {problem}", "Until then visitors read that nobody can answer."))
        else:
            found.append(worth(f"{provider.name}: {problem}", "Clients that chose it get no answers."))
    return found or [fine(f"{default.name} answers, with {registry.default_model} unless a client chose another")]


async def costs(pool: Pool, registry: Registry) -> list[Found]:
    """Whether the default model has a price: without one what it costs counts as 0."""
    async with reading(pool) as conn:
        rows = await prices.list_all(conn)
    known = [msgspec.convert(row, Price, from_attributes=True) for row in rows]
    provider, name = registry.default_provider.name, registry.default_model
    if pricing.find_price(known, provider, name, datetime.now(UTC).date()) is None:
        return [worth(f"no price of {name} is known, so its cost counts as 0", "Add it to the table model_prices.")]
    return [fine(f"the price of {name} is known")]


async def keys(pool: Pool, sealed_with: Vault) -> list[Found]:
    """Whether FRONTDESK_SECRET_KEYS opens what is stored."""
    looked = 0
    closed: list[str] = []
    for field, page in _SEALED:
        after_id = 0
        while looked < _MOST:
            async with reading(pool) as conn:
                rows = await page(conn, after_id=after_id, limit=_PAGE)
            for row in rows:
                try:
                    sealed_with.open(row.ciphertext, client_id=row.client_id, field=field)
                except SecretUnreadable:
                    closed.append(f"client {row.client_id}, {row.owner}")
            looked += len(rows)
            if len(rows) < _PAGE:
                break
            after_id = rows[-1].id
    if closed:
        says = f"{len(closed)} of {looked} stored secrets cannot be opened, the first: {closed[0]}"
        return [wrong(says, "Put the key that they were sealed with back into FRONTDESK_SECRET_KEYS.")]
    opened = counted(looked, "stored secret", "stored secrets")
    return [fine(f"{opened} can be opened" if looked else "no secrets are stored")]


async def people(pool: Pool) -> list[Found]:
    """Whether somebody may sign in and do everything."""
    async with reading(pool) as conn:
        staff = await operators.list_all(conn)
    if not any(each.role == "owner" and each.status == "active" for each in staff):
        advice = "Run `frontdesk operator create --role owner --email you@example.com`."
        return [wrong("nobody may sign in to the console as owner", advice)]
    active = sum(each.status == "active" for each in staff)
    return [fine(f"{counted(active, 'person', 'people')} may sign in to the console")]


async def servers(pool: Pool) -> list[Found]:
    """Which instances live, and whether they are of one version."""
    async with reading(pool) as conn:
        rows = await instances.list_all(conn)
        living = (await presence.look(conn)).living
    alive = [row for row in rows if presence.key(row.instance) in living]
    if not alive:
        return [worth("no server runs", "Run `frontdesk serve`.")]
    found = []
    if len(versions := {row.version for row in alive}) > 1:
        found.append(worth(f"servers of versions {', '.join(sorted(versions))} run", "Restart those of the old one."))
    if blind := [row.instance for row in alive if row.figures.get("redis_away")]:
        says = f"{', '.join(blind)} cannot reach Redis"
        found.append(worth(says, "Let them reach it: what cannot asks Postgres instead, and is slower."))
    run = "runs" if len(alive) == 1 else "run"
    return found or [fine(f"{counted(len(alive), 'instance', 'instances')} of {alive[0].version} {run}")]


async def kept(pool: Pool) -> list[Found]:
    """Whether what should be gone is gone."""
    async with reading(pool) as conn:
        oldest = await retention.oldest(conn)
    if overdue(oldest):
        says = f"words older than {retention.MESSAGE_DAYS} days, or calls older than {retention.TOOL_DAYS}, are kept"
        return [worth(says, "Run `frontdesk retention run` daily, by cron.")]
    return [fine("nothing is kept longer than it should be")]


def overdue(oldest: retention.Oldest) -> bool:
    """Whether anything is kept a day longer than it should be, so that a daily run is never late."""
    words = oldest.at - timedelta(days=retention.MESSAGE_DAYS + 1)
    calls = oldest.at - timedelta(days=retention.TOOL_DAYS + 1)
    return any(
        at is not None and at < line
        for at, line in ((oldest.content, words), (oldest.event, words), (oldest.tool_call, calls))
    )


async def address(settings: Settings) -> list[Found]:
    """Where this installation is, as others see it."""
    url = settings.public_url
    if url is None:
        says = "FRONTDESK_PUBLIC_URL is not set: the console answers on localhost alone, and no workflow can call back"
        return [worth(says, "Set it to where this server is reached, such as https://desk.example.com.")]
    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in {"localhost", "127.0.0.1", "::1"}:
        return [wrong(f"FRONTDESK_PUBLIC_URL, {url}, has no TLS", "Put TLS before the server, and let it say https.")]
    return [fine(f"this installation is {url}")]


async def way_out(settings: Settings) -> list[Found]:
    """What of the own network may be called."""
    if not settings.allow_private_egress:
        return [fine("tools and live data reach public addresses alone")]
    wide = [
        each
        for each in settings.allow_private_egress
        if isinstance(network := ipaddress.ip_network(each), ipaddress.IPv4Network) and network.num_addresses > WIDEST
    ]
    if wide:
        says = f"FRONTDESK_ALLOW_PRIVATE_EGRESS lists {', '.join(wide)}: whoever sets up a tool can call all of it"
        return [worth(says, "List only the networks that n8n and the clients' systems are in.")]
    return [fine(f"tools and live data reach public addresses and {', '.join(settings.allow_private_egress)}")]
