"""Live data: what a client's own systems know right now, over HTTP or SQL."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable

from redis.asyncio import Redis

from server import log
from server.cache.endpoints import EndpointCache
from server.cache.rate_limit import RateLimiter
from server.errors import Invalid, SecretUnreadable
from server.net.egress import Egress
from server.net.vault import CONNECTION_CONFIG, Vault
from server.tools.arguments.schema import checker
from server.tools.connections.database import DatabaseConnection
from server.tools.connections.http import HttpConnection
from server.tools.connections.kinds import Connection, database_kind, parse
from server.tools.live import outcome as live_outcome
from server.tools.live.answers import LiveAnswers
from server.tools.live.auth import Authorizer
from server.tools.live.database_endpoint import Asker, DatabaseEndpoints
from server.tools.live.http_endpoint import HttpEndpoints
from server.tools.live.http_fetch import Fetcher
from server.tools.tool import Call, Endpoint, Outcome, Sender, Tool
from server.tools.webhook import answer

logger = log.get("tools")

# Connections that are kept open for reading, so that most calls decrypt nothing. A few hundred bytes each.
_MAX_CONNECTIONS = 4_096
_STRANGER = "what the website says about this visitor is not what the business's system knows customers by"


class LiveData:
    """Does what a tool with an `Endpoint` does. Shared by all turns of an instance. `away`: Redis need not be asked.

    Without Redis no answer is kept, without a limiter nothing is counted. `sender` stands in for `egress`, but not
    where a token is asked for.
    """

    def __init__(
        self,
        egress: Egress,
        vault: Vault,
        redis: Redis | None,
        limiter: RateLimiter | None,
        databases: Asker,
        *,
        away: Callable[[], bool] = lambda: False,
        sender: Sender | None = None,
    ) -> None:
        self._egress = egress
        self._vault = vault
        answers = LiveAnswers(None if redis is None else EndpointCache(redis, away=away))
        self._http = HttpEndpoints(Fetcher(sender or egress, Authorizer(egress)), limiter, answers)
        self._sql = DatabaseEndpoints(databases, answers)
        self._connections: OrderedDict[tuple[int, str, bytes], Connection] = OrderedDict()

    async def run(self, tool: Tool, call: Call) -> Outcome:
        """Never raises for what the other side does."""
        endpoint = tool.source
        if not isinstance(endpoint, Endpoint):
            raise TypeError(f"{tool.name} is not live data")
        # The model's arguments were checked before the server filled in the visitor's; these may not fit.
        if tool.bound and (problems := checker(tool.parameters).problems(call.arguments)):
            return live_outcome.failed(tool.effect, _STRANGER, f"bound arguments: {'; '.join(problems)}")
        try:
            connection = self._open(call.caller.client_id, endpoint)
        except (SecretUnreadable, Invalid) as error:
            logger.warning("connection unusable", integration_id=endpoint.integration_id, reason=error.message)
            return live_outcome.failed(tool.effect, answer.MISSET, f"connection_config: {error.message}")
        # Another ciphertext is another configuration; nothing of a secret can be computed from this.
        identity = hashlib.sha256(
            f"{call.caller.client_id}:{endpoint.integration_id}:".encode() + endpoint.connection_config
        ).digest()
        match connection:
            case DatabaseConnection():
                kind = database_kind(endpoint.integration_type)
                return await self._sql.run(tool, endpoint, call, connection, kind, identity)
            case HttpConnection():
                return await self._http.run(tool, endpoint, call, connection, identity)
            case _:
                return await self._http.run(tool, endpoint, call, connection.http(), identity)

    def _open(self, client_id: int, endpoint: Endpoint) -> Connection:
        """Raises SecretUnreadable, Invalid."""
        key = (client_id, endpoint.integration_type, endpoint.connection_config)
        connection = self._connections.get(key)
        if connection is None:
            text = self._vault.open(endpoint.connection_config, client_id=client_id, field=CONNECTION_CONFIG)
            connection = self._connections[key] = parse(endpoint.integration_type, text, self._egress)
            while len(self._connections) > _MAX_CONNECTIONS:
                self._connections.popitem(last=False)
        self._connections.move_to_end(key)
        return connection
