"""How a client's own system is reached: read from JSON, checked, and shown without its secrets."""

import re
from typing import Any, Literal, TypeAlias, get_args

import msgspec

from server.errors import Invalid
from server.net.egress import Egress
from server.tools.connections.database import DatabaseConnection, DatabaseKind, Tls
from server.tools.connections.http import ApiKey, Basic, Bearer, HttpConnection, NoAuth, OAuth2, check_http
from server.tools.connections.shops import (
    ShopifyConnection,
    WooCommerceConnection,
    check_shopify,
    check_woocommerce,
)

Connection: TypeAlias = HttpConnection | ShopifyConnection | WooCommerceConnection | DatabaseConnection
IntegrationType = Literal["shopify", "woocommerce", "custom_api", "mysql_database", "postgres_database"]

# Bytes of JSON of one configuration; a real one has a few hundred.
_MAX_BYTES = 65_536
_STRUCTS: dict[str, type[Connection]] = {
    "shopify": ShopifyConnection,
    "woocommerce": WooCommerceConnection,
    "custom_api": HttpConnection,
    "mysql_database": DatabaseConnection,
    "postgres_database": DatabaseConnection,
}
_AUTHS: dict[str, type[msgspec.Struct]] = {
    "none": NoAuth,
    "bearer": Bearer,
    "api_key": ApiKey,
    "basic": Basic,
    "oauth2": OAuth2,
}
# What a view leaves out.
_SECRETS = frozenset({"token", "value", "password", "client_secret", "access_token", "consumer_key", "consumer_secret"})
_CHOICES = {
    "auth.type": ", ".join(_AUTHS),
    "auth.where": "header, query",
    "auth.client_auth": "basic, body",
    "tls": ", ".join(get_args(Tls)),
}
_PATH = re.compile(r"(?P<what>.*?)(?: - at `(?:key in )?\$\.?(?P<path>.*)`)?\Z", re.DOTALL)
_FLAT_SHOPIFY = re.compile(r"https://(?P<shop>[^/?#@:]+)(?:/admin/api/(?P<version>[^/]+))?/?\Z")


def parse(integration_type: str, raw: dict[str, Any] | str, egress: Egress) -> Connection:
    """The checked connection of JSON, as an object or as text.

    Takes the flat spelling {"api_url", "api_key", "auth_type": "bearer_token", "rate_limit"} too. Raises Invalid whose
    `field` is the path of what is wrong and whose message says what is allowed; no message repeats a secret.
    """
    kind = _STRUCTS.get(integration_type)
    if kind is None:
        raise Invalid(f"integration_type must be one of: {', '.join(_STRUCTS)}", field="integration_type")
    fields = _object(raw)
    if "auth_type" in fields or ("api_key" in fields and kind in (HttpConnection, ShopifyConnection)):
        fields = _unflattened(integration_type, fields)
    try:
        connection: Connection = msgspec.convert(fields, kind)
    except msgspec.ValidationError as error:
        raise _explained(error, kind, fields) from None  # the cause may quote what was given
    return _checked(integration_type, connection, egress)


def dump(connection: Connection) -> str:
    """The JSON that `parse` reads, secrets included: what the vault seals."""
    return msgspec.json.encode(connection).decode()


def public_view(connection: Connection) -> dict[str, Any]:
    """What an API may show: no secret, only `secrets_set` with the names of those that are there."""
    view = _without_secrets(msgspec.to_builtins(connection))
    if "headers" in view:
        # A fixed header may be a key by another name.
        view["headers"] = sorted(view["headers"])
    return view


def secrets(connection: Connection) -> list[str]:
    """The secrets that `public_view` leaves out, for whoever has to find them in a text: to be shown to nobody."""
    fields = msgspec.to_builtins(connection)
    return [
        value for each in (fields, fields.get("auth", {})) for name, value in each.items() if name in _SECRETS and value
    ]


def _without_secrets(fields: dict[str, Any]) -> dict[str, Any]:
    view: dict[str, Any] = {}
    for name, value in fields.items():
        if name in _SECRETS:
            if value:
                view.setdefault("secrets_set", []).append(name)
        elif isinstance(value, dict) and name == "auth":
            view[name] = _without_secrets(value)
        else:
            view[name] = value
    return view


