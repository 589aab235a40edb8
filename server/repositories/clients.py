"""Clients, joined with what their plan allows."""

from datetime import datetime
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from server.repositories.pool import Conn


class Client(msgspec.Struct, frozen=True):
    """A tenant. `monthly_messages` is None where the plan has no limit; `version` counts the edits from 1."""

    id: int
    name: str
    domain: str
    allowed_origins: list[str]
    public_key: str
    api_key_prefix: str
    webhook_base_url: str | None
    plan_type: str
    status: str
    system_prompt: str
    model_config: dict[str, Any]
    widget_config: dict[str, Any]
    locale: str
    timezone: str
    created_at: datetime
    version: int
    monthly_messages: int | None
    requests_per_minute: int


class ClientChanges(msgspec.Struct, frozen=True, kw_only=True):
    """What to change; a field left out stays."""

    name: str | UnsetType = UNSET
    domain: str | UnsetType = UNSET
    allowed_origins: list[str] | UnsetType = UNSET
    webhook_base_url: str | UnsetType | None = UNSET
    plan_type: str | UnsetType = UNSET
    system_prompt: str | UnsetType = UNSET
    model_config: dict[str, Any] | UnsetType = UNSET
    widget_config: dict[str, Any] | UnsetType = UNSET
    locale: str | UnsetType = UNSET
    timezone: str | UnsetType = UNSET


async def find_by_public_key(conn: Conn, *, public_key: str) -> Client | None:
    """System-wide: the key is what names the client."""
    async with conn.cursor(row_factory=class_row(Client)) as cursor:
        # The client a widget names.
        await cursor.execute(
            """
            select c.id, c.name, c.domain, c.allowed_origins, c.public_key, c.api_key_prefix, c.webhook_base_url,
                   c.plan_type, c.status, c.system_prompt, c.model_config, c.widget_config, c.locale, c.timezone,
                   c.created_at, c.version, p.monthly_messages, p.requests_per_minute
            from clients c join plans p on p.name = c.plan_type
            where c.public_key = %(public_key)s
            """,
            {"public_key": public_key},
        )
        return await cursor.fetchone()


async def find_by_api_key_hash(conn: Conn, *, api_key_hash: bytes) -> Client | None:
    """System-wide: the key is what names the client."""
    async with conn.cursor(row_factory=class_row(Client)) as cursor:
        # The client whose secret key hashes to this.
        await cursor.execute(
            """
            select c.id, c.name, c.domain, c.allowed_origins, c.public_key, c.api_key_prefix, c.webhook_base_url,
                   c.plan_type, c.status, c.system_prompt, c.model_config, c.widget_config, c.locale, c.timezone,
                   c.created_at, c.version, p.monthly_messages, p.requests_per_minute
            from clients c join plans p on p.name = c.plan_type
            where c.api_key_hash = %(api_key_hash)s
            """,
            {"api_key_hash": api_key_hash},
        )
        return await cursor.fetchone()


async def find(conn: Conn, *, client_id: int) -> Client | None:
    async with conn.cursor(row_factory=class_row(Client)) as cursor:
        # One client.
        await cursor.execute(
            """
            select c.id, c.name, c.domain, c.allowed_origins, c.public_key, c.api_key_prefix, c.webhook_base_url,
                   c.plan_type, c.status, c.system_prompt, c.model_config, c.widget_config, c.locale, c.timezone,
                   c.created_at, c.version, p.monthly_messages, p.requests_per_minute
            from clients c join plans p on p.name = c.plan_type
            where c.id = %(client_id)s
            """,
            {"client_id": client_id},
        )
        return await cursor.fetchone()


async def origins(conn: Conn) -> list[str]:
    """System-wide: every origin some active client allows, for the check before a socket is accepted."""
    # Which client's it is, is checked once the key is known.
    cursor = await conn.execute("select distinct unnest(allowed_origins) from clients where status = 'active'")
    return [row[0] for row in await cursor.fetchall()]


