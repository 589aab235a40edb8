"""The catalogue, and which client uses what of it."""

from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from server.errors import Conflict, Invalid, NotFound
from server.net import webhooks
from server.net.vault import SIGNING_SECRET
from server.repositories import client_tools, endpoints, tools
from server.repositories.client_tools import ClientTool, ClientToolChanges
from server.repositories.clients import Client
from server.repositories.pool import Conn, reading, unit_of_work
from server.repositories.tools import Tool, ToolChanges
from server.tools.catalogue import stricter, webhook_tool, webhook_url
from server.tools.connections.http import check_base_url
from server.tools.setup.base import Setup, Target, changed_meanwhile, known_client, record
from server.tools.setup.definition import ToolDefinition, ToolOptions, check_options
from server.tools.setup.rules import checked_tool
from server.tools.tool import Effect, Proof, VisitorField

# Milliseconds a visitor waits for a workflow, unless told.
DEFAULT_TIMEOUT_MS = 15_000

AS_IT_IS = ToolOptions()
# `seen` of a thing that was not there.
NOTHING = 0

T = TypeVar("T")


class ClientToolView(msgspec.Struct, frozen=True, kw_only=True):
    """A client's tool as an API may show it.

    `n8n_webhook_url` is where it is called, None for nowhere, `own_webhook_url` what the client set for it; `proof` and
    `confirm` are what holds: the stricter of catalogue and client, whose own are `client_proof` and `client_confirm`.
    `problem` says why a tool that is enabled is not offered.
    """

    tool_name: str
    description: str
    category: str
    parameters_schema: dict[str, Any]
    bound: dict[str, VisitorField]
    enabled: bool
    effect: Effect
    proof: Proof
    confirm: bool
    client_proof: Proof | None
    client_confirm: bool
    n8n_webhook_url: str | None
    own_webhook_url: str | None
    timeout_ms: int
    custom_config: dict[str, Any]
    signed: bool
    problem: str | None
    version: int


class Enabled(msgspec.Struct, frozen=True):
    """`signing_secret` only when it has just been made: it is never shown again."""

    tool: ClientToolView
    signing_secret: str | None = None


async def define_tool(setup: Setup, definition: ToolDefinition, *, seen: int | None = None) -> tuple[Tool, bool]:
    """The tool as the catalogue has it now, for every client, and whether it is new. `seen` NOTHING: it must be new.

    Raises Invalid, Conflict.
    """
    wanted = msgspec.structs.asdict(checked_tool(definition))
    name = wanted.pop("tool_name")
    target = Target(None, "tool", name)
    async with unit_of_work(setup.pool) as conn:
        before = await tools.find_by_name(conn, tool_name=name)
        if before is None and seen not in {None, NOTHING}:
            raise NotFound(f"there is no tool {name!r} in the catalogue any more")
        if before is None:
            made = await tools.create(conn, tool_name=name, **wanted)
            await record(setup, conn, target, "tool.create")
            return made, True
        if seen == NOTHING:
            raise Conflict(f"there is a tool named {name} already", code="tool_exists", field="tool_name")
        changed = await tools.update(conn, tool_name=name, changes=ToolChanges(**wanted), seen=seen)
        if changed is None:
            raise await changed_meanwhile(conn, target, f"the tool {name}")
        await record(setup, conn, target, "tool.update", fields=_differing(before, changed))
        return changed, False


async def list_catalogue(setup: Setup) -> list[Tool]:
    """Every tool there is, by category and name."""
    async with reading(setup.pool) as conn:
        return await tools.list_all(conn)


async def find_tool(setup: Setup, *, tool_name: str) -> Tool:
    """One of the catalogue. Raises NotFound."""
    async with reading(setup.pool) as conn:
        return await _known_tool(conn, tool_name)


async def enable_tool(
    setup: Setup,
    *,
    client_id: int,
    tool_name: str,
    options: ToolOptions = AS_IT_IS,
    enabled: bool = True,
    seen: int | None = None,
) -> Enabled:
    """Lets a client's AI use a tool, or changes how it does; not `enabled`: how it would.

    `seen` NOTHING: the client has never had it. Raises Invalid, NotFound, and Conflict when the client has live data of
    this name.
    """
    check_options(options)
    own = options.n8n_webhook_url
    if isinstance(own, str):
        own = setup.egress.check_url(own, field="n8n_webhook_url")
    target = Target(client_id, "client_tool", tool_name)
    async with unit_of_work(setup.pool) as conn:
        client = await known_client(conn, client_id)
        tool = await _known_tool(conn, tool_name)
        before = await client_tools.find_by_name(conn, client_id=client_id, tool_name=tool_name)
        if seen is not None and seen != (before.version if before else NOTHING):
            raise await changed_meanwhile(conn, target, f"the tool {tool_name}")
        if enabled and await endpoints.find_by_name(conn, client_id=client_id, endpoint_name=tool_name):
            raise Conflict(f"an endpoint of client {client_id} is named {tool_name} too", field="tool_name")
        if own is UNSET:
            own = before.n8n_webhook_url if before else None
        if enabled and webhook_url(own or client.webhook_base_url, "") is None:
            raise Invalid(
                "n8n_webhook_url: is needed, because the client has no webhook_base_url", field="n8n_webhook_url"
            )
        proof = _given(options.proof, before.client_proof if before else None)
        if proof is not None and stricter(tool.proof, proof) != proof:
            raise Invalid(f"proof: is {proof}, less than the {tool.proof} the catalogue asks for", field="proof")
        secret = None if before and before.signing_secret else webhooks.new_secret()
        saved = await client_tools.enable(
            conn,
            client_id=client_id,
            tool_id=tool.id,
            n8n_webhook_url=own,
            custom_config=_given(options.custom_config, before.custom_config if before else {}),
            timeout_ms=_given(options.timeout_ms, before.timeout_ms if before else DEFAULT_TIMEOUT_MS),
            signing_secret=_sealed(setup, client_id, secret) if secret else None,
            client_proof=proof,
            client_confirm=_given(options.confirm, before.client_confirm if before else False),
            enabled=enabled,
            seen=seen,
        )
        if not saved:
            raise await changed_meanwhile(conn, target, f"the tool {tool_name}")
        now = await client_tools.find_by_name(conn, client_id=client_id, tool_name=tool_name)
        assert now is not None
        action = "client_tool.update" if before and before.enabled == enabled else _switched(enabled)
        await record(setup, conn, target, action, fields=_differing(before, now) if before else [])
    return Enabled(_view(now, client), secret)


