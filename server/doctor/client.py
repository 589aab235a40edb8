"""What one client needs: a plan with room, origins, its script seen, a model, webhooks and systems that answer."""

import asyncio
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from server.doctor.check import Found, counted, fine, worth, wrong
from server.errors import EgressError, Invalid
from server.llm.registry import Registry
from server.net.egress import Egress
from server.net.origin import normal_origin
from server.protocol.client_config import read_model
from server.repositories import client_tools, endpoints, integrations, sightings, tool_usage, usage
from server.repositories.clients import Client
from server.repositories.pool import Pool, reading
from server.tools.catalogue import webhook_url

# Seconds that a host has to say anything at all.
HOST_S = 5.0
# Days after which a page that carries the script should have been opened by somebody.
UNSEEN_DAYS = 7
# Part of the plan's month that is used up when it is time to think of the next plan.
NEARLY = 0.9
# A tool that failed in so many of so many calls of the last day is broken, whatever its host says.
FAILING = 0.5
CALLS_LEAST = 5
_LOCAL = {"localhost", "127.0.0.1", "::1"}
_ADVICE: dict[EgressError.Kind, str] = {
    "forbidden": "If it is in your own network, list that network in FRONTDESK_ALLOW_PRIVATE_EGRESS.",
    "dns": "Check the spelling of the host.",
    "refused": "Check that n8n or the system runs there, and that its firewall lets this server in.",
    "timeout": "Check that it runs, and that its firewall lets this server in.",
    "tls": "Renew its certificate, or correct the address.",
    "too_large": "Nothing needs to be done.",
    "broken": "Check that it speaks HTTP at this address.",
}


async def standing(client: Client, pool: Pool) -> list[Found]:
    """Whether it may chat at all, and how much of its month is left."""
    if client.status != "active":
        return [wrong("this client is suspended: its visitors get no answers", "Activate it when that is over.")]
    if client.monthly_messages is None:
        return [fine(f"active, on the plan {client.plan_type} without a monthly limit")]
    first = datetime.now(UTC).date().replace(day=1)
    async with reading(pool) as conn:
        used = await usage.messages_since(conn, client_id=client.id, start=first)
    messages = counted(client.monthly_messages, "message", "messages")
    says = f"{used:,} of {messages} of this month {'is' if used == 1 else 'are'} used"
    if used >= client.monthly_messages:
        return [wrong(f"{says}: visitors get no answers until the 1st, UTC", "Choose a larger plan.")]
    if used >= NEARLY * client.monthly_messages:
        return [worth(says, "Choose a larger plan before it is used up.")]
    return [fine(f"active; {says}")]


async def origins(client: Client) -> list[Found]:
    """From which websites its widget may chat."""
    if not client.allowed_origins:
        return [wrong("no origin is allowed, so the widget works nowhere", f"Add https://{client.domain}.")]
    found = []
    for origin in client.allowed_origins:
        if normal_origin(origin) != origin:
            says = f"the origin {origin} is not written as browsers write it, and matches nothing"
            found.append(wrong(says, f"Write {normal_origin(origin) or f'https://{client.domain}'}."))
        elif origin.startswith("http://") and urlsplit(origin).hostname not in _LOCAL:
            found.append(worth(f"{origin} has no TLS: others can read along", "Serve the website by https."))
    hosts = {urlsplit(origin).hostname or "" for origin in client.allowed_origins}
    if not any(host == client.domain or host.endswith(f".{client.domain}") for host in hosts):
        found.append(worth(f"none of the origins is of {client.domain}", f"Add https://{client.domain}."))
    return found or [fine(f"{counted(len(client.allowed_origins), 'origin is', 'origins are')} allowed")]


async def script(client: Client, pool: Pool) -> list[Found]:
    """Whether pages have loaded the widget lately."""
    async with reading(pool) as conn:
        seen = await sightings.list_for_client(conn, client_id=client.id)
    ours = [each for each in seen if each.origin in client.allowed_origins]
    strangers = [each.origin for each in seen if each.origin not in client.allowed_origins]
    found = []
    recent = datetime.now(UTC) - timedelta(days=UNSEEN_DAYS)
    if not ours:
        found.append(worth("no page of this client has loaded the widget yet", "Put the script tag into its pages."))
    elif ours[0].seen_at < recent:
        says = f"no page has loaded the widget since {ours[0].seen_at:%Y-%m-%d}"
        found.append(worth(says, "Check that the script tag is still in the pages."))
    if strangers:
        says = f"pages of {', '.join(strangers[:3])} load the widget, which is not allowed there"
        advice = "Add the origin if it is theirs." if len(strangers) == 1 else "Add the origins that are theirs."
        found.append(worth(says, advice))
    return found or [fine(f"seen on {ours[0].origin} at {ours[0].seen_at:%Y-%m-%d %H:%M} UTC")]


