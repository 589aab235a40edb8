"""The catalogue, and which client uses what of it."""

from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from server.errors import Conflict, Invalid, NotFound
from server.net import webhooks
from server.net.vault import SIGNING_SECRET
from server.repositories import client_tools, clients, endpoints, tools
from server.repositories.client_tools import ClientTool, ClientToolChanges
from server.repositories.clients import ClientChanges
from server.repositories.pool import Conn, reading, unit_of_work
from server.repositories.tools import Tool, ToolChanges
from server.tools.catalogue import stricter, webhook_url
from server.tools.connections.http import check_base_url
from server.tools.setup.base import Setup, known_client
from server.tools.setup.definition import ToolDefinition, ToolOptions, check_options, checked_tool
from server.tools.tool import Effect, Proof

# Milliseconds a visitor waits for a workflow, unless told.
DEFAULT_TIMEOUT_MS = 15_000

AS_IT_IS = ToolOptions()

T = TypeVar("T")


class ClientToolView(msgspec.Struct, frozen=True, kw_only=True):
    """A client's tool as an API may show it. `n8n_webhook_url` is where it is called, None for nowhere; `proof` and
    `confirm` are what holds: the stricter of catalogue and client."""

    tool_name: str
    enabled: bool
    effect: Effect
    proof: Proof
    confirm: bool
    n8n_webhook_url: str | None
    timeout_ms: int
    custom_config: dict[str, Any]
    signed: bool


class Enabled(msgspec.Struct, frozen=True):
    """`signing_secret` only when it has just been made: it is never shown again."""

    tool: ClientToolView
    signing_secret: str | None = None


async def define_tool(setup: Setup, definition: ToolDefinition) -> tuple[Tool, bool]:
    """The tool as the catalogue has it now, for every client, and whether it is new. Raises Invalid."""
    wanted = msgspec.structs.asdict(checked_tool(definition))
    name = wanted.pop("tool_name")
    async with unit_of_work(setup.pool) as conn:
        changed = await tools.update(conn, tool_name=name, changes=ToolChanges(**wanted))
        if changed is not None:
            return changed, False
        return await tools.create(conn, tool_name=name, **wanted), True


async def list_catalogue(setup: Setup) -> list[Tool]:
    """Every tool there is, by category and name."""
    async with reading(setup.pool) as conn:
        return await tools.list_all(conn)


async def enable_tool(setup: Setup, *, client_id: int, tool_name: str, options: ToolOptions = AS_IT_IS) -> Enabled:
    """Lets a client's AI use a tool, or changes how it does. Raises Invalid, NotFound, and Conflict when the client has
    live data of this name."""
    check_options(options)
    own = options.n8n_webhook_url
    if isinstance(own, str):
        own = setup.egress.check_url(own, field="n8n_webhook_url")
    async with unit_of_work(setup.pool) as conn:
        client = await known_client(conn, client_id)
        tool = await _known_tool(conn, tool_name)
        if await endpoints.find_by_name(conn, client_id=client_id, endpoint_name=tool_name):
            raise Conflict(f"an endpoint of client {client_id} is named {tool_name} too", field="tool_name")
        before = await client_tools.find_by_name(conn, client_id=client_id, tool_name=tool_name)
        if own is UNSET:
            own = before.n8n_webhook_url if before else None
        if webhook_url(own or client.webhook_base_url, "") is None:
            raise Invalid(
                "n8n_webhook_url: is needed, because the client has no webhook_base_url", field="n8n_webhook_url"
            )
        proof = _given(options.proof, before.client_proof if before else None)
        if proof is not None and stricter(tool.proof, proof) != proof:
            raise Invalid(f"proof: is {proof}, less than the {tool.proof} the catalogue asks for", field="proof")
        secret = None if before and before.signing_secret else webhooks.new_secret()
        await client_tools.enable(
            conn,
            client_id=client_id,
            tool_id=tool.id,
            n8n_webhook_url=own,
            custom_config=_given(options.custom_config, before.custom_config if before else {}),
            timeout_ms=_given(options.timeout_ms, before.timeout_ms if before else DEFAULT_TIMEOUT_MS),
            signing_secret=_sealed(setup, client_id, secret) if secret else None,
            client_proof=proof,
            client_confirm=_given(options.confirm, before.client_confirm if before else False),
        )
        now = await client_tools.find_by_name(conn, client_id=client_id, tool_name=tool_name)
        assert now is not None
    return Enabled(_view(now, client.webhook_base_url), secret)