async def list_all(conn: Conn) -> list[Client]:
    """System-wide: the owner's list, oldest first."""
    async with conn.cursor(row_factory=class_row(Client)) as cursor:
        # Every client.
        await cursor.execute(
            """
            select c.id, c.name, c.domain, c.allowed_origins, c.public_key, c.api_key_prefix, c.webhook_base_url,
                   c.plan_type, c.status, c.system_prompt, c.model_config, c.widget_config, c.locale, c.timezone,
                   c.created_at, c.version, p.monthly_messages, p.requests_per_minute
            from clients c join plans p on p.name = c.plan_type
            order by c.id
            """
        )
        return await cursor.fetchall()


async def create(
    conn: Conn,
    *,
    name: str,
    domain: str,
    allowed_origins: list[str],
    public_key: str,
    api_key_hash: bytes,
    api_key_prefix: str,
    plan_type: str = "free",
    webhook_base_url: str | None = None,
    system_prompt: str = "",
    model_config: dict[str, Any] | None = None,
    widget_config: dict[str, Any] | None = None,
    locale: str = "en",
    timezone: str = "UTC",
) -> Client:
    """System-wide: a tenant more. Raises Invalid for a plan that is not there."""
    async with conn.cursor(row_factory=class_row(Client)) as cursor:
        # A new client, as every other function returns it.
        await cursor.execute(
            """
            with c as (
                insert into clients (
                    name, domain, allowed_origins, public_key, api_key_hash, api_key_prefix, plan_type,
                    webhook_base_url, system_prompt, model_config, widget_config, locale, timezone
                ) values (
                    %(name)s, %(domain)s, %(allowed_origins)s, %(public_key)s, %(api_key_hash)s, %(api_key_prefix)s,
                    %(plan_type)s, %(webhook_base_url)s, %(system_prompt)s, %(model_config)s, %(widget_config)s,
                    %(locale)s, %(timezone)s
                )
                returning id, name, domain, allowed_origins, public_key, api_key_prefix, webhook_base_url, plan_type,
                          status, system_prompt, model_config, widget_config, locale, timezone, created_at,
                          version
            )
            select c.id, c.name, c.domain, c.allowed_origins, c.public_key, c.api_key_prefix, c.webhook_base_url,
                   c.plan_type, c.status, c.system_prompt, c.model_config, c.widget_config, c.locale, c.timezone,
                   c.created_at, c.version, p.monthly_messages, p.requests_per_minute
            from c left join plans p on p.name = c.plan_type
            """,
            {
                "name": name,
                "domain": domain,
                "allowed_origins": allowed_origins,
                "public_key": public_key,
                "api_key_hash": api_key_hash,
                "api_key_prefix": api_key_prefix,
                "plan_type": plan_type,
                "webhook_base_url": webhook_base_url,
                "system_prompt": system_prompt,
                "model_config": Jsonb(model_config or {}, dumps=msgspec.json.encode),
                "widget_config": Jsonb(widget_config or {}, dumps=msgspec.json.encode),
                "locale": locale,
                "timezone": timezone,
            },
        )
        row = await cursor.fetchone()
        assert row is not None
        return row


async def update(conn: Conn, *, client_id: int, changes: ClientChanges, seen: int | None = None) -> Client | None:
    """The client as it is now, a version later.

    None when there is no such client, or its version is not the one that was `seen`.
    """
    given = msgspec.structs.asdict(changes)
    params = {name: None if value is UNSET else value for name, value in given.items()}
    for name in ("model_config", "widget_config"):
        if params[name] is not None:
            params[name] = Jsonb(params[name], dumps=msgspec.json.encode)
    async with conn.cursor(row_factory=class_row(Client)) as cursor:
        # Only what was given; webhook_base_url alone can become null again.
        await cursor.execute(
            """
            with c as (
                update clients set
                    name = coalesce(%(name)s, name),
                    domain = coalesce(%(domain)s, domain),
                    allowed_origins = coalesce(%(allowed_origins)s::text[], allowed_origins),
                    webhook_base_url = case when %(clear_or_set_webhook)s then %(webhook_base_url)s::text
                                            else webhook_base_url end,
                    plan_type = coalesce(%(plan_type)s, plan_type),
                    system_prompt = coalesce(%(system_prompt)s, system_prompt),
                    model_config = coalesce(%(model_config)s::jsonb, model_config),
                    widget_config = coalesce(%(widget_config)s::jsonb, widget_config),
                    locale = coalesce(%(locale)s, locale),
                    timezone = coalesce(%(timezone)s, timezone),
                    version = version + 1
                where id = %(client_id)s and (%(seen)s::integer is null or version = %(seen)s)
                returning id, name, domain, allowed_origins, public_key, api_key_prefix, webhook_base_url, plan_type,
                          status, system_prompt, model_config, widget_config, locale, timezone, created_at,
                          version
            )
            select c.id, c.name, c.domain, c.allowed_origins, c.public_key, c.api_key_prefix, c.webhook_base_url,
                   c.plan_type, c.status, c.system_prompt, c.model_config, c.widget_config, c.locale, c.timezone,
                   c.created_at, c.version, p.monthly_messages, p.requests_per_minute
            from c left join plans p on p.name = c.plan_type
            """,
            {
                **params,
                "client_id": client_id,
                "clear_or_set_webhook": changes.webhook_base_url is not UNSET,
                "seen": seen,
            },
        )
        return await cursor.fetchone()


