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

_SECRET_NAMES = re.compile(r"(?:^|_)(?:token|key|secret|password|authorization|cookie|text|content|prompt)$")
_SECRET_VALUES = re.compile(r"\b(?:sk|st)_[0-9a-z]{8,}|\bsk-[\w-]{8,}|(?<=://)[^\s/@:]+:[^\s/@]+(?=@)")


def get(name: str) -> structlog.stdlib.BoundLogger:
    """A logger; `name` is the station it speaks for, e.g. "turns"."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(name)
    return logger


def _redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in event.items():
        if _SECRET_NAMES.search(name):
            event[name] = "[redacted]"
        elif isinstance(value, str):
            event[name] = _SECRET_VALUES.sub("[redacted]", value)
    return event


def configure(level: str, form: Literal["text", "json"]) -> None:
    """Sets up structlog, and routes the standard library's loggers through the same pipeline."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    render: list[structlog.typing.Processor]
    if form == "json":
        render = [structlog.processors.format_exc_info, _redact, structlog.processors.JSONRenderer()]
    else:
        colors = sys.stderr.isatty()
        render = [
            _redact,
            structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback),
        ]
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
    for chatty in ("httpx", "httpcore", "httpx2", "httpcore2", "openai", "anthropic", "uvicorn", "yoyo", "asyncio"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))
