"""Clients as the console and the command line change them. Every change stands in the audit log.

`repositories/clients` has the rows; here is what each field may be, and who may have it otherwise.
"""

import html
import re
from collections.abc import Sequence
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from server import ids
from server.errors import Conflict, Forbidden, Invalid, NotFound
from server.llm.registry import Registry
from server.net import identity
from server.net.origin import normal_origin
from server.net.signing import Keyring
from server.net.vault import IDENTITY_SECRET, Vault
from server.protocol.admin.clients import ClientEdit
from server.protocol.client_config import check_model, check_widget, one_line, read_model
from server.repositories import audit, changes, clients, plans
from server.repositories.clients import Client, ClientChanges
from server.repositories.operators import Operator
from server.repositories.pool import Conn, Pool, unit_of_work

# Characters of a secret key that are kept in clear, to tell keys apart.
PREFIX = 8
NAME_LONGEST = 100
# A client's locale that leaves it to the visitor's browser.
AUTO = "auto"
_LOCALE = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8})*", re.ASCII)


class Clients:
    """`by` is the operator who does it; None for the command line."""

    def __init__(self, pool: Pool, keyring: Keyring, vault: Vault) -> None:
        self._pool = pool
        self._keyring = keyring
        self._vault = vault

    async def create(
        self,
        *,
        name: str,
        domain: str,
        allowed_origins: Sequence[str] | None,
        plan: str,
        locale: str = "en",
        timezone: str = "UTC",
        by: int | None = None,
    ) -> tuple[Client, str]:
        """A client and its secret key, which is told now and never again.

        Without origins: https:// of the domain, and of www. before it. Raises Invalid with the field.
        """
        domain = _checked_domain(domain)
        secret = ids.secret_key()
        name, locale, timezone = _checked_name(name), _checked_locale(locale), _checked_timezone(timezone)
        origins = _checked_origins(allowed_origins or (f"https://{domain}", f"https://www.{domain}"))
        async with unit_of_work(self._pool) as conn:
            await _check_plan(conn, plan)
            made = await clients.create(
                conn,
                name=name,
                domain=domain,
                allowed_origins=origins,
                locale=locale,
                timezone=timezone,
                public_key=ids.public_key(),
                api_key_hash=self._keyring.digest("api-key", secret),
                api_key_prefix=secret[:PREFIX],
                plan_type=plan,
            )
            await _record(conn, made.id, "client.create", by, {"name": made.name, "plan": plan})
        return made, secret

    async def edit(self, client_id: int, given: ClientEdit, *, registry: Registry, by: Operator) -> Client:
        """The client as it is now.

        Raises NotFound, Invalid with the field, Forbidden `role_needed` for another plan, and Conflict
        `changed_meanwhile` when somebody has edited it since; then nothing is changed.
        """
        wanted = _checked(given)
        async with unit_of_work(self._pool) as conn:
            before = await _locked(conn, client_id)
            if before.version != given.version:
                raise await _changed_meanwhile(conn, client_id)
            if wanted["plan_type"] != before.plan_type:
                if by.role != "owner":
                    raise Forbidden("another plan takes the role owner", code="role_needed")
                await _check_plan(conn, given.plan)
            stored, _ = read_model(before.model_config)
            registry.check(given.model, at="model", before=stored)
            changed = sorted(name for name, value in wanted.items() if value != getattr(before, name))
            after = await clients.update(
                conn, client_id=client_id, changes=msgspec.convert(wanted, ClientChanges), seen=given.version
            )
            if after is None:
                raise RuntimeError("a client changed though it was locked")
            await _record(conn, client_id, "client.update", by.id, {"fields": changed, "version": after.version})
        return after

    async def set_status(self, client_id: int, status: str, *, by: int | None = None) -> Client:
        """`active` or `suspended`; it reaches everybody within 5 s. Raises NotFound."""
        async with unit_of_work(self._pool) as conn:
            before = await _locked(conn, client_id)
            if before.status != status:
                await clients.set_status(conn, client_id=client_id, status=status)
                action = "client.suspend" if status == "suspended" else "client.activate"
                await _record(conn, client_id, action, by, {})
        return msgspec.structs.replace(before, status=status)

    async def rotate_api_key(self, client_id: int, *, by: int | None = None) -> str:
        """A new secret key; the old one stops working at once. Raises NotFound."""
        secret = ids.secret_key()
        async with unit_of_work(self._pool) as conn:
            await _locked(conn, client_id)
            await clients.rotate_key(
                conn,
                client_id=client_id,
                api_key_hash=self._keyring.digest("api-key", secret),
                api_key_prefix=secret[:PREFIX],
            )
            await _record(conn, client_id, "client.rotate_api_key", by, {"prefix": secret[:PREFIX]})
        return secret

    async def new_identity_secret(self, client_id: int, *, rotate: bool, by: int | None = None) -> str:
        """With this the client's backend vouches for visitors; whoever the old one vouched for is unverified at once.

        Raises NotFound, Conflict `identity_secret_exists` where there is one and it is not to be rotated.
        """
        secret = identity.new_secret()
        sealed = self._vault.seal(secret, client_id=client_id, field=IDENTITY_SECRET)
        async with unit_of_work(self._pool) as conn:
            await _locked(conn, client_id)
            if not await clients.set_identity_secret(conn, client_id=client_id, identity_secret=sealed, replace=rotate):
                raise Conflict(
                    f"client {client_id} has an identity secret, which was shown once; rotating it makes another and "
                    "ends it",
                    code="identity_secret_exists",
                )
            await _record(conn, client_id, "client.identity_secret", by, {"rotate": rotate})
        return secret


