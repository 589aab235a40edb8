"""Answers of live data that were given a moment ago and are given again."""

from server.cache.endpoints import EndpointCache, KeptResponse, response_key
from server.tools.live import outcome as live_outcome
from server.tools.tool import Call, Endpoint, Outcome, Tool


class LiveAnswers:
    """Only successful look-ups are kept, for the endpoint's `cache_ttl`. The model cannot tell; the record can."""

    def __init__(self, cache: EndpointCache | None) -> None:
        """Without a cache nothing is kept."""
        self._cache = cache

    def question(
        self, tool: Tool, endpoint: Endpoint, call: Call, identity: bytes, *asked: bytes | str | None
    ) -> str | None:
        """Names what an answer depends on: what is asked, with which credentials, and, where the server filled in who
        the visitor is, that visitor and nobody else. None where nothing may be kept.
        """
        if self._cache is None or tool.effect != "read_only" or endpoint.cache_ttl <= 0:
            return None
        visitor = call.caller.visitor if tool.bound else None
        return response_key(
            call.caller.client_id,
            endpoint.endpoint_id,
            identity,
            endpoint.response_path,
            visitor.id if visitor is not None else None,
            *asked,
        )

    async def known(self, tool: Tool, question: str | None) -> Outcome | None:
        """The answer, when it was kept."""
        kept = await self._cache.get(question) if self._cache is not None and question is not None else None
        if kept is None:
            return None
        return live_outcome.found(tool.effect, kept.value, status=kept.status, cached=True)

    async def keep(self, endpoint: Endpoint, question: str | None, outcome: Outcome) -> None:
        """What `live_outcome.found` made."""
        if self._cache is not None and question is not None:
            kept = KeptResponse(outcome.response["data"], outcome.response.get("status"))
            await self._cache.put(question, kept, ttl_s=endpoint.cache_ttl)
