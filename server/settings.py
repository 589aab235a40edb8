"""Configuration: one frozen struct, read once from the environment.

A variable that is wrong is named in one line, with what it may be, and nothing starts.
"""

import ipaddress
import re
from collections.abc import Mapping
from typing import Literal, cast, get_args
from urllib.parse import urlsplit

import msgspec

from server.errors import SettingsError

ProviderChoice = Literal["auto", "openai", "anthropic", "ollama", "demo"]
LogFormat = Literal["text", "json"]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]


# What a struct shows of itself: a traceback or a debugger must not spread what the fields hold.
_SECRET_FIELDS = frozenset({"secret_keys", "openai_api_key", "anthropic_api_key"})
_USERINFO = re.compile(r"(?<=://)[^/?#]*@|(?<=[?&]password=)[^&]+", re.IGNORECASE)


# Open sockets of an address on one instance. A page has one, an office behind one address some dozens; a process has
# 20,000 descriptors or so, and bears 200 such addresses at their worst.
SOCKETS_PER_ADDRESS = 100
# Open sockets of a client's visitors on one instance: half of what an instance is made for, so that one busy website
# leaves room for the others.
SOCKETS_PER_CLIENT = 5_000


class _Discreet(msgspec.Struct, frozen=True):
    """A struct whose repr has no keys and no passwords."""

    def __repr__(self) -> str:
        shown = (f"{name}={_shown(name, value)}" for name, value in msgspec.structs.asdict(self).items())
        return f"{type(self).__name__}({', '.join(shown)})"


def _shown(name: str, value: object) -> str:
    if name in _SECRET_FIELDS and value:
        return "'...'"
    return repr(_USERINFO.sub("...", value)) if isinstance(value, str) else repr(value)


class LlmSettings(_Discreet, frozen=True):
    """Which models answer, and where they are reached. Base URLs come from the deployment only."""

    provider: ProviderChoice = "auto"
    model: str | None = None
    small_model: str | None = None
    openai_api_key: str | None = None
    openai_base_url: str | None = None
    anthropic_api_key: str | None = None
    anthropic_base_url: str | None = None
    ollama_host: str | None = None


class Settings(_Discreet, frozen=True):
    """Everything a process needs to know. `secret_keys`: the first signs, the others still verify."""

    database_url: str
    redis_url: str
    secret_keys: tuple[str, ...]
    port: int = 8000
    public_url: str | None = None
    allow_private_egress: tuple[str, ...] = ()
    sockets_per_address: int = SOCKETS_PER_ADDRESS
    sockets_per_client: int = SOCKETS_PER_CLIENT
    log_level: LogLevel = "INFO"
    log_format: LogFormat = "text"
    llm: LlmSettings = LlmSettings()
    # Set by `frontdesk dev`: serves /demo/ with the two demo shops.
    demo: bool = False


# `openssl rand -hex 32` gives 64 characters; anything under 32 is a password somebody made up.
SECRET_KEY_LENGTH = 32


def load(environ: Mapping[str, str], **given: object) -> Settings:
    """Settings from environment variables; `given` fields win over them.

    Raises SettingsError that names the variable and what it may be; for several missing ones, all of them.
    """
    required = {"database_url": "DATABASE_URL", "redis_url": "REDIS_URL", "secret_keys": "FRONTDESK_SECRET_KEYS"}
    missing = [name for field, name in required.items() if field not in given and not environ.get(name, "").strip()]
    if missing:
        raise SettingsError(f"not set: {', '.join(missing)}")
    values: dict[str, object] = {
        "database_url": _url(environ, "DATABASE_URL", ("postgresql", "postgres")),
        "redis_url": _url(environ, "REDIS_URL", ("redis", "rediss", "unix")),
        "secret_keys": secret_keys(environ),
        "port": _number(environ, "PORT", 8000, 65_535),
        "public_url": _url(environ, "FRONTDESK_PUBLIC_URL", ("https", "http")),
        "allow_private_egress": _networks(environ),
        "sockets_per_address": _number(environ, "FRONTDESK_SOCKETS_PER_ADDRESS", SOCKETS_PER_ADDRESS),
        "sockets_per_client": _number(environ, "FRONTDESK_SOCKETS_PER_CLIENT", SOCKETS_PER_CLIENT),
        "log_level": _choice(environ, "LOG_LEVEL", get_args(LogLevel), "INFO"),
        "log_format": _choice(environ, "LOG_FORMAT", get_args(LogFormat), "text"),
        "llm": llm(environ),
    }
    return msgspec.convert({**values, **given}, Settings)


