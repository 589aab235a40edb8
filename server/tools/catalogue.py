"""What each client lets the AI use: its tools and its live data, read from Postgres and kept for a moment."""

import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

import msgspec

from server import log
from server.errors import Invalid
from server.repositories import client_tools, endpoints
from server.repositories.client_tools import ClientTool
from server.repositories.clients import Client
from server.repositories.endpoints import OfferedEndpoint
from server.repositories.pool import Pool, reading
from server.tools.arguments.schema import NO_ARGUMENTS, check_bound, checker
from server.tools.tool import Effect, Endpoint, Proof, Tool, VisitorField, Webhook
from server.tools.toolbox import Toolbox

# Seconds a toolbox is kept: a change reaches visitors about as fast as a person can look.
KEEP_S = 3.0
# Clients whose toolbox is kept. Beyond, the least recently used is read again.
_MAX_CLIENTS = 2_000
_PROOFS: tuple[Proof, ...] = ("none", "session", "verified")

logger = log.get("tools")


class _Kept(msgspec.Struct, frozen=True):
    toolbox: Toolbox
    webhook_base_url: str | None
    until: float


class Catalogue:
    """Shared by all turns of an instance."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._kept: OrderedDict[int, _Kept] = OrderedDict()
        self._said: OrderedDict[tuple[int, str, str], None] = OrderedDict()

    async def offered(self, client: Client) -> Toolbox:
        """What a model may use for this client now, at most KEEP_S old. A row that makes no sense is left out and
        logged: the others still work. Raises Unavailable."""
        kept = self._kept.get(client.id)
        if kept and kept.until > time.monotonic() and kept.webhook_base_url == client.webhook_base_url:
            self._kept.move_to_end(client.id)
            return kept.toolbox
        toolbox = await self._load(client)
        self._kept[client.id] = _Kept(toolbox, client.webhook_base_url, time.monotonic() + KEEP_S)
        self._kept.move_to_end(client.id)
        while len(self._kept) > _MAX_CLIENTS:
            self._kept.popitem(last=False)
        return toolbox

    async def drafted(self, client: Client, names: Collection[str]) -> Toolbox:
        """What of these names a model might use if only they were on, read anew. Raises as `offered`."""
        return await self._load(client, names)

    async def names(self, client_id: int) -> list[str]:
        """All that the client's AI could be offered, whether it is on or off, in order. Raises Unavailable."""
        async with reading(self._pool) as conn:
            tools = await client_tools.list_all(conn, client_id=client_id)
            live = await endpoints.list_offered(conn, client_id=client_id)
        return sorted({tool.tool_name for tool in tools} | {endpoint.endpoint_name for endpoint in live})

    async def _load(self, client: Client, names: Collection[str] | None = None) -> Toolbox:
        async with reading(self._pool) as conn:
            # Two round trips, once a client in KEEP_S.
            read = client_tools.list_enabled if names is None else client_tools.list_all
            tools = await read(conn, client_id=client.id)
            live = await endpoints.list_offered(conn, client_id=client.id)
        if names is not None:
            tools = [tool for tool in tools if tool.tool_name in names]
            live = [endpoint for endpoint in live if endpoint.endpoint_name in names]
        made: dict[str, Tool] = {}
        for tool in tools:
            self._add(made, client, tool.tool_name, partial(webhook_tool, tool, client))
        for endpoint in live:
            if endpoint.endpoint_name in made:
                self._log(client, endpoint.endpoint_name, "an endpoint has the name of a tool: the tool is offered")
            else:
                self._add(made, client, endpoint.endpoint_name, partial(endpoint_tool, endpoint))
        return Toolbox(made.values())

    def _add(self, made: dict[str, Tool], client: Client, name: str, make: Callable[[], Tool]) -> None:
        try:
            made[name] = make()
        except (Invalid, msgspec.ValidationError) as error:
            self._log(client, name, str(error))

    def _log(self, client: Client, name: str, reason: str) -> None:
        """Once for each reason, not with every reading."""
        said = (client.id, name, reason)
        if said not in self._said:
            logger.warning("tool not offered", client_id=client.id, tool=name, reason=reason)
            self._said[said] = None
            while len(self._said) > _MAX_CLIENTS:
                self._said.popitem(last=False)


def webhook_url(base: str | None, tool_name: str) -> str | None:
    """Where a tool without a webhook of its own is called."""
    return f"{base.rstrip('/')}/{tool_name}" if base else None


def stricter(one: str, other: str) -> Proof:
    """The one that asks for more. Raises ValidationError for what is no proof."""
    return max(msgspec.convert(one, Proof), msgspec.convert(other, Proof), key=_PROOFS.index)


class _Policy(msgspec.Struct, frozen=True, kw_only=True):
    """Columns that Postgres keeps as text and JSON."""

    effect: Effect
    proof: Proof
    bound: dict[str, VisitorField]
    label: dict[str, str]


def _policy(row: ClientTool | OfferedEndpoint) -> _Policy:
    """Raises Invalid or ValidationError for what makes no sense."""
    policy = msgspec.convert(row, _Policy, from_attributes=True)
    checker(_parameters(row))
    check_bound(policy.bound, row.parameters_schema)
    # Nobody else may fill them, whatever the row says.
    return msgspec.structs.replace(policy, proof="verified") if policy.bound else policy


def _parameters(row: ClientTool | OfferedEndpoint) -> dict[str, Any]:
    # The column's default says nothing of arguments: there are none.
    return NO_ARGUMENTS if row.parameters_schema == {} else row.parameters_schema


def webhook_tool(row: ClientTool, client: Client) -> Tool:
    """A client's tool as it is called. Raises Invalid, ValidationError for a row that makes no sense."""
    policy = _policy(row)
    url = row.n8n_webhook_url or webhook_url(client.webhook_base_url, row.tool_name)
    if url is None:
        raise Invalid("it has no webhook and the client no webhook_base_url", field="n8n_webhook_url")
    return Tool(
        name=row.tool_name,
        description=row.description,
        parameters=_parameters(row),
        effect=policy.effect,
        proof=stricter(policy.proof, row.client_proof or "none"),
        confirm=row.confirm or row.client_confirm,
        bound=policy.bound,
        label=policy.label,
        source=Webhook(url, row.timeout_ms, row.signing_secret, row.custom_config),
    )


def endpoint_tool(row: OfferedEndpoint) -> Tool:
    """Live data as it is asked for. Raises as `webhook_tool`."""
    policy = _policy(row)
    return Tool(
        name=row.endpoint_name,
        description=row.description,
        parameters=_parameters(row),
        effect=policy.effect,
        proof=policy.proof,
        confirm=row.confirm,
        bound=policy.bound,
        label=policy.label,
        source=Endpoint(
            endpoint_id=row.id,
            integration_id=row.integration_id,
            integration_type=row.integration_type,
            connection_config=row.connection_config,
            url=row.endpoint_url,
            method=row.method,
            response_path=row.response_path,
            cache_ttl=row.cache_ttl,
        ),
    )
