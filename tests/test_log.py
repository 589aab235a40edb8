"""Structured logs: no secrets in them, one JSON object a line, tracebacks whole."""

import io
import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import pytest
import structlog

from server import log

Form = Literal["text", "json"]


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Form, str], io.StringIO]]:
    """Configures logging onto a stream of the test's own; afterwards everything is as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    levels = {
        name: logger.level
        for name, logger in logging.Logger.manager.loggerDict.items()
        if isinstance(logger, logging.Logger)
    }
    stream = io.StringIO()

    def configure(form: Form, level: str = "INFO") -> io.StringIO:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stderr", stream)
            log.configure(level, form)
        return stream

    with _uncached():
        yield configure
    root.handlers, root.level = handlers, level
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)


@contextmanager
def _uncached() -> Iterator[None]:
    """structlog's defaults before and after."""
    before = structlog.get_config()
    yield
    structlog.reset_defaults()
    structlog.configure(**before)


Configure = Callable[..., io.StringIO]

SECRETS: dict[str, Any] = {
    "api_key": "value",
    "secret_keys": ("value",),
    "session_token": "value",
    "password": "value",
    "Authorization": "value",
    "x-api-key": "value",
    "cookie": "value",
    "text": "value",
    "content": "value",
    "system_prompt": "value",
    "reason": "key sk_0123456789abcdefvalue was refused",
    "openai": "sk-proj-value-0123456789",
    "bearer": "Bearer valuevaluevalue",
    "jwt": "eyJhbGciOi.valuevalue.value-value",
    "url": "postgresql://desk:value@db.example/desk",
    "redis": "redis://:value@redis.example",
    "dsn": "host=h password=value dbname=d",
    "query": "postgresql://h/d?password=value&x=1",
    "nested": {"headers": {"authorization": "value"}, "urls": ["redis://:value@h"]},
    "error": ValueError("st_0123456789abcdefvalue"),
    "raw": b"sk_0123456789abcdefvalue",
}


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("name", SECRETS)
def test_secrets_are_redacted(written: Configure, name: str, form: Form) -> None:
    """By their name or by their looks, however deep."""
    stream = written(form)
    log.get("test").info("it happened", **{name: SECRETS[name]})
    line = stream.getvalue()
    assert "it happened" in line
    assert "value" not in line
    assert "[redacted]" in line


@pytest.mark.parametrize("form", ["text", "json"])
def test_what_is_no_secret_stays(written: Configure, form: Form) -> None:
    """Ids, counts, durations and reasons are what logs are for."""
    stream = written(form)
    known = {"client": 7, "tokens_input": 123, "turn": "trn_0123", "reason": "it said no", "ok": True, "ms": 1.5}
    log.get("test").info("turn runs", **known, none=None, url="https://desk.example:8000/a@b")
    line = stream.getvalue()
    assert "[redacted]" not in line
    for value in ("7", "123", "trn_0123", "it said no", "1.5", "https://desk.example:8000/a@b"):
        assert value in line


def test_lines_of_json_are_json(written: Configure) -> None:
    """Each line is an object with time, level, station and event; newlines within stay within."""
    stream = written("json")
    log.get("turns").warning("one\ntwo", reason="a\nb \u2028 🍕", many=[1, {"deep": None}])
    logging.getLogger("somebody.else").error("plain %s", "words")
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert (first["event"], first["level"], first["logger"]) == ("one\ntwo", "warning", "turns")
    assert (first["reason"], first["many"]) == ("a\nb \u2028 🍕", [1, {"deep": None}])
    assert first["timestamp"].endswith("Z")
    assert (second["event"], second["level"], second["logger"]) == ("plain words", "error", "somebody.else")


@pytest.mark.parametrize("form", ["text", "json"])
def test_tracebacks_are_there_and_clean(written: Configure, form: Form) -> None:
    """Where and what, with neither the variables around it nor the secrets within."""
    stream = written(form)
    hidden = "local-value"
    try:
        raise ValueError(f"cannot use sk_0123456789abcdef{len(hidden)}")
    except ValueError:
        log.get("test").exception("broke")
        logging.getLogger("other").exception("broke too")
    text = stream.getvalue()
    assert text.count("Traceback (most recent call last)") == 2
    assert text.count("test_tracebacks_are_there_and_clean") == 2
    assert "ValueError: cannot use [redacted]" in text
    assert "sk_0123" not in text
    assert "local-value" not in text.replace('hidden = \\"local-value\\"', "")
    if form == "json":
        assert [json.loads(line)["event"] for line in text.splitlines()] == ["broke", "broke too"]


def test_the_level_is_kept_to(written: Configure) -> None:
    """For our own loggers and the libraries'; chatty libraries only warn."""
    stream = written("json", "INFO")
    log.get("test").debug("no")
    logging.getLogger("httpx").info("no")
    logging.getLogger("openai").info("no")
    log.get("test").info("yes")
    logging.getLogger("httpx").warning("yes")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["yes", "yes"]


def test_the_context_of_a_request_is_on_every_line(written: Configure) -> None:
    """What was bound once is on each line, and redacted as all else."""
    stream = written("json")
    with structlog.contextvars.bound_contextvars(request="req_1", token="value"):
        log.get("test").info("one")
        logging.getLogger("other").warning("two")
    log.get("test").info("three")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line.get("request") for line in lines] == ["req_1", "req_1", None]
    assert [line.get("token") for line in lines] == ["[redacted]", "[redacted]", None]
