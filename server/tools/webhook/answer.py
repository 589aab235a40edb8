"""What a webhook's HTTP answer means. Pure: bytes in, a verdict out.

n8n says things in its own way (its `cli` package, `response-helper.ts` and `webhooks/webhook-helpers.ts`, n8n 2.x):
`{"code": 404, "message": "The requested webhook ... is not registered.", "hint": ...}` where a workflow is not
published, `{"code": 0, "message": "Workflow Webhook Error: Workflow could not be started!"}`, `{"message": "Error in
workflow"}` with a 500, `{"message": "Workflow was started"}` where the node answers before there is a result, an array
of all items, an item `{"error": ...}` where a node goes on after its error, and text as `text/html`.
"""

import email.utils
import re
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from server.errors import EgressError
from server.tools.result import parsed, reading, recordable

# Said to the model, so in plain words and without a name of anything inside.
SILENT = "the business's system did not answer in time"
AWAY = "the business's system cannot be reached right now"
BUSY = "the business's system is too busy right now"
BROKEN = "the business's system had an error"
REFUSED = "the business's system refused this"
MISSET = "the business's system is not set up correctly for this"
UNREADABLE = "the business's system gave an answer that cannot be used"
NOTHING_TO_SAY = "Done. The system had nothing more to say."
# What the operator sees of an answer: enough for any error body, not a whole page.
EXCERPT = 2_000

_NOTHING_TO_SAY = (
    "Workflow executed successfully but no data was returned",
    "Workflow executed successfully but the last node did not return any data",
)
# Answered before the workflow has run: there is no result in it.
_STARTED = ("Workflow was started", "Webhook call received")
_NOT_STARTED = "Workflow could not be started!"
_ERROR_FIELDS = {"code", "message", "hint", "stacktrace"}
# Addresses, paths, stack traces and system error codes: the operator's business, not the visitor's.
_INTERNAL = re.compile(
    r"://|\b\d{1,3}(\.\d{1,3}){3}\b|\b[A-Za-z][\w.-]*:\d{2,5}\b|\bat .+:\d+|Traceback|\bE[A-Z]{5,}\b"
    r"|\.(local|internal|svc|lan)\b|(?<!\w)/[\w.-]+/[\w.-]+|\w+(Error|Exception)\b"
)
# Characters of a workflow's own words that the model reads.
_PLAIN_CHARACTERS = 300
# What the model is told of a request that got no answer.
WORDS: dict[EgressError.Kind, str] = {
    "forbidden": MISSET,
    "dns": AWAY,
    "refused": AWAY,
    "timeout": SILENT,
    "tls": MISSET,
    "too_large": UNREADABLE,
    "broken": AWAY,
}


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """`value` is the result, None where there is nothing to say. `error` is for the operator, `words` for the model.

    `accepted`: the result comes to the callback. `acted`: the effect may have happened, though this is no success.
    `healthy`: whether the other side is there; None when that was not seen. `retry`: a later try may do better, not
    before `after_s` seconds.
    """

    value: Any = None
    error: str | None = None
    words: str = ""
    accepted: bool = False
    acted: bool = False
    healthy: bool | None = True
    retry: bool = False
    after_s: float = 0.0


def judge(status: int, headers: Mapping[str, str], body: bytes) -> Answer:
    """An HTTP answer; `headers` have lower-case names."""
    if status == 202:
        return Answer(accepted=True)
    value, unreadable = _read(headers, body)
    if 200 <= status < 300:
        return _unusable(status, unreadable) if unreadable else _result(value)
    if 300 <= status < 400:
        # n8n's own "Redirect" answer comes after the work is done.
        error = f"HTTP {status}: a redirect, and redirects are not followed; configure the address it leads to"
        return Answer(error=error, words=MISSET, acted=True)
    said = _message(value)
    error = f"HTTP {status}: {unreadable or said or _excerpt(value) or 'nothing more'}"
    if status < 500:
        return _refusal(status, headers, value, error)
    started = said is None or _NOT_STARTED not in said
    retry = status in {502, 503, 504}
    return Answer(
        error=error, words=BROKEN, acted=started, healthy=False, retry=retry, after_s=_after(headers) if retry else 0.0
    )


def unreached(error: EgressError) -> Answer:
    """No answer at all."""
    return Answer(
        error=f"{error.kind}: {error.message}",
        words=WORDS[error.kind],
        acted=error.sent,
        # An address that we do not allow says nothing about who is there.
        healthy=None if error.kind == "forbidden" else False,
        retry=error.kind in {"dns", "refused", "timeout", "broken"},
    )


