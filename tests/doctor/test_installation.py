"""What the doctor finds in an installation: well, and with one thing wrong after the other."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from server.doctor import Means, check, examine_installation, has_tables, report
from server.doctor.check import Check, Found, carry_out, fine
from server.errors import Unavailable
from server.llm.pricing import seed_prices
from server.llm.registry import Registry, build_registry
from server.net.vault import Vault
from server.protocol.admin.doctor import Finding
from server.repositories import instances, migrations, prices
from server.repositories.pool import reading
from server.repositories.prices import PriceRow
from server.services import Services, open_redis
from server.settings import LlmSettings
from tests.staffing import hire
from tests.support import new_shop, rows
from tests.turns.toolkit import add_tool


@pytest.fixture
async def means(services: Services) -> Means:
    """Of an installation that lacks nothing."""
    await hire(services.pool, services.keyring)
    async with reading(services.pool) as conn:
        await prices.upsert_all(
            conn, prices=[msgspec.convert(each, PriceRow, from_attributes=True) for each in seed_prices()]
        )
    settings = msgspec.structs.replace(services.settings, public_url="https://desk.example")
    return Means(settings, services.redis, services.egress, services.vault, services.pool, services.registry)


async def found(means: Means) -> dict[str, Finding]:
    """One finding for each check."""
    findings = await examine_installation(means)
    assert len({each.check for each in findings}) == len(findings)
    return {each.check: each for each in findings}


def but(means: Means, **changes: Any) -> Means:
    """The same with other settings."""
    return msgspec.structs.replace(means, settings=msgspec.structs.replace(means.settings, **changes))


async def test_all_is_well(means: Means) -> None:
    """Every check is made, and none has anything to advise."""
    findings = await found(means)
    assert set(findings) == {
        "database",
        "migrations",
        "redis",
        "model",
        "address",
        "egress",
        "secrets",
        "people",
        "servers",
        "retention",
        "prices",
    }
    assert {each.status for each in findings.values()} == {"ok"}, findings
    assert all(each.advice is None and "\n" not in each.says for each in findings.values())
    assert report(list(findings.values()), client_id=None).ok


async def test_no_redis(means: Means) -> None:
    """An error that says what to do; the other checks go on."""
    nowhere = open_redis("unix:///nowhere/redis.sock")
    findings = await found(msgspec.structs.replace(means, redis=nowhere))
    await nowhere.aclose()
    assert findings["redis"].status == "error" and findings["redis"].says.startswith("Redis cannot be reached")
    assert findings["redis"].advice == "Start it, or correct REDIS_URL."
    # A busy machine's database may be slow, which is told too.
    assert findings["database"].status != "error"
    assert not report(list(findings.values()), client_id=None).ok


async def test_no_database(means: Means) -> None:
    """What needs none is looked at all the same."""
    findings = await found(msgspec.structs.replace(means, pool=None))
    assert set(findings) == {"redis", "model", "address", "egress"}
    assert not has_tables(list(findings.values()))


async def test_missing_migrations(means: Means) -> None:
    """Named, and what needs the tables is not looked at."""
    migrations.downgrade(means.settings.database_url)
    findings = await found(means)
    assert findings["migrations"].status == "error"
    assert findings["migrations"].says == "1 migration is missing, from 0045.turn-bill on"
    assert findings["migrations"].advice == "Run `frontdesk migrate up`."
    assert "people" not in findings
    migrations.upgrade(means.settings.database_url)


async def test_a_model_that_refuses(means: Means, refusing: Registry) -> None:
    """The provider's own words."""
    findings = await found(msgspec.structs.replace(means, registry=refusing))
    assert findings["model"].status == "error"
    assert "refuses the API key; set OPENAI_API_KEY" in findings["model"].says


@pytest.fixture
async def demo(means: Means) -> AsyncIterator[Means]:
    """An installation without a model of its own."""
    registry = await build_registry(LlmSettings(provider="demo"))
    yield msgspec.structs.replace(means, registry=registry)
    await registry.close()


async def test_the_demo_model(demo: Means) -> None:
    """Works, and should not be what answers."""
    findings = await found(demo)
    assert findings["model"].status == "warning" and "OPENAI_API_KEY" in str(findings["model"].advice)
    assert findings["prices"].status == "ok"


