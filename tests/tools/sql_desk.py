"""Who asks in the tests of look-ups: a shop's database, the wire to it, and `Databases` that may reach this machine."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from server.net.egress import Egress
from server.tools.connections.database import DatabaseConnection, DatabaseKind
from server.tools.sql.databases import DatabaseFault, Databases, Rows
from tests.tools.sql_relay import Relay, relaying
from tests.tools.sql_shops import PASSWORD, Shop

LOOPBACK = ("127.0.0.0/8",)
KINDS: tuple[DatabaseKind, ...] = ("postgres_database", "mysql_database")


async def local(host: str) -> list[str]:
    """A DNS server for which every name of `.test` is this machine."""
    if not host.endswith(".test"):
        raise OSError("no such name")
    return ["127.0.0.1"]


@pytest.fixture
async def databases() -> AsyncIterator[Databases]:
    """May reach this machine."""
    egress = Egress(LOOPBACK, lookup=local)
    databases = Databases(egress)
    yield databases
    await databases.close()
    await egress.close()


@dataclass(frozen=True)
class Desk:
    """A shop's database, the wire to it, and who asks."""

    shop: Shop
    relay: Relay
    databases: Databases

    @property
    def kind(self) -> DatabaseKind:
        return self.shop.kind

    @property
    def connection(self) -> DatabaseConnection:
        return self.shop.connection(self.relay.port)

    async def ask(self, statement: str, *, timeout_s: float = 5.0, max_rows: int = 100, **parameters: Any) -> Rows:
        return await self.databases.query(
            self.connection,
            self.kind,
            statement=statement,
            parameters=parameters,
            timeout_s=timeout_s,
            max_rows=max_rows,
        )

    async def fault(self, statement: str, *, timeout_s: float = 5.0, **parameters: Any) -> DatabaseFault:
        """The fault of a look-up; its message is fit for a model."""
        with pytest.raises(DatabaseFault) as raised:
            await self.ask(statement, timeout_s=timeout_s, **parameters)
        assert statement not in raised.value.message
        assert "db.test" not in raised.value.message
        assert PASSWORD not in raised.value.reason
        return raised.value


@pytest.fixture(params=KINDS)
def database_shop(request: pytest.FixtureRequest) -> Shop:
    """The same shop in both databases, one after the other."""
    name = "postgres_shop" if request.param == "postgres_database" else "mariadb_shop"
    shop: Shop = request.getfixturevalue(name)
    return shop


@pytest.fixture
async def desk(database_shop: Shop, databases: Databases) -> AsyncIterator[Desk]:
    async with relaying(database_shop.target) as relay:
        yield Desk(database_shop, relay, databases)
        # The relay is gone before `databases`, whose connections are closed then.
        await databases.close()
