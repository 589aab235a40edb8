"""Configuration: every wrong variable is named, nothing secret is shown."""

import pytest

from server.errors import SettingsError
from server.settings import LlmSettings, Settings, llm, load

RIGHT = {
    "DATABASE_URL": "postgresql://desk:hush-db@db.example/desk",
    "REDIS_URL": "redis://:hush-redis@redis.example:6379/0",
    "FRONTDESK_SECRET_KEYS": "hush-key-one-0123456789abcdef0123,hush-key-two-0123456789abcdef0123",
}


def test_the_defaults() -> None:
    """With the three that must be set, all else has a value that works."""
    settings = load(RIGHT)
    assert settings == Settings(
        database_url=RIGHT["DATABASE_URL"],
        redis_url=RIGHT["REDIS_URL"],
        secret_keys=("hush-key-one-0123456789abcdef0123", "hush-key-two-0123456789abcdef0123"),
    )
    assert (settings.port, settings.log_level, settings.log_format, settings.llm) == (
        8000,
        "INFO",
        "text",
        LlmSettings(provider="auto"),
    )


def test_everything_set() -> None:
    """Every variable reaches its field; space around a value, case of a choice and a last slash do not matter."""
    settings = load(
        {
            **RIGHT,
            "PORT": " 9001 ",
            "FRONTDESK_PUBLIC_URL": "https://desk.example/",
            "FRONTDESK_ALLOW_PRIVATE_EGRESS": "10.0.0.0/8, fd00::/8,192.0.2.1",
            "LOG_LEVEL": "debug",
            "LOG_FORMAT": "JSON",
            "LLM_PROVIDER": "OpenAI",
            "LLM_MODEL": "gpt-4o",
            "LLM_SMALL_MODEL": "gpt-4o-mini",
            "OPENAI_API_KEY": "sk-1",
            "OPENAI_BASE_URL": "http://localhost:1234/v1/",
            "ANTHROPIC_API_KEY": "sk-ant-1",
            "ANTHROPIC_BASE_URL": "https://claude.example",
            "OLLAMA_HOST": "gpu-box:11434",
        }
    )
    assert (settings.port, settings.public_url, settings.log_level, settings.log_format) == (
        9001,
        "https://desk.example",
        "DEBUG",
        "json",
    )
    assert settings.allow_private_egress == ("10.0.0.0/8", "fd00::/8", "192.0.2.1")
    assert settings.llm == LlmSettings(
        provider="openai",
        model="gpt-4o",
        small_model="gpt-4o-mini",
        openai_api_key="sk-1",
        openai_base_url="http://localhost:1234/v1",
        anthropic_api_key="sk-ant-1",
        anthropic_base_url="https://claude.example",
        ollama_host="gpu-box:11434",
    )


@pytest.mark.parametrize("url", ["redis://h", "rediss://u:p@h:1/2", "unix:///run/redis.sock?db=0"])
def test_every_way_to_redis(url: str) -> None:
    """A network, an encrypted one, a socket."""
    assert load({**RIGHT, "REDIS_URL": url}).redis_url == url


@pytest.mark.parametrize("url", ["postgres://h/d", "postgresql://", "postgresql:///d?host=/run&port=5433"])
def test_every_way_to_postgres(url: str) -> None:
    """Either scheme, or a socket's directory."""
    if url == "postgresql://":
        with pytest.raises(SettingsError):
            load({**RIGHT, "DATABASE_URL": url})
    else:
        assert load({**RIGHT, "DATABASE_URL": url}).database_url == url


