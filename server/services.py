"""One frozen object that wires everything below the edge. Nothing is global: tests run two of them in one process."""

import gc
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from server import ids, log
from server.access import Access
from server.cache.context import ContextCache
from server.cache.rate_limit import RateLimiter
from server.clients import Clients
from server.errors import Unavailable
from server.fanout.hub import Hub
from server.fanout.live import LiveTexts
from server.fanout.signals import Signals
from server.heads import Heads
from server.journal import Journal
from server.llm import tokens
from server.llm.figures import ModelCalls
from server.llm.registry import Registry, build_registry
from server.net.egress import Egress
from server.net.signing import Keyring
from server.net.vault import Vault
from server.recovery import Recoverer
from server.repositories.notices import LISTENER, Noticeboard
from server.repositories.pool import Pool, open_pool
from server.settings import Settings
from server.sightings import Sightings
from server.staff import Staff
from server.staff.accounts import Accounts
from server.staff.passwords import Passwords
from server.tools.catalogue import Catalogue
from server.tools.live.data import LiveData
from server.tools.runner import Runner
from server.tools.sql.databases import Databases
from server.tools.webhook.callbacks import Callbacks
from server.tools.webhook.n8n import N8n
from server.turns.accounting import Accounting
from server.turns.approval import Approvals
from server.turns.calls import Calls
from server.turns.cases.asking import Asker
from server.turns.cases.running import CaseRuns
from server.turns.cases.saving import Cases
from server.turns.commands import Commands
from server.turns.context import ContextBuilder
from server.turns.draft import Drafts
from server.turns.ending import Ending
from server.turns.engine import Engine
from server.turns.handover import Handover
from server.turns.intake import Intake
from server.turns.playground import Playground
from server.turns.quiet import Quiet
from server.turns.stopping import Stopping
from server.turns.summary import Summariser
from server.turns.supervisor import Supervisor
from server.turns.traffic import Traffic, secrets_of
from server.turns.vitals import Vitals
from server.turns.writing import Writer

logger = log.get("services")

# Connections to Postgres of one process: units of work last about 2 ms, so 16 carry some thousands a second.
POOL_SIZE = 16
# Seconds for one Redis command. Redis answers in under a millisecond; one that does not is away, and we go on without.
REDIS_PATIENCE_S = 1.0
# Commands under way at once; each takes a connection for about 0.1 ms.
REDIS_CONNECTIONS = 32


class Services(msgspec.Struct, frozen=True):
    """What the edge is made of."""

    instance: str
    settings: Settings
    pool: Pool
    redis: Redis
    hub: Hub
    signals: Signals
    keyring: Keyring
    vault: Vault
    egress: Egress
    callbacks: Callbacks
    access: Access
    clients: Clients
    sightings: Sightings
    staff: Staff
    accounts: Accounts
    limiter: RateLimiter
    journal: Journal
    recoverer: Recoverer
    heads: Heads
    registry: Registry
    supervisor: Supervisor
    intake: Intake
    commands: Commands
    handover: Handover
    vitals: Vitals
    playground: Playground
    cases: Cases
    case_runs: CaseRuns


def open_redis(url: str) -> Redis:
    """A client that gives up soon, so that a missing Redis costs a second once and not a visitor's patience."""
    pool = BlockingConnectionPool.from_url(
        url,
        # A crowd waits its turn for a moment; the plain pool would refuse it.
        max_connections=REDIS_CONNECTIONS,
        timeout=REDIS_PATIENCE_S,
        protocol=2,  # pub/sub messages as plain arrays: what `fanout/bus` reads
        socket_timeout=REDIS_PATIENCE_S,
        socket_connect_timeout=REDIS_PATIENCE_S,
        retry=Retry(NoBackoff(), 0),
    )
    return Redis.from_pool(pool)


async def check_redis(redis: Redis) -> None:
    """Readiness. Raises Unavailable."""
    try:
        await redis.ping()
    except (RedisError, OSError) as error:
        raise Unavailable("redis", f"Redis cannot be reached: {error}") from error


