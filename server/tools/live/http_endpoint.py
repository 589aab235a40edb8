"""Looks something up in a client's own system over HTTP, within 5 seconds, and tells the truth about how it went."""

import asyncio
from typing import Any

from server.cache.rate_limit import Limit, RateLimiter
from server.errors import EgressError, Invalid, RateLimited
from server.net.egress import Response
from server.tools.connections.http import HttpConnection
from server.tools.live import outcome as live_outcome
from server.tools.live.answers import LiveAnswers
from server.tools.live.auth import CredentialsRefused
from server.tools.live.http_fetch import Fetcher
from server.tools.live.http_request import Request, build
from server.tools.live.response_path import PathError, pick
from server.tools.result import parsed
from server.tools.tool import Call, Endpoint, Outcome, Tool
from server.tools.webhook import answer

# Seconds for one look-up, from the owner's plan: tokens, a second try and reading included.
FETCH_S = 5.0
# Seconds of the budget kept for writing down how the call ended.
_MARGIN_S = 0.25
# Characters of an error's body that an operator sees.
_EXCERPT = 2_000


def look_up_seconds(call: Call) -> float:
    """For one look-up. What is left of the turn is not used up, so that our own word on it arrives."""
    return max(0.05, min(FETCH_S, call.budget_s - _MARGIN_S))


class HttpEndpoints:
    """Shared by all turns of an instance."""

    def __init__(self, fetcher: Fetcher, limiter: RateLimiter | None, answers: LiveAnswers) -> None:
        """Without a limiter nothing is counted."""
        self._fetcher = fetcher
        self._limiter = limiter
        self._answers = answers

    async def run(
        self, tool: Tool, endpoint: Endpoint, call: Call, connection: HttpConnection, identity: bytes
    ) -> Outcome:
        """`identity` names the connection with its credentials. Never raises for what the other side does."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + look_up_seconds(call)
        try:
            request = build(connection.api_url, endpoint.url, endpoint.method, tool.parameters, call.arguments)
        except Invalid as error:
            if error.field in tool.parameters.get("properties", {}) or error.field is None:
                return live_outcome.unusable_arguments(error.message)
            return live_outcome.failed(tool.effect, answer.MISSET, error.message)
        question = self._answers.question(tool, endpoint, call, identity, request.method, request.url, request.body)
        if (known := await self._answers.known(tool, question)) is not None:
            return known
        try:
            await self._count(endpoint, call, connection)
            response = await self._fetcher.fetch(
                connection,
                identity,
                request,
                timeout_s=deadline - clock(),
                again=tool.effect == "read_only",
            )
        except RateLimited as error:
            return live_outcome.busy(tool.effect, error)
        except EgressError as error:
            return live_outcome.unreachable(tool.effect, error)
        except CredentialsRefused as error:
            return live_outcome.failed(tool.effect, answer.MISSET, f"credentials refused: {error}")
        outcome = _read(tool, endpoint, request, response)
        if outcome.ok and 200 <= response.status < 300:
            await self._answers.keep(endpoint, question, outcome)
        return outcome

    async def _count(self, endpoint: Endpoint, call: Call, connection: HttpConnection) -> None:
        """Raises RateLimited."""
        if connection.rate_limit is not None and self._limiter is not None:
            name = f"integration:{call.caller.client_id}:{endpoint.integration_id}"
            await self._limiter.check(Limit("integration", name, connection.rate_limit))


class Unreadable(Exception):
    """A body that is no data. The text is for an operator."""


def _read(tool: Tool, endpoint: Endpoint, request: Request, response: Response) -> Outcome:
    if not 200 <= response.status < 300:
        return _refused(tool, request, response)
    try:
        value = _value(response)
        if request.graphql and (refusal := _graphql_refusal(tool, response, value)) is not None:
            return refusal
        picked = pick(endpoint.response_path, value)
    except (PathError, Unreadable) as error:
        return live_outcome.failed(tool.effect, answer.UNREADABLE, str(error), acted=True, response=_record(response))
    return live_outcome.found(tool.effect, picked, status=response.status)


def _refused(tool: Tool, request: Request, response: Response) -> Outcome:
    """Any status that is not a success."""
    status, record = response.status, _record(response)
    error = f"HTTP {status}"
    if status in (404, 410) and tool.effect == "read_only" and request.by_argument:
        return Outcome(True, live_outcome.NOTHING_FOUND, response=record)
    match status:
        case 401 | 403:
            words, error = answer.MISSET, f"{error}: the credentials were refused; check them and what they may read"
        case 404 | 405 | 410:
            words, error = answer.MISSET, f"{error}: there is nothing at this address; check endpoint_url and api_url"
        case 408:
            words = answer.SILENT
        case 429:
            words, error = answer.BUSY, f"{error}: more requests than the system takes; lower rate_limit"
        case _ if status >= 500:
            words = answer.BROKEN
        case _ if 300 <= status < 400:
            words, error = answer.MISSET, f"{error}: a redirect, which is not followed; configure where it leads"
        case _:
            words = answer.REFUSED
    # What was refused has not happened; what broke may have.
    return live_outcome.failed(tool.effect, words, error, acted=status >= 500 or 300 <= status < 400, response=record)


def _record(response: Response) -> dict[str, Any]:
    return {"status": response.status, "body": response.body[: 4 * _EXCERPT].decode("utf-8", "replace")[:_EXCERPT]}


def _value(response: Response) -> Any:
    """The body as data, None when there is none. Raises Unreadable."""
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        text = response.body.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise Unreadable(f"{len(response.body)} bytes that are not UTF-8 text ({kind[:100] or 'no type'})") from None
    if not text:
        return None
    try:
        return parsed(text)
    except ValueError:
        if kind == "application/json" or kind.endswith("+json"):
            raise Unreadable("the body says it is JSON and is not") from None
    if kind in ("text/html", "application/xhtml+xml") or text[:100].lower().startswith(("<!doctype html", "<html")):
        raise Unreadable("a web page, not data; check the address, and whether it asks for a login")
    return text


def _graphql_refusal(tool: Tool, response: Response, value: Any) -> Outcome | None:
    """GraphQL says what is wrong in a 200."""
    errors = value.get("errors") if isinstance(value, dict) else [{"message": "not a GraphQL answer"}]
    if not errors:
        return None
    first = errors[0] if isinstance(errors, list) else errors
    said = first.get("message") if isinstance(first, dict) else first
    extensions = first.get("extensions") if isinstance(first, dict) else None
    code = extensions.get("code") if isinstance(extensions, dict) else None
    words = {"THROTTLED": answer.BUSY, "ACCESS_DENIED": answer.MISSET}.get(str(code), answer.REFUSED)
    return live_outcome.failed(
        tool.effect, words, f"GraphQL: {str(said)[:300]}{f' ({code})' if code else ''}", response=_record(response)
    )
