"""What of a response a model needs: JMESPath (https://jmespath.org)."""

from functools import lru_cache
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.parser import ParsedResult

from server.errors import Invalid

_MAX = 4_000


class PathError(Exception):
    """The path does not fit the response, e.g. the length of a number. The text is for an operator."""


def check_response_path(path: str | None) -> None:
    """Raises Invalid with field `response_path` that says where the expression is wrong."""
    if path is None:
        return
    if not 1 <= len(path) <= _MAX:
        raise Invalid(f"response_path must be 1 to {_MAX:,} characters of JMESPath", field="response_path")
    try:
        _compiled(path)
    except (JMESPathError, RecursionError) as error:
        # The library draws an arrow on lines of its own.
        where = " ".join(str(error).split("\n")[0].split()) or type(error).__name__
        raise Invalid(f"response_path is not JMESPath: {where}", field="response_path") from error


def pick(path: str | None, value: Any) -> Any:
    """What the path finds, None for nothing. Raises PathError."""
    if path is None:
        return value
    try:
        return _compiled(path).search(value)
    except (JMESPathError, RecursionError) as error:
        raise PathError(f"response_path does not fit the response: {str(error).splitlines()[0]}") from error


@lru_cache(maxsize=512)
def _compiled(path: str) -> ParsedResult:
    return jmespath.compile(path)