@asynccontextmanager
async def open_services(settings: Settings) -> AsyncIterator[Services]:
    """Everything running. Raises Unavailable when Postgres or Redis is missing at the start, SettingsError."""
    async with AsyncExitStack() as stack:
        instance = ids.instance_id()
        pool = await open_pool(settings.database_url, max_size=POOL_SIZE, application_name="frontdesk")
        stack.push_async_callback(pool.close)
        # A connection of its own, always open: who has Redis must hear those who have lost it.
        ears = await open_pool(settings.database_url, max_size=1, application_name=f"{LISTENER}{instance}")
        stack.push_async_callback(ears.close)
        redis = open_redis(settings.redis_url)
        stack.push_async_callback(redis.aclose)
        await check_redis(redis)
        registry = await build_registry(settings.llm)
        stack.push_async_callback(registry.close)
        tokens.preload([registry.default_model])
        egress = Egress(settings.allow_private_egress)
        stack.push_async_callback(egress.close)
        databases = Databases(egress)
        stack.push_async_callback(databases.close)
        hub = Hub(redis, instance, Noticeboard(pool, ears))
        services = _wire(settings, instance, pool, redis, hub, registry, egress=egress, databases=databases)
        stack.push_async_callback(services.sightings.stop)
        await services.hub.start()
        stack.push_async_callback(services.hub.stop)
        await services.supervisor.start()
        stack.push_async_callback(services.supervisor.stop)
        stack.push_async_callback(services.case_runs.stop)
        await services.vitals.start()
        stack.push_async_callback(services.vitals.stop)
        _settle_heap()
        logger.info("instance ready", instance=instance, provider=registry.default_provider.name)
        yield services


def _settle_heap() -> None:
    """Takes what the start made, some 300,000 objects that stay for good, out of the garbage collector's sight.

    A full collection, one in about 200 answers, would go through all of them, and every visitor waits 60 ms for it.
    """
    if not gc.get_freeze_count():
        gc.collect()
        gc.freeze()


def _wire(
    settings: Settings,
    instance: str,
    pool: Pool,
    redis: Redis,
    hub: Hub,
    registry: Registry,
    *,
    egress: Egress,
    databases: Databases,
) -> Services:
    signals = Signals(hub)
    live = LiveTexts(redis, hub.bus)
    quiet = Quiet(hub, live)
    journal = Journal(pool, hub)
    writer = Writer(journal)
    keyring = Keyring(settings.secret_keys)
    vault = Vault(settings.secret_keys)
    passwords = Passwords()
    limiter = RateLimiter(redis, instances=hub.instances, away=lambda: hub.bus.away)
    cache = ContextCache(redis, away=lambda: hub.bus.away)
    accounting = Accounting(pool)
    callbacks = Callbacks(pool, signals, hub, vault, keyring, public_url=settings.public_url)
    runner = Runner(
        webhooks=N8n(egress, vault, callbacks),
        live_data=LiveData(egress, vault, redis, limiter, databases, away=lambda: hub.bus.away),
    )
    models = ModelCalls()
    catalogue = Catalogue(pool)
    engine = Engine(
        pool=pool,
        hub=hub,
        live=live,
        quiet=quiet,
        registry=registry,
        context=ContextBuilder(pool, cache),
        drafts=Drafts(pool, catalogue),
        calls=Calls(pool=pool, hub=hub, writer=writer, runner=runner, approvals=Approvals(pool, signals)),
        writer=writer,
        ending=Ending(pool=pool, writer=writer, live=live, cache=cache, accounting=accounting),
        accounting=accounting,
        summariser=Summariser(pool, registry, accounting),
        models=models,
        traffic=Traffic(pool, secrets_of(settings.llm)),
    )
    supervisor = Supervisor(pool=pool, journal=journal, hub=hub, engine=engine, owner=instance)
    stopping = Stopping(
        pool=pool, journal=journal, live=live, quiet=quiet, supervisor=supervisor, accounting=accounting
    )
    access = Access(pool, keyring, vault)
    intake = Intake(journal=journal, limiter=limiter, supervisor=supervisor, signals=signals)
    playground = Playground(pool=pool, access=access, catalogue=catalogue, registry=registry)
    asker = Asker(pool=pool, hub=hub, intake=intake, playground=playground)
    return Services(
        instance=instance,
        settings=settings,
        pool=pool,
        redis=redis,
        hub=hub,
        signals=signals,
        keyring=keyring,
        vault=vault,
        egress=egress,
        callbacks=callbacks,
        access=access,
        clients=Clients(pool, keyring, vault),
        sightings=Sightings(pool),
        staff=Staff(pool, keyring, passwords),
        accounts=Accounts(pool, keyring, passwords),
        limiter=limiter,
        journal=journal,
        recoverer=Recoverer(pool, journal, live),
        heads=Heads(pool),
        registry=registry,
        supervisor=supervisor,
        intake=intake,
        commands=Commands(pool=pool, journal=journal, signals=signals, stopping=stopping),
        handover=Handover(
            pool=pool, hub=hub, journal=journal, signals=signals, supervisor=supervisor, stopping=stopping
        ),
        vitals=Vitals(pool=pool, hub=hub, supervisor=supervisor, instance=instance, models=models),
        playground=playground,
        cases=Cases(pool, catalogue),
        case_runs=CaseRuns(pool=pool, playground=playground, asker=asker),
    )