def _object(raw: dict[str, Any] | str) -> dict[str, Any]:
    if isinstance(raw, dict):
        return raw
    if len(raw) > _MAX_BYTES:
        raise Invalid("connection_config must be at most 64 KB", field="connection_config")
    try:
        fields = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise Invalid("connection_config must be JSON", field="connection_config") from None
    if not isinstance(fields, dict):
        raise Invalid("connection_config must be a JSON object", field="connection_config")
    return fields


def _unflattened(integration_type: str, flat: dict[str, Any]) -> dict[str, Any]:
    """The flat spelling in the structs' own."""
    fields = dict(flat)
    auth_type, key = fields.pop("auth_type", "bearer_token"), fields.pop("api_key", None)
    if auth_type not in ("none", "bearer_token", "bearer", "api_key"):
        raise Invalid("auth_type must be bearer_token, api_key or none; others are spelled as auth", field="auth_type")
    if (key is None) != (auth_type == "none"):
        raise Invalid("api_key must be there, unless auth_type is none", field="api_key")
    if "auth" in fields:
        raise Invalid("auth or auth_type with api_key, not both", field="auth_type")
    if integration_type == "shopify":
        address = _FLAT_SHOPIFY.match(str(fields.pop("api_url", "")))
        if address is None:
            raise Invalid("api_url must be https://SHOP.myshopify.com/admin/api/VERSION", field="api_url")
        fields |= {"shop": address["shop"].lower(), "access_token": key}
        return fields | ({"api_version": address["version"]} if address["version"] else {})
    if integration_type != "custom_api":
        raise Invalid(
            f"auth_type and api_key are for custom_api and shopify, not {integration_type}", field="auth_type"
        )
    match auth_type:
        case "none":
            return fields
        case "api_key":
            return fields | {"auth": {"type": "api_key", "name": "X-API-Key", "value": key}}
        case _:
            return fields | {"auth": {"type": "bearer", "token": key}}


def _explained(error: msgspec.ValidationError, kind: type[Connection], fields: dict[str, Any]) -> Invalid:
    """msgspec's message with the field's name and what is allowed there."""
    found = _PATH.match(str(error))
    assert found is not None  # the pattern matches any text
    what, path = found["what"], (found["path"] or "").replace("[...]", "")
    if named := re.search(r"(missing required|unknown) field `(.*)`", what, re.DOTALL):
        path = f"{path}.{named[2]}" if path else named[2]
        if named[1] == "missing required":
            return Invalid(f"{path} is missing{_choices(path)}", field=path)
        allowed = ", ".join(field.encode_name for field in msgspec.structs.fields(_struct_at(path, kind, fields)))
        return Invalid(f"there is no field {path}; allowed are: {allowed or 'none but type'}", field=path)
    if path in _CHOICES:
        return Invalid(f"{path} must be one of: {_CHOICES[path]}", field=path)
    return Invalid(f"{path or 'connection_config'}: {what[:1].lower()}{what[1:]}", field=path or "connection_config")


def _choices(path: str) -> str:
    return f"; it must be one of: {_CHOICES[path]}" if path in _CHOICES else ""


def _struct_at(path: str, kind: type[Connection], fields: dict[str, Any]) -> type[msgspec.Struct]:
    if path.startswith("auth."):
        return _AUTHS[fields["auth"]["type"]]
    return kind


def _checked(integration_type: str, connection: Connection, egress: Egress) -> Connection:
    match connection:
        case HttpConnection():
            return check_http(connection, egress)
        case ShopifyConnection():
            return check_shopify(connection, egress)
        case WooCommerceConnection():
            return check_woocommerce(connection, egress)
        case DatabaseConnection():
            return _check_database(connection, egress)


def _check_database(connection: DatabaseConnection, egress: Egress) -> DatabaseConnection:
    egress.check_host(connection.host, field="host")
    if connection.port is not None and not 1 <= connection.port <= 65_535:
        raise Invalid("port must be 1 to 65535", field="port")
    for field in ("database", "user"):
        value = getattr(connection, field)
        if not 1 <= len(value) <= 128 or not value.isprintable():
            raise Invalid(f"{field} must be 1 to 128 printable characters", field=field)
    if len(connection.password) > 4096 or "\0" in connection.password:
        raise Invalid("password must be at most 4,096 characters", field="password")
    return connection


def database_kind(integration_type: str) -> DatabaseKind:
    """Of an integration that is a database."""
    return "mysql_database" if integration_type == "mysql_database" else "postgres_database"