async def test_no_price(means: Means, services: Services) -> None:
    """Answers count as free."""
    await rows(services, "delete from model_prices where provider = 'openai'")
    assert (await found(means))["prices"].status == "warning"


@pytest.mark.parametrize(
    ("url", "status"),
    [
        (None, "warning"),
        ("http://desk.example", "error"),
        ("http://localhost:8000", "ok"),
        ("https://desk.example", "ok"),
    ],
)
async def test_the_address(means: Means, url: str | None, status: str) -> None:
    """Not told, without TLS, at home, and well."""
    assert (await found(but(means, public_url=url)))["address"].status == status


@pytest.mark.parametrize(
    ("networks", "status"),
    [
        ((), "ok"),
        (("10.0.0.0/8", "fd00::/8"), "ok"),
        (("10.0.0.0/8", "0.0.0.0/0"), "warning"),
    ],
)
async def test_the_way_out(means: Means, networks: tuple[str, ...], status: str) -> None:
    """What of the own network may be called; the whole of it is too much."""
    assert (await found(but(means, allow_private_egress=networks)))["egress"].status == status


async def test_another_key(means: Means, services: Services) -> None:
    """Secrets that were sealed with a key that is not there any more, and whose."""
    shop = await new_shop(services)
    await add_tool(services, shop, "https://n8n.example/x", "look_up")
    assert (await found(means))["secrets"].says == "1 stored secret can be opened"
    findings = await found(msgspec.structs.replace(means, vault=Vault(("another key of 32 characters and more",))))
    assert findings["secrets"].status == "error"
    assert findings["secrets"].says.endswith(f"the first: client {shop.id}, tool look_up")


async def test_nobody_signs_in(means: Means, services: Services) -> None:
    """No owner, or none that is not disabled."""
    await rows(services, "update operators set status = 'disabled'")
    findings = await found(means)
    assert findings["people"].status == "error" and "frontdesk operator create" in str(findings["people"].advice)


async def test_servers(means: Means, services: Services) -> None:
    """None that lives; one whose version differs; one without Redis."""
    await rows(services, "update instances set instance = 'ins_dead'")
    assert (await found(means))["servers"].says == "no server runs"
    async with reading(services.pool) as conn:
        await instances.tell(conn, instance=services.instance, version="9.9", running_s=0, figures={"redis_away": True})
    findings = await found(means)
    assert findings["servers"].status == "warning" and "cannot reach Redis" in findings["servers"].says


async def test_retention_is_overdue(means: Means, services: Services) -> None:
    """A day later than it should be, not before."""
    shop = await new_shop(services)
    for days, status in ((30, "ok"), (32, "warning")):
        await rows(services, "delete from conversations")
        await rows(
            services,
            """
            with c as (
                insert into conversations (public_id, client_id, session_id, session_token_hash, channel, locale, epoch)
                values ('c', %s, 's', 'h', 'api', 'en', 'e') returning id, client_id
            )
            insert into events (conversation_id, seq, client_id, type, payload, created_at)
            select id, 1, client_id, 'x', '{}', now() - make_interval(days => %s) from c
            """,
            shop.id,
            days,
        )
        assert (await found(means))["retention"].status == status


async def test_checks_that_break(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of ours is said as it stands, one that hangs is cut, a bug is called one; the others go on."""
    monkeypatch.setattr(check, "CHECK_S", 0.05)

    async def away() -> list[Found]:
        raise Unavailable("postgres", "The database cannot be reached.")

    async def hang() -> list[Found]:
        await asyncio.Event().wait()
        return []

    async def bug() -> list[Found]:
        raise ZeroDivisionError

    async def well() -> list[Found]:
        return [fine("well")]

    findings = await carry_out([Check(each.__name__, each) for each in (away, hang, bug, well)])
    assert [(each.check, each.status) for each in findings] == [
        ("away", "error"),
        ("hang", "error"),
        ("bug", "error"),
        ("well", "ok"),
    ]
    assert findings[0].says == "The database cannot be reached."
    assert "ZeroDivisionError" in findings[2].says
