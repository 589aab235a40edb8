"""Live data as an instance has it, in front of the local shops, with a real Redis and the real way out."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from redis.asyncio import Redis

from server.cache.rate_limit import RateLimiter
from server.net.egress import Egress
from server.net.vault import CONNECTION_CONFIG, Vault
from server.services import open_redis
from server.tools.live.data import LiveData
from server.tools.setup.definition import EndpointDefinition
from server.tools.sql.databases import Databases
from server.tools.tool import Call, Caller, Effect, Endpoint, Outcome, Person, Tool, VisitorField
from tests.tools.shop_server import TOKEN, ShopServer, shop_server

SECRET_KEYS = ("0123456789abcdef0123456789abcdef",)
LOOPBACK = ("127.0.0.0/8",)
ANN = Person("7", "ann@example.com", "Ann")
EVE = Person("8", "eve@example.com", "Eve")


class World(msgspec.Struct, frozen=True):
    """`live` is of one instance; `instance()` makes another one on the same Redis."""

    shop: ShopServer
    egress: Egress
    vault: Vault
    redis: Redis
    databases: Databases
    live: LiveData
    instance: Callable[[], LiveData]

    @property
    def api(self) -> dict[str, Any]:
        """A configuration of the custom API."""
        return {"api_url": f"{self.shop.url}/api/v1", "auth": {"type": "bearer", "token": TOKEN}}

    @property
    def weather(self) -> dict[str, Any]:
        """A configuration of where things go wrong."""
        return {"api_url": f"{self.shop.url}/weather"}

    def tool(
        self,
        url: str,
        config: dict[str, Any],
        *properties: str,
        client_id: int = 1,
        endpoint_id: int = 1,
        integration_type: str = "custom_api",
        method: str = "GET",
        effect: Effect = "read_only",
        response_path: str | None = None,
        cache_ttl: int = 0,
        bound: dict[str, VisitorField] | None = None,
        schema: dict[str, Any] | None = None,
    ) -> Tool:
        """A tool that looks `url` up; `properties` are its arguments, all text and all needed."""
        sealed = self.vault.seal(msgspec.json.encode(config).decode(), client_id=client_id, field=CONNECTION_CONFIG)
        given = {
            "type": "object",
            "properties": {name: {"type": "string"} for name in properties},
            "required": list(properties),
        }
        return Tool(
            name="look_up",
            description="Looks something up",
            parameters=given if schema is None else schema,
            effect=effect,
            proof="verified" if bound else "none",
            confirm=False,
            bound=bound or {},
            label={},
            source=Endpoint(
                endpoint_id=endpoint_id,
                integration_id=endpoint_id,
                integration_type=integration_type,
                connection_config=sealed,
                url=url,
                method=method,
                response_path=response_path,
                cache_ttl=cache_ttl,
            ),
        )

    def defined(self, definition: EndpointDefinition, config: dict[str, Any]) -> Tool:
        """What a preset's definition becomes."""
        return self.tool(
            definition.endpoint_url,
            config,
            method=definition.method or "GET",
            effect=definition.effect or "read_only",
            response_path=definition.response_path,
            cache_ttl=definition.cache_ttl or 0,
            bound=definition.bound,
            schema=definition.parameters_schema,
        )

    async def run(
        self,
        tool: Tool,
        *,
        visitor: Person | None = None,
        client_id: int = 1,
        budget_s: float = 30.0,
        live: LiveData | None = None,
        **arguments: Any,
    ) -> Outcome:
        """One call with these arguments."""
        caller = Caller(
            client_id=client_id,
            client_key="pk_test",
            client_name="Bob's Pizza",
            conversation_id="cnv_1",
            turn_id="trn_1",
            turn_row=1,
            locale="en",
            channel="widget",
            visitor=visitor,
        )
        call = Call(key="trn_1:1", tool=tool.name, arguments=arguments, caller=caller, budget_s=budget_s)
        return await (live or self.live).run(tool, call)


@asynccontextmanager
async def open_world(redis_url: str) -> AsyncIterator[World]:
    egress = Egress(LOOPBACK)
    vault = Vault(SECRET_KEYS)
    redis = open_redis(redis_url)
    databases = Databases(egress)

    def instance() -> LiveData:
        return LiveData(egress, vault, redis, RateLimiter(redis), databases)

    async with shop_server() as shop:
        try:
            yield World(shop, egress, vault, redis, databases, instance(), instance)
        finally:
            await databases.close()
            await egress.close()
            await redis.aclose()