async def find_to_change(conn: Conn, *, client_id: int) -> Client | None:
    """The same, locked to the end of the transaction: whoever else changes it waits, and then sees it."""
    async with conn.cursor(row_factory=class_row(Client)) as cursor:
        # One client, nobody else's for a moment.
        await cursor.execute(
            """
            select c.id, c.name, c.domain, c.allowed_origins, c.public_key, c.api_key_prefix, c.webhook_base_url,
                   c.plan_type, c.status, c.system_prompt, c.model_config, c.widget_config, c.locale, c.timezone,
                   c.created_at, c.version, p.monthly_messages, p.requests_per_minute
            from clients c join plans p on p.name = c.plan_type
            where c.id = %(client_id)s
            for no key update of c
            """,
            {"client_id": client_id},
        )
        return await cursor.fetchone()


async def rotate_key(conn: Conn, *, client_id: int, api_key_hash: bytes, api_key_prefix: str) -> bool:
    """From now on only the new secret key works. False when there is no such client."""
    # Another secret key.
    cursor = await conn.execute(
        """
        update clients set api_key_hash = %(api_key_hash)s, api_key_prefix = %(api_key_prefix)s
        where id = %(client_id)s
        returning id
        """,
        {"client_id": client_id, "api_key_hash": api_key_hash, "api_key_prefix": api_key_prefix},
    )
    return await cursor.fetchone() is not None


async def set_status(conn: Conn, *, client_id: int, status: str) -> bool:
    """`active` or `suspended`. False when there is no such client."""
    # Suspend, or let back in.
    cursor = await conn.execute(
        "update clients set status = %(status)s where id = %(client_id)s returning id",
        {"client_id": client_id, "status": status},
    )
    return await cursor.fetchone() is not None


async def identity_secret(conn: Conn, *, client_id: int) -> bytes | None:
    """The secret with which the client's backend vouches for visitors, as ciphertext; None while there is none."""
    # Apart from the client's row: few need it.
    cursor = await conn.execute(
        "select identity_secret from clients where id = %(client_id)s", {"client_id": client_id}
    )
    row = await cursor.fetchone()
    return row[0] if row else None


async def set_identity_secret(conn: Conn, *, client_id: int, identity_secret: bytes, replace: bool) -> bool:
    """Another ciphertext; nobody whom the old secret vouched for counts as verified any more.

    False when there is no such client, or, without `replace`, when it has a secret.
    """
    # A secret is replaced because it leaked: what rests on it ends with it.
    cursor = await conn.execute(
        """
        with changed as (
            update clients set identity_secret = %(identity_secret)s
            where id = %(client_id)s and (%(replace)s or identity_secret is null)
            returning id
        ), unverified as (
            update conversations set verified_until = null
            where client_id = %(client_id)s and verified_until is not null and exists (select from changed)
        )
        select id from changed
        """,
        {"client_id": client_id, "identity_secret": identity_secret, "replace": replace},
    )
    return await cursor.fetchone() is not None
