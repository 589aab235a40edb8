"""What a run has: the cores, the upstream, Frontdesk's world, and servers that start when a section needs them."""

import asyncio
import resource
import sys
import tempfile
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import uvloop

from bench.servers import Cores, Process, free_port, process
from bench.speakers import RelaySite, Site
from bench.world import Frontdesk, frontdesk_world, serving

OUTPUT = Path(__file__).parent / "output"
T = TypeVar("T")


class Rig:
    """One run. `upstream` is the model's port on this machine; a `quick` run is there to see that all of it works."""

    def __init__(
        self,
        cores: Cores,
        model: Process,
        frontdesk: Frontdesk,
        runner: asyncio.Runner,
        *,
        quick: bool = False,
        peers: bool = False,
    ) -> None:
        self.cores = cores
        self.model = model
        self.upstream = model.port
        self.frontdesk = frontdesk
        self.output = OUTPUT
        self.quick = quick
        self.peers = peers
        self.rounds = 2 if quick else 7
        self._runner = runner

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """On the run's own loop, which lives as long as it."""
        return self._runner.run(work)

    def say(self, text: str) -> None:
        """Progress, for whoever waits."""
        print(text, file=sys.stderr, flush=True)

    @contextmanager
    def serving(self, *, name: str = "frontdesk", environ: Mapping[str, str] | None = None) -> Iterator[Process]:
        """`frontdesk serve` on the server's core; `environ` goes over the world's own, `name` is its log's."""
        log = self.output / f"{name}.log"
        with serving(self.frontdesk, cores=self.cores, log=log, environ=environ or {}) as running:
            yield running

    @contextmanager
    def relay(self, module: str = "bench.relay") -> Iterator[Site]:
        """One of the bare relays on the server's core."""
        port, environ = (
            free_port(),
            {"OPENAI_BASE_URL": f"http://127.0.0.1:{self.upstream}/v1", "OPENAI_API_KEY": "bench"},
        )
        command, log = [sys.executable, "-m", module, str(port)], self.output / f"{module}.log"
        with process(module, command, port, cores=self.cores.server, log=log, environ=environ) as running:
            yield RelaySite(running)


@contextmanager
def open_rig(cores: Cores, *, quick: bool = False, peers: bool = False) -> Iterator[Rig]:
    """Everything but the servers that are measured, which get `cores.server`; for a measurement this process leaves it
    to them. With `peers`, sections that know them measure them as well."""
    OUTPUT.mkdir(exist_ok=True)
    # Each open socket is a file on both sides.
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    upstream = free_port()
    model = [sys.executable, "-m", "bench.upstream", str(upstream)]
    with (
        tempfile.TemporaryDirectory(prefix="data-", dir=OUTPUT) as data,
        process("upstream", model, upstream, cores=cores.others, log=OUTPUT / "upstream.log", environ={}) as running,
        frontdesk_world(Path(data), upstream) as frontdesk,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        yield Rig(cores, running, frontdesk, runner, quick=quick, peers=peers)