async def model(client: Client, registry: Registry) -> list[Found]:
    """Whether the model that it chose would answer."""
    config, ignored = read_model(client.model_config)
    if ignored:
        says = "makes no sense and is ignored" if len(ignored) == 1 else "make no sense and are ignored"
        return [wrong(f"the model's {', '.join(ignored)} {says}", "Set it anew.")]
    try:
        registry.check(config, at="model")
    except Invalid as error:
        return [wrong(f"{error.message}; the default answers instead", "Choose a model that is configured.")]
    provider, name = registry.choose(config)
    problem = await provider.check()
    if problem is not None:
        return [wrong(f"{provider.name}: {problem}", "Choose another model, or put this one right.")]
    return [fine(f"{name} of {provider.name} answers")]


async def webhooks(client: Client, pool: Pool, egress: Egress) -> list[Found]:
    """Whether its tools' webhooks are set up, and their hosts (n8n) answer. No webhook is called."""
    async with reading(pool) as conn:
        tools = await client_tools.list_enabled(conn, client_id=client.id)
    found = []
    urls: dict[str, str] = {}
    for tool in tools:
        url = tool.n8n_webhook_url or webhook_url(client.webhook_base_url, tool.tool_name)
        if url is None:
            says = f"the tool {tool.tool_name} has no webhook and the client no base URL"
            found.append(wrong(says, "Give the client the base URL of its n8n, or the tool a webhook."))
        elif tool.signing_secret is None:
            says = f"the tool {tool.tool_name} has no signing secret, and is not called without"
            found.append(wrong(says, "Rotate its secret, and put the new one into the workflow."))
        else:
            urls.setdefault(_root(url), tool.tool_name)
    if client.webhook_base_url is not None:
        urls.setdefault(_root(client.webhook_base_url), "webhook_base_url")
    answers = await asyncio.gather(*(_host(egress, root, what) for root, what in urls.items()))
    found += [each for each in answers if each is not None]
    if not tools and client.webhook_base_url is None:
        return [fine("no tools are enabled")]
    return found or [fine(f"{', '.join(sorted(urls))} answer{'s' if len(urls) == 1 else ''}")]


async def systems(client: Client, pool: Pool) -> list[Found]:
    """What the last test of each connection said."""
    async with reading(pool) as conn:
        rows = [row for row in await integrations.list_for_client(conn, client_id=client.id) if row.enabled]
        offered = await endpoints.list_offered(conn, client_id=client.id)
    found = []
    for row in rows:
        name = f"integration {row.id} ({row.integration_type})"
        result = row.last_test_result
        if result is None:
            found.append(worth(f"{name} was never tested", "Test it."))
        elif not result.get("ok"):
            advice = str(result.get("advice") or "Test it again.")
            found.append(wrong(f"{name}: {result.get('message', 'its last test failed')}", advice))
    if not rows:
        return [fine("no integrations are enabled")]
    passed = counted(len(rows), "connection passed its", "connections passed their")
    return found or [fine(f"{passed} last test, with {counted(len(offered), 'endpoint', 'endpoints')}")]


async def calls(client: Client, pool: Pool) -> list[Found]:
    """Whether tools worked for visitors in the last day."""
    now = datetime.now(UTC)
    async with reading(pool) as conn:
        rows = await tool_usage.top(
            conn, client_id=client.id, start=now - timedelta(days=1), end=now + timedelta(days=1), limit=50
        )
    found = []
    for row in rows:
        ended = row.succeeded + row.failed
        if ended >= CALLS_LEAST and row.failed > FAILING * ended:
            says = f"the tool {row.tool_name} failed in {row.failed} of {ended} calls of the last day"
            found.append(wrong(says, "Make a test call: it shows what comes back."))
    made = counted(sum(row.calls for row in rows), "call of a tool", "calls of tools")
    return found or [fine(f"{made} in the last day")]


async def _host(egress: Egress, root: str, what: str) -> Found | None:
    """None when it answers anything at all."""
    try:
        await egress.request("GET", root, timeout_s=HOST_S)
    except EgressError as error:
        if error.kind == "too_large":
            return None
        return wrong(f"{root} (of {what}): {error.message}", _ADVICE[error.kind])
    return None


def _root(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/"
