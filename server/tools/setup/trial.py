"""One call of a client's tool to see how it goes: the same executors as for visitors, watched on their way out.

Nothing of it is kept but, where the tool changes something, who tried it. No answer comes from memory or stays there,
no visitor's call is recorded, and the circuit breaker of visitors' calls hears nothing of it.
"""

import time
from typing import Final

import msgspec

from server import ids
from server.cache.rate_limit import RateLimiter
from server.errors import Invalid, NotFound, SecretUnreadable
from server.protocol.admin.tools import Trial, TrialOutcome, TrialResult
from server.repositories import client_tools, endpoints
from server.repositories.clients import Client
from server.repositories.endpoints import OfferedEndpoint
from server.repositories.pool import reading, unit_of_work
from server.tools import policy
from server.tools.catalogue import endpoint_tool, webhook_tool
from server.tools.live.data import LiveData
from server.tools.setup.base import Setup, Target, known_client, known_integration, opened, record
from server.tools.setup.masking import Mask
from server.tools.setup.recorder import Recorder
from server.tools.sql.databases import Databases
from server.tools.tool import Call, Caller, Executor, Outcome, Person, Tool, Webhook
from server.tools.toolbox import BadArguments, Toolbox
from server.tools.webhook.n8n import N8n

# Seconds for all of it: as long as proxies before a console wait for an answer.
TRIAL_S: Final = 50.0
_ACCEPTED: Final = (
    "HTTP 202: the workflow has taken the call and would report its end to an address of ours; a trial gives it none, "
    "so look at the workflow's own log"
)


async def try_call(setup: Setup, *, client_id: int, name: str, trial: Trial) -> TrialResult:
    """Calls whatever the client's AI knows by this name: a tool or live data. Raises as `try_tool`."""
    async with reading(setup.pool) as conn:
        await known_client(conn, client_id)
        tool = await client_tools.find_by_name(conn, client_id=client_id, tool_name=name)
        endpoint = await endpoints.find_by_name(conn, client_id=client_id, endpoint_name=name)
    if endpoint is not None and not (tool is not None and tool.enabled):
        return await try_endpoint(setup, client_id=client_id, endpoint_name=name, trial=trial)
    return await try_tool(setup, client_id=client_id, tool_name=name, trial=trial)


async def try_tool(setup: Setup, *, client_id: int, tool_name: str, trial: Trial) -> TrialResult:
    """Calls a client's tool, enabled or not. Raises NotFound, and Invalid for what cannot be tried like this."""
    async with reading(setup.pool) as conn:
        client = await known_client(conn, client_id)
        row = await client_tools.find_by_name(conn, client_id=client_id, tool_name=tool_name)
    if row is None:
        raise NotFound(f"client {client_id} has no tool {tool_name[:64]!r}")
    try:
        tool = webhook_tool(row, client)
    except msgspec.ValidationError as error:
        raise Invalid(f"the tool cannot be called: {error}") from error
    recorder = Recorder(Mask(), sender=setup.egress)
    executor = N8n(recorder, setup.vault, None)
    return await _try(setup, tool, client, trial, executor, recorder)


async def try_endpoint(
    setup: Setup,
    *,
    client_id: int,
    endpoint_name: str,
    trial: Trial,
    integration_id: int | None = None,
    limiter: RateLimiter | None = None,
) -> TrialResult:
    """Looks something up, its integration enabled or paused. Raises as `try_tool`.

    With an `integration_id` it must be one of that integration's. The `limiter` counts it against the integration's
    own limit.
    """
    async with reading(setup.pool) as conn:
        client = await known_client(conn, client_id)
        row = await endpoints.find_by_name(conn, client_id=client_id, endpoint_name=endpoint_name)
        if row is None or integration_id not in {None, row.integration_id}:
            raise NotFound(f"client {client_id} has no endpoint {endpoint_name[:64]!r}")
        integration = await known_integration(conn, client_id, row.integration_id)
    offered = OfferedEndpoint(
        **msgspec.structs.asdict(row),
        integration_type=integration.integration_type,
        connection_config=integration.connection_config,
    )
    try:
        tool = endpoint_tool(offered)
    except msgspec.ValidationError as error:
        raise Invalid(f"the endpoint cannot be called: {error}") from error
    try:
        mask = Mask.of(opened(setup, integration))
    except (SecretUnreadable, Invalid):
        mask = Mask()  # nothing is sent then, and the outcome says so
    databases = Databases(setup.egress)
    try:
        recorder = Recorder(mask, sender=setup.egress, databases=databases)
        executor = LiveData(setup.egress, setup.vault, None, limiter, recorder, sender=recorder)
        return await _try(setup, tool, client, trial, executor, recorder)
    finally:
        await databases.close()


async def _try(
    setup: Setup, tool: Tool, client: Client, trial: Trial, executor: Executor, recorder: Recorder
) -> TrialResult:
    call = _call(tool, client, trial)
    if tool.effect != "read_only":
        # Before it goes out: it may do something that somebody asks about later.
        async with unit_of_work(setup.pool) as conn:
            target = Target(client.id, "trial", tool.name)
            await record(setup, conn, target, "tool.try", effect=tool.effect, call=call.key)
    began = time.monotonic()
    outcome = await executor.run(tool, call)
    ms = round((time.monotonic() - began) * 1000)
    return _result(tool, outcome, recorder, ms)


def _call(tool: Tool, client: Client, trial: Trial) -> Call:
    """The call as a turn would make it. Raises Invalid."""
    if tool.effect == "unsafe" and not trial.really:
        raise Invalid(
            f"really: {tool.name} is unsafe, so this does what it does for visitors; send true if that may be",
            code="really_needed",
            field="really",
        )
    key = ids.request_id().replace("req_", "try_")
    caller = Caller(
        client_id=client.id,
        client_key=client.public_key,
        client_name=client.name,
        conversation_id=key,
        turn_id=key,
        turn_row=0,
        locale=client.locale,
        channel="console",
        visitor=None if trial.visitor is None else Person(trial.visitor.id, trial.visitor.email, trial.visitor.name),
    )
    try:
        arguments = Toolbox([tool]).checked(tool, msgspec.json.encode(trial.arguments).decode())
    except BadArguments as error:
        raise Invalid(f"arguments: {'; '.join(error.problems)}", field="arguments") from error
    try:
        arguments = policy.admit(tool, arguments, caller)
    except policy.Refused as refused:
        raise Invalid(f"visitor: whom to pose as is needed here ({refused})", field="visitor") from refused
    return Call(key, tool.name, arguments, caller, budget_s=TRIAL_S)


def _result(tool: Tool, outcome: Outcome, recorder: Recorder, ms: int) -> TrialResult:
    response = recorder.exchanges[-1].response if recorder.exchanges else None
    how: TrialOutcome = "ok" if outcome.ok else "in_doubt" if outcome.in_doubt else "failed"
    content, error = outcome.content, outcome.error
    if isinstance(tool.source, Webhook) and response is not None and response.status == 202:
        how, content, error = "accepted", "", _ACCEPTED
    return TrialResult(
        outcome=how,
        exchanges=recorder.exchanges,
        content=recorder.mask.text(content),
        error=None if error is None else recorder.mask.text(error),
        ms=ms,
    )