async def disable_tool(setup: Setup, *, client_id: int, tool_name: str) -> None:
    """Not offered any more; how it was configured is kept for another time. Raises NotFound."""
    async with unit_of_work(setup.pool) as conn:
        row = await _had_tool(conn, client_id, tool_name)
        await client_tools.disable(conn, client_id=client_id, tool_id=row.tool_id)
        if row.enabled:
            await record(setup, conn, Target(client_id, "client_tool", tool_name), _switched(False))


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
        await record(setup, conn, Target(client_id, "signing_secret", tool_name), "client_tool.rotate_secret")
    return secret


async def list_tools(setup: Setup, *, client_id: int, disabled: bool = False) -> list[ClientToolView]:
    """What is enabled for a client, by name; `disabled`: and what was. Raises NotFound."""
    async with reading(setup.pool) as conn:
        client = await known_client(conn, client_id)
        rows = await (client_tools.list_all if disabled else client_tools.list_enabled)(conn, client_id=client_id)
    return [_view(row, client) for row in rows]


async def webhook_base_url(setup: Setup, *, client_id: int) -> str | None:
    """Where a client's tools without a webhook of their own are called. Raises NotFound."""
    async with reading(setup.pool) as conn:
        return (await known_client(conn, client_id)).webhook_base_url


async def set_webhook_base_url(
    setup: Setup, *, client_id: int, webhook_base_url: str | None, was: str | UnsetType | None = UNSET
) -> str | None:
    """Where a client's tools without a webhook of their own are called, each at its name below; None for nowhere.

    `was` is the one that somebody edited. Raises Invalid, NotFound, Conflict.
    """
    if webhook_base_url is not None:
        webhook_base_url = check_base_url(webhook_base_url, setup.egress, field="webhook_base_url")
    target = Target(client_id, "webhook_base_url", str(client_id))
    async with unit_of_work(setup.pool) as conn:
        await known_client(conn, client_id)
        if not await client_tools.set_base_url(conn, client_id=client_id, webhook_base_url=webhook_base_url, was=was):
            raise await changed_meanwhile(conn, target, "the webhook base URL")
        await record(setup, conn, target, "client.webhook_base_url", webhook_base_url=webhook_base_url)
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


def _view(row: ClientTool, client: Client) -> ClientToolView:
    return ClientToolView(
        tool_name=row.tool_name,
        description=row.description,
        category=row.category,
        parameters_schema=row.parameters_schema,
        bound=msgspec.convert(row.bound, dict[str, VisitorField]),
        enabled=row.enabled,
        effect=msgspec.convert(row.effect, Effect),
        proof=stricter(row.proof, row.client_proof or "none"),
        confirm=row.confirm or row.client_confirm,
        client_proof=msgspec.convert(row.client_proof, Proof | None),
        client_confirm=row.client_confirm,
        n8n_webhook_url=row.n8n_webhook_url or webhook_url(client.webhook_base_url, row.tool_name),
        own_webhook_url=row.n8n_webhook_url,
        timeout_ms=row.timeout_ms,
        custom_config=row.custom_config,
        signed=row.signing_secret is not None,
        problem=_problem(row, client) if row.enabled else None,
        version=row.version,
    )


def _problem(row: ClientTool, client: Client) -> str | None:
    """Why the catalogue does not offer it, or its calls do not go out."""
    try:
        webhook_tool(row, client)
    except (Invalid, msgspec.ValidationError) as error:
        return str(error)
    return None if row.signing_secret is not None else "it has no signing secret: rotate it"


def _switched(enabled: bool) -> str:
    return "client_tool.enable" if enabled else "client_tool.disable"


def _differing(before: msgspec.Struct, after: msgspec.Struct) -> list[str]:
    """Names of fields, no values: one may be a secret."""
    return [
        name
        for name in before.__struct_fields__
        if name not in {"version", "signing_secret"} and getattr(before, name) != getattr(after, name)
    ]


def _given(value: T | UnsetType, otherwise: T) -> T:
    return otherwise if value is UNSET else value


def _sealed(setup: Setup, client_id: int, secret: str) -> bytes:
    return setup.vault.seal(secret, client_id=client_id, field=SIGNING_SECRET)
