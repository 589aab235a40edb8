"""Which client may use which tool, and the webhook that does it."""

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from server.repositories.pool import Conn


class ClientTool(msgspec.Struct, frozen=True):
    """A client's tool, joined with the catalogue.

    `proof`, `confirm` and `bound` are the catalogue's; `client_proof` and `client_confirm` what the client asks for
    besides. Without an `n8n_webhook_url` the tool is called at the client's `webhook_base_url`. `signing_secret` is
    ciphertext. `version` counts the edits of the client's part from 1.
    """

    client_id: int
    tool_id: int
    tool_name: str
    description: str
    parameters_schema: dict[str, Any]
    category: str
    effect: str
    proof: str
    confirm: bool
    bound: dict[str, str]
    label: dict[str, str]
    enabled: bool
    n8n_webhook_url: str | None
    custom_config: dict[str, Any]
    timeout_ms: int
    signing_secret: bytes | None
    client_proof: str | None
    client_confirm: bool
    version: int


class ClientToolChanges(msgspec.Struct, frozen=True, kw_only=True):
    """What to change; a field left out stays."""

    n8n_webhook_url: str | UnsetType | None = UNSET
    custom_config: dict[str, Any] | UnsetType = UNSET
    timeout_ms: int | UnsetType = UNSET
    signing_secret: bytes | UnsetType = UNSET
    client_proof: str | UnsetType | None = UNSET
    client_confirm: bool | UnsetType = UNSET


async def enable(
    conn: Conn,
    *,
    client_id: int,
    tool_id: int,
    n8n_webhook_url: str | None,
    custom_config: dict[str, Any] | None = None,
    timeout_ms: int = 15_000,
    signing_secret: bytes | None = None,
    client_proof: str | None = None,
    client_confirm: bool = False,
    enabled: bool = True,
    seen: int | None = None,
) -> bool:
    """Enables a tool with this configuration, or keeps it for later, whether or not the client had it before.

    False when the client has it in another version than the one that was `seen`.
    """
    # A secret left out stays what it was: it is shown once and cannot be given again.
    cursor = await conn.execute(
        """
        insert into client_tools as t (
            client_id, tool_id, n8n_webhook_url, custom_config, timeout_ms, signing_secret, proof, confirm, enabled
        ) values (
            %(client_id)s, %(tool_id)s, %(n8n_webhook_url)s, %(custom_config)s, %(timeout_ms)s, %(signing_secret)s,
            %(client_proof)s, %(client_confirm)s, %(enabled)s
        )
        on conflict (client_id, tool_id) do update set
            enabled = excluded.enabled, n8n_webhook_url = excluded.n8n_webhook_url,
            custom_config = excluded.custom_config, timeout_ms = excluded.timeout_ms,
            signing_secret = coalesce(excluded.signing_secret, t.signing_secret),
            proof = excluded.proof, confirm = excluded.confirm, version = t.version + 1
        where %(seen)s::integer is null or t.version = %(seen)s
        returning id
        """,
        {
            "client_id": client_id,
            "tool_id": tool_id,
            "n8n_webhook_url": n8n_webhook_url,
            "custom_config": Jsonb(custom_config or {}, dumps=msgspec.json.encode),
            "timeout_ms": timeout_ms,
            "signing_secret": signing_secret,
            "client_proof": client_proof,
            "client_confirm": client_confirm,
            "enabled": enabled,
            "seen": seen,
        },
    )
    return await cursor.fetchone() is not None


async def disable(conn: Conn, *, client_id: int, tool_id: int) -> bool:
    """The configuration stays. False when the client never had the tool."""
    # Not offered to the model any more.
    cursor = await conn.execute(
        """
        update client_tools set enabled = false, version = version + enabled::integer
        where client_id = %(client_id)s and tool_id = %(tool_id)s
        returning id
        """,
        {"client_id": client_id, "tool_id": tool_id},
    )
    return await cursor.fetchone() is not None


