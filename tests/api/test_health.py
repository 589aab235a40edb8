"""Health, readiness and figures over HTTP. Readiness without Postgres or Redis: `flows/test_outages.py`."""

from prometheus_client.parser import text_string_to_metric_families

from server.protocol.visitor import Error, MessageCompleted, Nack, Snapshot, TurnFailed
from tests.flows.support import Desk
from tests.flows.world import World
from tests.support import eventually
from tests.wire_servers import Failure, WireServer


async def test_alive_and_ready(world: World) -> None:
    """Both say so, and what was checked."""
    alive = await world.desk.http.get(f"{world.desk.url}/healthz")
    assert (alive.status_code, alive.json()) == (200, {"status": "ok"})
    ready = await world.desk.http.get(f"{world.desk.url}/readyz")
    assert ready.status_code == 200 and ready.headers["cache-control"] == "no-store"
    assert ready.json() == {"ready": True, "checks": {"postgres": {"ok": True}, "redis": {"ok": True}}}


Figures = dict[tuple[str, tuple[tuple[str, str], ...]], float]


async def figures(desk: Desk) -> Figures:
    """Every sample by name and labels."""
    response = await desk.http.get(f"{desk.url}/metrics")
    assert response.status_code == 200 and response.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def of(found: Figures, name: str, **labels: str) -> float:
    return found.get((f"frontdesk_{name}", tuple(sorted(labels.items()))), 0.0)


async def test_figures_count(desk: Desk, model: WireServer) -> None:
    """One good answer, one failed, one refused message, one bad frame, one unknown path: each is counted once."""
    shop = await desk.shop()
    before = await figures(desk)
    model.script(Failure(401))
    async with desk.visit(shop) as (tab, _):
        await tab.next(Snapshot)
        during = await figures(desk)
        assert of(during, "sockets") == of(before, "sockets") + 1
        await tab.say("Hello", cid="c1")
        await tab.next(TurnFailed)
        await tab.say("Hello again")
        await tab.next(MessageCompleted)
        await tab.raw('{"type":"message.send","cid":"c1","text":"Other"}')
        await tab.next(Nack)
        await tab.raw("nonsense")
        await tab.next(Error)
    await desk.http.get(f"{desk.url}/nope")

    async def closed() -> bool:
        return of(await figures(desk), "sockets") == of(before, "sockets")

    await eventually(closed, "the socket is counted as closed")
    after = await figures(desk)
    for name, labels, by in (
        ("messages_total", {"channel": "widget"}, 2),
        ("messages_refused_total", {"code": "cid_reused"}, 1),
        ("turns_total", {"status": "done"}, 1),
        ("turns_total", {"status": "failed"}, 1),
        ("bad_frames_total", {"code": "malformed"}, 1),
        ("first_token_seconds_count", {"provider": "openai"}, 1),
        ("http_requests_total", {"method": "GET", "route": "none", "status": "404"}, 1),
    ):
        assert of(after, name, **labels) - of(before, name, **labels) == by, name
    assert of(after, "turns_running") == 0


async def test_figures_name_nobody(world: World) -> None:
    """No label is anything that a visitor or a client chose: their number stays bounded, and nobody is told about."""
    for path in (
        "/nope-1",
        "/nope-2",
        f"/api/v1/sessions/{world.mine.id}/messages",
        f"/api/v1/config?key={world.shop.key}",
    ):
        await world.desk.http.get(world.desk.url + path, headers={"authorization": f"Bearer {world.mine.token}"})
    found = await figures(world.desk)
    values = {value for _, labels in found for _, value in labels}
    assert "/api/v1/sessions/{session_id}/messages" in values
    for private in (world.mine.id, world.mine.token, world.shop.key, world.mine.conversation_id, "nope"):
        assert not any(private in value for value in values)