def script(public_key: str, base_url: str) -> str:
    """What goes into the website's HTML."""
    return f'<script async src="{_attribute(base_url)}/widget.js" data-client-key="{_attribute(public_key)}"></script>'


def inline_script(public_key: str, base_url: str) -> str:
    """The same for a widget that is a part of the page."""
    return (
        '<div id="frontdesk"></div>\n'
        f'<script async src="{_attribute(base_url)}/widget.js" data-client-key="{_attribute(public_key)}" '
        'data-mode="inline" data-target="#frontdesk"></script>'
    )


def _attribute(text: str) -> str:
    return html.escape(text.rstrip("/"))


def _checked(given: ClientEdit) -> dict[str, object]:
    """The columns. Raises Invalid with the field."""
    return {
        "name": _checked_name(given.name),
        "domain": _checked_domain(given.domain),
        "allowed_origins": _checked_origins(given.allowed_origins),
        "plan_type": given.plan,
        "system_prompt": given.system_prompt.strip(),
        "model_config": msgspec.to_builtins(check_model(given.model, at="model")),
        "widget_config": msgspec.to_builtins(check_widget(given.widget, at="widget")),
        "locale": _checked_locale(given.locale),
        "timezone": _checked_timezone(given.timezone),
    }


def _checked_name(name: str) -> str:
    name = name.strip()
    if not 1 <= len(name) <= NAME_LONGEST or not one_line(name):
        raise Invalid(f"`name` takes 1 to {NAME_LONGEST} characters in one line", field="name")
    return name


def _checked_domain(domain: str) -> str:
    """In lower case, as people write it: an international name is not turned into Punycode."""
    domain = domain.strip().lower()
    if normal_origin(f"https://{domain}") is None or any(each in domain for each in "/:?#@\\"):
        raise Invalid("`domain` takes a domain such as bobspizza.com, without https://", field="domain")
    return domain


def _checked_origins(origins: Sequence[str]) -> list[str]:
    """As browsers send them, each once."""
    found: list[str] = []
    for no, text in enumerate(origins):
        origin = normal_origin(text)
        if origin is None:
            raise Invalid(
                f"`allowed_origins[{no}]` is not an origin; it may be such as https://www.example.com",
                field=f"allowed_origins[{no}]",
            )
        if origin not in found:
            found.append(origin)
    return found


def _checked_locale(locale: str) -> str:
    locale = locale.strip()
    if locale != AUTO and _LOCALE.fullmatch(locale) is None:
        raise Invalid(
            "`locale` takes a language tag such as de or pt-BR, or auto for the visitor's own", field="locale"
        )
    return locale


def _checked_timezone(timezone: str) -> str:
    try:
        return ZoneInfo(timezone.strip()).key
    # A folder of the time zone database, such as `Europe`, is an OSError.
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise Invalid("`timezone` takes a time zone such as Europe/Berlin", field="timezone") from None


async def _check_plan(conn: Conn, name: str) -> None:
    if await plans.find(conn, name=name) is None:
        there = ", ".join(plan.name for plan in await plans.list_all(conn))
        raise Invalid(f"`plan` {name!r} is none; there are {there}", field="plan")


async def _locked(conn: Conn, client_id: int) -> Client:
    found = await clients.find_to_change(conn, client_id=client_id)
    if found is None:
        raise NotFound("there is no such client")
    return found


async def _changed_meanwhile(conn: Conn, client_id: int) -> Conflict:
    last = await changes.find_last(
        conn, client_id=client_id, target_type="client", target_id=str(client_id), actions=("client.update",)
    )
    return changes.changed_meanwhile("this client", last)


async def _record(conn: Conn, client_id: int, action: str, by: int | None, details: dict[str, object]) -> None:
    await audit.record(
        conn,
        client_id=client_id,
        operator_id=by,
        action=action,
        target_type="client",
        target_id=str(client_id),
        details=details,
    )