URL_WEB = "it may start with https://, http://"
WRONG = [
    ("DATABASE_URL", "mysql://h/d", "it may start with postgresql://, postgres://"),
    ("DATABASE_URL", "h/d", "it may start with postgresql://, postgres://"),
    ("DATABASE_URL", "postgresql://h:port/d", "it may start with postgresql://, postgres://"),
    ("DATABASE_URL", "postgresql://[::1/d", "it may start with postgresql://, postgres://"),
    ("REDIS_URL", "http://h", "it may start with redis://, rediss://, unix://"),
    ("REDIS_URL", "redis://", "it may start with redis://, rediss://, unix://"),
    ("REDIS_URL", "unix://", "it may start with redis://, rediss://, unix://"),
    ("REDIS_URL", "redis://h:99999", "it may start with redis://, rediss://, unix://"),
    ("FRONTDESK_SECRET_KEYS", "short", "a key under 32 characters; `openssl rand -hex 32` makes one"),
    ("FRONTDESK_SECRET_KEYS", "x" * 32 + ",short", "a key under 32 characters; `openssl rand -hex 32` makes one"),
    ("FRONTDESK_SECRET_KEYS", ",", "a key under 32 characters; `openssl rand -hex 32` makes one"),
    ("PORT", "http", "it may be a number from 1 to 65535"),
    ("PORT", "0", "it may be a number from 1 to 65535"),
    ("PORT", "65536", "it may be a number from 1 to 65535"),
    ("PORT", "-1", "it may be a number from 1 to 65535"),
    ("PORT", "80.0", "it may be a number from 1 to 65535"),
    ("PORT", "٣", "it may be a number from 1 to 65535"),
    ("FRONTDESK_PUBLIC_URL", "desk.example", URL_WEB),
    ("FRONTDESK_PUBLIC_URL", "ftp://desk.example", URL_WEB),
    ("FRONTDESK_PUBLIC_URL", "https://", URL_WEB),
    ("FRONTDESK_ALLOW_PRIVATE_EGRESS", "10.0.0.0/33", "it may be networks such as 10.0.0.0/8,fd00::/8"),
    ("FRONTDESK_ALLOW_PRIVATE_EGRESS", "10.0.0.0/8,intranet", "it may be networks such as 10.0.0.0/8,fd00::/8"),
    ("FRONTDESK_ALLOW_PRIVATE_EGRESS", "10.1.2.3/8", "it may be networks such as 10.0.0.0/8,fd00::/8"),
    ("LOG_LEVEL", "loud", "it may be DEBUG, INFO, WARNING, ERROR"),
    ("LOG_FORMAT", "xml", "it may be text, json"),
    ("LLM_PROVIDER", "gpt", "it may be auto, openai, anthropic, ollama, demo"),
    ("LLM_PROVIDER", "openai", "set OPENAI_API_KEY"),
    ("LLM_PROVIDER", "anthropic", "set ANTHROPIC_API_KEY"),
    ("OPENAI_BASE_URL", "localhost:1234", URL_WEB),
    ("ANTHROPIC_BASE_URL", "ws://h", URL_WEB),
]


@pytest.mark.parametrize(("name", "value", "allowed"), WRONG)
def test_a_wrong_variable_is_named(name: str, value: str, allowed: str) -> None:
    """In one line, with what it may be."""
    with pytest.raises(SettingsError) as error:
        load({**RIGHT, name: value})
    assert name in error.value.message
    assert allowed in error.value.message
    assert "\n" not in error.value.message
    assert error.value.code == "settings"


@pytest.mark.parametrize("blank", [None, "", "  "])
def test_all_that_is_missing_is_said_at_once(blank: str | None) -> None:
    """Nobody wants to start three times."""
    environ = {} if blank is None else dict.fromkeys(RIGHT, blank)
    with pytest.raises(SettingsError, match=r"^not set: DATABASE_URL, REDIS_URL, FRONTDESK_SECRET_KEYS$"):
        load(environ)
    with pytest.raises(SettingsError, match=r"^not set: REDIS_URL$"):
        load({**RIGHT, "REDIS_URL": blank or ""})


def test_blank_is_not_set() -> None:
    """An optional variable that is empty is as if it were not there."""
    optional = ("PORT", "FRONTDESK_PUBLIC_URL", "LOG_LEVEL", "LLM_PROVIDER", "LLM_MODEL", "OPENAI_API_KEY")
    assert load({**RIGHT, **dict.fromkeys(optional, " ")}) == load(RIGHT)


def test_what_is_given_wins() -> None:
    """`frontdesk dev` gives what its embedded services are; the environment says the rest."""
    settings = load({"LOG_LEVEL": "ERROR", "PORT": "9"}, database_url="d", redis_url="r", secret_keys=("k",), port=8)
    assert (settings.database_url, settings.redis_url, settings.secret_keys) == ("d", "r", ("k",))
    assert (settings.port, settings.log_level) == (8, "ERROR")


def test_a_server_without_keys_needs_none() -> None:
    """A local server behind OPENAI_BASE_URL often asks for none."""
    assert llm({"LLM_PROVIDER": "openai", "OPENAI_BASE_URL": "http://h/v1"}).openai_api_key is None


@pytest.mark.parametrize("form", [repr, str, "{}".format, "{!r}".format])
def test_secrets_are_not_shown(form: object) -> None:
    """Not the keys, not the passwords within URLs; who looks at settings sees where things are all the same."""
    assert callable(form)
    environ = {
        **RIGHT,
        "OPENAI_API_KEY": "sk-hush-openai",
        "ANTHROPIC_API_KEY": "hush-anthropic",
        "OPENAI_BASE_URL": "https://user:hush-url@llm.example/v1",
    }
    shown = form(load(environ))
    assert "hush" not in shown
    assert "db.example/desk" in shown
    assert "redis.example:6379" in shown
    assert "llm.example" in shown
    assert "hush" not in form(load({**RIGHT, "DATABASE_URL": "postgresql://h/d?user=u&password=hush"}))


def test_wrong_secrets_are_not_shown_either() -> None:
    """An error must not carry a password into a log."""
    for name, value in (
        ("DATABASE_URL", "postgresql//u:hush@h"),
        ("REDIS_URL", "redis//:hush@h"),
        ("FRONTDESK_SECRET_KEYS", "hush"),
        ("OPENAI_BASE_URL", "u:hush@h"),
    ):
        with pytest.raises(SettingsError) as error:
            load({**RIGHT, name: value})
        assert "hush" not in error.value.message
