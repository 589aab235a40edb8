"""Structured logs on standard error, as text for people or JSON for machines.

Never logged: message bodies, keys, tokens, URLs with secrets. Callers log ids, counts, durations and
reasons; `_redact` is the net under them, not a licence.
"""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, Literal

import structlog

# Libraries whose every request would be a line.
_CHATTY = (
    "httpx",
    "httpcore",
    "httpx2",
    "httpcore2",
    "openai",
    "anthropic",
    "aiohttp",
    "uvicorn",
    "yoyo",
    "asyncio",
)
_SECRET_NAMES = re.compile(
    r"(?:^|[_-])(?:token|keys?|secrets?|password|authorization|cookie|text|content|prompt)$", re.IGNORECASE
)
_SECRET_VALUES = re.compile(
    r"\b(?:sk|st)_[0-9a-z]{8,}|\bsk-[\w-]{8,}|\bwhsec_[\w+/=-]+|\bids_[0-9a-f]{8,}"
    # Signed tokens (JWT), and whatever stands after the name of a scheme or of a password.
    r"|\beyJ[\w-]+\.[\w-]+\.[\w-]*|(?<=Bearer )\S+|(?<=password=)[^\s&]+"
    r"|(?<=://)[^\s/@:]*:[^\s/@]+(?=@)"
)


def get(name: str) -> structlog.stdlib.BoundLogger:
    """A logger; `name` is the station it speaks for, e.g. "turns"."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(name)
    return logger


def _redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in event.items():
        event[name] = "[redacted]" if _SECRET_NAMES.search(name) else _clean(value)
    return event


def _clean(value: Any) -> Any:
    match value:
        case None | bool() | int() | float():
            return value
        case dict():
            return {
                name: "[redacted]" if _SECRET_NAMES.search(str(name)) else _clean(each) for name, each in value.items()
            }
        case list() | tuple() | set() | frozenset():
            return [_clean(each) for each in value]
        case str():
            return _SECRET_VALUES.sub("[redacted]", value)
        case _:
            return _SECRET_VALUES.sub("[redacted]", repr(value))


def configure(level: str, form: Literal["text", "json"]) -> None:
    """Sets up structlog, and routes the standard library's loggers through the same pipeline."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    # A traceback becomes text first, so that it is looked through too.
    render: list[structlog.typing.Processor] = [structlog.processors.format_exc_info, _redact]
    if form == "json":
        render.append(structlog.processors.JSONRenderer())
    else:
        render.append(structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for chatty in _CHATTY:
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))