async def update(conn: Conn, *, client_id: int, tool_id: int, changes: ClientToolChanges) -> bool:
    """False when the client never had the tool. A new secret alone is no edit: no other one is lost by it."""
    given = msgspec.structs.asdict(changes)
    params = {name: None if value is UNSET else value for name, value in given.items()}
    if params["custom_config"] is not None:
        params["custom_config"] = Jsonb(params["custom_config"], dumps=msgspec.json.encode)
    # Only what was given; the URL and the proof can become null again.
    cursor = await conn.execute(
        """
        update client_tools set
            n8n_webhook_url = case when %(set_url)s then %(n8n_webhook_url)s::text else n8n_webhook_url end,
            proof = case when %(set_proof)s then %(client_proof)s::text else proof end,
            confirm = coalesce(%(client_confirm)s::boolean, confirm),
            custom_config = coalesce(%(custom_config)s::jsonb, custom_config),
            timeout_ms = coalesce(%(timeout_ms)s, timeout_ms),
            signing_secret = coalesce(%(signing_secret)s, signing_secret),
            version = version + %(edits)s
        where client_id = %(client_id)s and tool_id = %(tool_id)s
        returning id
        """,
        {
            **params,
            "client_id": client_id,
            "tool_id": tool_id,
            "set_url": changes.n8n_webhook_url is not UNSET,
            "set_proof": changes.client_proof is not UNSET,
            "edits": int(any(value is not UNSET for name, value in given.items() if name != "signing_secret")),
        },
    )
    return await cursor.fetchone() is not None


async def set_base_url(
    conn: Conn, *, client_id: int, webhook_base_url: str | None, was: str | UnsetType | None = UNSET
) -> bool:
    """Where the client's tools are called that have no webhook of their own; None for nowhere.

    False when there is no such client, or it is not called at `was` any more.
    """
    # No edit of the client itself: who has its page open need not hear of it.
    cursor = await conn.execute(
        """
        update clients set webhook_base_url = %(webhook_base_url)s
        where id = %(client_id)s
            and (not %(compare)s or webhook_base_url is not distinct from %(was)s::text)
        returning id
        """,
        {
            "client_id": client_id,
            "webhook_base_url": webhook_base_url,
            "compare": was is not UNSET,
            "was": None if was is UNSET else was,
        },
    )
    return await cursor.fetchone() is not None


async def list_enabled(conn: Conn, *, client_id: int) -> list[ClientTool]:
    """What a model is offered, by name: a stable order keeps a provider's prompt cache warm."""
    async with conn.cursor(row_factory=class_row(ClientTool)) as cursor:
        # A client's tools that are on.
        await cursor.execute(
            """
            select ct.client_id, ct.tool_id, t.tool_name, t.description, t.parameters_schema, t.category, t.effect,
                   t.proof, t.confirm, t.bound, t.label, ct.enabled, ct.n8n_webhook_url, ct.custom_config,
                   ct.timeout_ms, ct.signing_secret, ct.proof as client_proof, ct.confirm as client_confirm,
                   ct.version
            from client_tools ct join tools t on t.id = ct.tool_id
            where ct.client_id = %(client_id)s and ct.enabled
            order by t.tool_name
            """,
            {"client_id": client_id},
        )
        return await cursor.fetchall()


async def list_all(conn: Conn, *, client_id: int) -> list[ClientTool]:
    """Disabled ones too, by name."""
    async with conn.cursor(row_factory=class_row(ClientTool)) as cursor:
        # What a client has, or had and may have again.
        await cursor.execute(
            """
            select ct.client_id, ct.tool_id, t.tool_name, t.description, t.parameters_schema, t.category, t.effect,
                   t.proof, t.confirm, t.bound, t.label, ct.enabled, ct.n8n_webhook_url, ct.custom_config,
                   ct.timeout_ms, ct.signing_secret, ct.proof as client_proof, ct.confirm as client_confirm,
                   ct.version
            from client_tools ct join tools t on t.id = ct.tool_id
            where ct.client_id = %(client_id)s
            order by t.tool_name
            """,
            {"client_id": client_id},
        )
        return await cursor.fetchall()


async def find_by_name(conn: Conn, *, client_id: int, tool_name: str) -> ClientTool | None:
    """Enabled or not."""
    async with conn.cursor(row_factory=class_row(ClientTool)) as cursor:
        # One tool of a client.
        await cursor.execute(
            """
            select ct.client_id, ct.tool_id, t.tool_name, t.description, t.parameters_schema, t.category, t.effect,
                   t.proof, t.confirm, t.bound, t.label, ct.enabled, ct.n8n_webhook_url, ct.custom_config,
                   ct.timeout_ms, ct.signing_secret, ct.proof as client_proof, ct.confirm as client_confirm,
                   ct.version
            from client_tools ct join tools t on t.id = ct.tool_id
            where ct.client_id = %(client_id)s and t.tool_name = %(tool_name)s
            """,
            {"client_id": client_id, "tool_name": tool_name},
        )
        return await cursor.fetchone()