async def disable_tool(setup: Setup, *, client_id: int, tool_name: str) -> None:
    """Not offered any more; how it was configured is kept for another time. Raises NotFound."""
    async with unit_of_work(setup.pool) as conn:
        row = await _had_tool(conn, client_id, tool_name)
        await client_tools.disable(conn, client_id=client_id, tool_id=row.tool_id)


async def rotate_signing_secret(setup: Setup, *, client_id: int, tool_name: str) -> str:
    """The new secret, shown once; calls are signed with it at once and with the old one no more. Raises NotFound."""
    secret = webhooks.new_secret()
    async with unit_of_work(setup.pool) as conn:
        row = await _had_tool(conn, client_id, tool_name)
        await client_tools.update(
            conn,
            client_id=client_id,
            tool_id=row.tool_id,
            changes=ClientToolChanges(signing_secret=_sealed(setup, client_id, secret)),
        )
    return secret


async def list_tools(setup: Setup, *, client_id: int) -> list[ClientToolView]:
    """What is enabled for a client, by name. Raises NotFound."""
    async with reading(setup.pool) as conn:
        client = await known_client(conn, client_id)
        rows = await client_tools.list_enabled(conn, client_id=client_id)
    return [_view(row, client.webhook_base_url) for row in rows]


async def set_webhook_base_url(setup: Setup, *, client_id: int, webhook_base_url: str | None) -> str | None:
    """Where a client's tools without a webhook of their own are called, each at its name below; None for nowhere.
    Raises Invalid, NotFound."""
    if webhook_base_url is not None:
        webhook_base_url = check_base_url(webhook_base_url, setup.egress, field="webhook_base_url")
    async with unit_of_work(setup.pool) as conn:
        await known_client(conn, client_id)
        await clients.update(conn, client_id=client_id, changes=ClientChanges(webhook_base_url=webhook_base_url))
    return webhook_base_url


async def _known_tool(conn: Conn, tool_name: str) -> Tool:
    tool = await tools.find_by_name(conn, tool_name=tool_name)
    if tool is None:
        raise NotFound(f"there is no tool {tool_name[:64]!r} in the catalogue")
    return tool


async def _had_tool(conn: Conn, client_id: int, tool_name: str) -> ClientTool:
    await known_client(conn, client_id)
    row = await client_tools.find_by_name(conn, client_id=client_id, tool_name=tool_name)
    if row is None:
        raise NotFound(f"client {client_id} has no tool {tool_name[:64]!r}")
    return row


def _view(row: ClientTool, webhook_base_url: str | None) -> ClientToolView:
    return ClientToolView(
        tool_name=row.tool_name,
        enabled=row.enabled,
        effect=msgspec.convert(row.effect, Effect),
        proof=stricter(row.proof, row.client_proof or "none"),
        confirm=row.confirm or row.client_confirm,
        n8n_webhook_url=row.n8n_webhook_url or webhook_url(webhook_base_url, row.tool_name),
        timeout_ms=row.timeout_ms,
        custom_config=row.custom_config,
        signed=row.signing_secret is not None,
    )


def _given(value: T | UnsetType, otherwise: T) -> T:
    return otherwise if value is UNSET else value


def _sealed(setup: Setup, client_id: int, secret: str) -> bytes:
    return setup.vault.seal(secret, client_id=client_id, field=SIGNING_SECRET)