def llm(environ: Mapping[str, str]) -> LlmSettings:
    """The model part of the settings. Raises SettingsError."""
    settings = LlmSettings(
        provider=cast("ProviderChoice", _choice(environ, "LLM_PROVIDER", get_args(ProviderChoice), "auto")),
        model=_text(environ, "LLM_MODEL"),
        small_model=_text(environ, "LLM_SMALL_MODEL"),
        openai_api_key=_text(environ, "OPENAI_API_KEY"),
        openai_base_url=_url(environ, "OPENAI_BASE_URL", ("https", "http")),
        anthropic_api_key=_text(environ, "ANTHROPIC_API_KEY"),
        anthropic_base_url=_url(environ, "ANTHROPIC_BASE_URL", ("https", "http")),
        ollama_host=_text(environ, "OLLAMA_HOST"),
    )
    # A local server behind OPENAI_BASE_URL often asks for no key; api.openai.com always does.
    if settings.provider == "openai" and not (settings.openai_api_key or settings.openai_base_url):
        raise SettingsError(
            "LLM_PROVIDER is openai, so set OPENAI_API_KEY (or OPENAI_BASE_URL of a server without keys)"
        )
    if settings.provider == "anthropic" and not settings.anthropic_api_key:
        raise SettingsError("LLM_PROVIDER is anthropic, so set ANTHROPIC_API_KEY")
    return settings


def _text(environ: Mapping[str, str], name: str) -> str | None:
    return environ.get(name, "").strip() or None


def _choice(environ: Mapping[str, str], name: str, allowed: tuple[str, ...], default: str) -> str:
    value = _text(environ, name)
    if value is None:
        return default
    for choice in allowed:
        if choice.casefold() == value.casefold():
            return choice
    raise SettingsError(f"{name} is {value!r}; it may be {', '.join(allowed)}")


def _url(environ: Mapping[str, str], name: str, schemes: tuple[str, ...]) -> str | None:
    value = _text(environ, name)
    if value is None:
        return None
    scheme = value.partition("://")[0] if "://" in value else ""
    if scheme not in schemes or not _parses(value):
        raise SettingsError(f"{name} is not a URL; it may start with {', '.join(f'{each}://' for each in schemes)}")
    return value.rstrip("/") if scheme in {"http", "https"} else value


def _parses(url: str) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    return bool(parts.netloc or parts.path or parts.query)


def secret_keys(environ: Mapping[str, str]) -> tuple[str, ...]:
    keys = tuple(key.strip() for key in environ.get("FRONTDESK_SECRET_KEYS", "").split(",") if key.strip())
    # Only commas are not "not set", and no key at all must not pass for a right one.
    given = bool(environ.get("FRONTDESK_SECRET_KEYS", "").strip())
    if any(len(key) < SECRET_KEY_LENGTH for key in keys) or (given and not keys):
        raise SettingsError(
            f"FRONTDESK_SECRET_KEYS holds a key under {SECRET_KEY_LENGTH} characters; `openssl rand -hex 32` makes one"
        )
    return keys


def _number(environ: Mapping[str, str], name: str, default: int, most: int = 1_000_000) -> int:
    value = _text(environ, name)
    if value is None:
        return default
    if not value.isascii() or not value.isdigit() or not 1 <= int(value) <= most:
        raise SettingsError(f"{name} is {value!r}; it may be a number from 1 to {most}")
    return int(value)


def _networks(environ: Mapping[str, str]) -> tuple[str, ...]:
    entries = [entry.strip() for entry in environ.get("FRONTDESK_ALLOW_PRIVATE_EGRESS", "").split(",") if entry.strip()]
    for entry in entries:
        try:
            ipaddress.ip_network(entry)
        except ValueError:
            raise SettingsError(
                f"FRONTDESK_ALLOW_PRIVATE_EGRESS holds {entry!r}; it may be networks such as 10.0.0.0/8,fd00::/8"
            ) from None
    return tuple(entries)
