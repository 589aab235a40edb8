"""Asks instances how they are, again and again, as a balancer and an orchestrator do."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import msgspec

from tests.chaos.cluster import Cluster, Instance

# Seconds between two questions, and for an answer: both as a balancer has them.
EVERY_S = 0.5
PATIENCE_S = 5.0


class Pulse(msgspec.Struct, frozen=True):
    """What one instance said: HTTP status codes, 0 where nothing came."""

    at: float
    instance: str
    alive: int
    ready: int


class Health:
    """All that was said. Times are the loop's clock, of the question."""

    def __init__(self) -> None:
        self.pulses: list[Pulse] = []

    def between(self, since: float, until: float) -> list[Pulse]:
        return [pulse for pulse in self.pulses if since <= pulse.at < until]

    async def watch(self, instance: Instance, http: httpx.AsyncClient) -> None:
        """For as long as it runs."""
        while True:
            if instance.running:
                at = asyncio.get_running_loop().time()
                alive, ready = await asyncio.gather(
                    _status(http, f"{instance.url}/healthz"), _status(http, f"{instance.url}/readyz")
                )
                self.pulses.append(Pulse(at, instance.name, alive, ready))
            await asyncio.sleep(EVERY_S)


async def _status(http: httpx.AsyncClient, url: str) -> int:
    try:
        return (await http.get(url)).status_code
    except httpx.TransportError:
        return 0


@asynccontextmanager
async def watched(cluster: Cluster) -> AsyncIterator[Health]:
    """Every instance that the cluster has now."""
    health = Health()
    async with httpx.AsyncClient(timeout=PATIENCE_S, trust_env=False) as http:
        tasks = [
            asyncio.create_task(health.watch(each, http), name=f"health {each.name}") for each in cluster.instances
        ]
        try:
            yield health
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