def verdict(value: Any) -> str | None:
    """What a result says went wrong, in full; None when it is a result. The same for answers and for callbacks."""
    match value:
        case {"error": str() | dict() | list() | True} if value["error"]:
            return _message(value) or _excerpt(value)
        case {"code": int(code), "message": str(message)} if value.keys() <= _ERROR_FIELDS and (
            code >= 400 or not code
        ):
            return _with_hint(message, value)
        case {"message": "Error in workflow"} if len(value) == 1:
            return "Error in workflow"
        case _:
            return None


def content(value: Any) -> str:
    """What the model reads of a result."""
    return NOTHING_TO_SAY if value is None else reading(value)


def plain(said: str | None, otherwise: str) -> str:
    """A workflow's own words for the model, if they are plain words; else `otherwise`."""
    line = (said or "").strip().partition("\n")[0].strip()
    if not line or _INTERNAL.search(line):
        return otherwise
    return line if len(line) <= _PLAIN_CHARACTERS else line[: _PLAIN_CHARACTERS - 1] + "…"


def unwrapped(value: Any) -> Any:
    """n8n's "all incoming items" of a single item is that item."""
    match value:
        case [dict() as item]:
            return item
        case {"message": str(message)} if len(value) == 1 and message in _NOTHING_TO_SAY:
            return None
        case "":
            return None
        case _:
            return value


def _result(value: Any) -> Answer:
    value = unwrapped(value)
    if (error := verdict(value)) is not None:
        return Answer(value=value, error=error, words=plain(error, BROKEN))
    if isinstance(value, dict) and len(value) == 1 and value.get("message") in _STARTED:
        error = (
            f"the webhook answered at once ({value['message']!r}), before there was a result: let the Webhook node "
            "respond when the last node finishes or by a Respond to Webhook node, or answer 202 and call back"
        )
        return Answer(
            value=value, error=error, words="the request was handed over, but no result came back", acted=True
        )
    return Answer(value=value)


def _refusal(status: int, headers: Mapping[str, str], value: Any, error: str) -> Answer:
    """4xx: the other side is there, and did nothing."""
    match status:
        case 401 | 403:
            return Answer(value=value, error=f"{error} (does the webhook check with this tool's secret?)", words=MISSET)
        case 429:
            return Answer(value=value, error=error, words=BUSY, retry=True, after_s=_after(headers))
        case 408:
            return Answer(value=value, error=error, words=SILENT)
    if isinstance(value, dict) and value.get("error"):
        return Answer(value=value, error=error, words=plain(_message(value), REFUSED))
    return Answer(value=value, error=error, words=MISSET if status in {404, 405, 410} else REFUSED)


def _unusable(status: int, reason: str) -> Answer:
    return Answer(error=f"HTTP {status}: {reason}", words=UNREADABLE, acted=True)


def _read(headers: Mapping[str, str], body: bytes) -> tuple[Any, str | None]:
    """The body as a value, and why it is none. n8n sends text as HTML unless told, so the type alone says little."""
    try:
        text = body.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        kind = headers.get("content-type", "no content type")
        return None, f"{len(body)} bytes that are not UTF-8 text ({kind[:100]})"
    if not text:
        return None, None
    try:
        return parsed(text), None
    except ValueError:
        pass
    start = text[:1_000].lower()
    if start.startswith(("<!doctype html", "<html")) or (
        start.startswith("<") and "text/html" in headers.get("content-type", "").lower()
    ):
        return None, f"an HTML page, not a result; it begins: {recordable(text[:200])}"
    return recordable(text), None


def _message(value: Any) -> str | None:
    """What an error body says, wherever it says it."""
    match value:
        case str():
            return value[:EXCERPT]
        case {"error": str(text)} if text:
            return text[:EXCERPT]
        case {"error": {"message": str(text)}} | {"error": {"description": str(text)}} if text:
            return text[:EXCERPT]
        case {"message": str(text)} if text:
            return _with_hint(text, value)
        case _:
            return None


def _with_hint(message: str, value: Mapping[str, Any]) -> str:
    hint = value.get("hint")
    return f"{message} ({hint})"[:EXCERPT] if isinstance(hint, str) and hint else message[:EXCERPT]


def _excerpt(value: Any) -> str:
    return "" if value is None else msgspec.json.encode(value).decode()[:EXCERPT]


def _after(headers: Mapping[str, str]) -> float:
    """Seconds of `Retry-After`, which is seconds or a date; 0 when it is neither."""
    given = headers.get("retry-after", "").strip()
    if given.isascii() and given.isdigit() and len(given) <= 9:
        return float(given)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(given).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0
