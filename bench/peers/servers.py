"""The peers as people would run them in production: one worker, no debug, no access log, nothing sent home.

Where a product leaves a choice it has the cheaper one: no login, no database, nothing compressed. LiteLLM leaves none
about its master key: without one it does not start.
"""

import os
import secrets
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

from bench.direct import StreamSite
from bench.peers.chat import ChatSite
from bench.rig import Rig
from bench.servers import Process, free_port, process
from bench.speakers import Site

CHAINLIT, LITELLM = "Chainlit", "LiteLLM"
_HERE = Path(__file__).parent
# An environment for each, as they exclude each other: Chainlit 2.12 wants mcp below 2, LiteLLM 1.106 wants mcp 2.
_ENVIRONMENTS = _HERE.parents[1] / ".venv-peers"
_VERSION = "import importlib.metadata, sys; print(importlib.metadata.version(sys.argv[1]))"
# Seconds that a kept connection to LiteLLM may say nothing: uvicorn's 5 are less than a measurement's breaks.
_KEEP_ALIVE_S = 600


def installed() -> dict[str, str]:
    """The version of each peer, by its name. Raises RuntimeError when they are not installed."""
    return {name: _version(name.lower()) for name in (CHAINLIT, LITELLM)}


def _version(package: str) -> str:
    command = [_program(package, "python"), "-I", "-c", _VERSION, package]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()


@contextmanager
def chainlit(rig: Rig) -> Iterator[Site]:
    """`chainlit run` with `chainlit_app.py`. Its log level is `error` by itself."""
    port, home = free_port(), rig.output / "chainlit"
    command = [_program("chainlit", "chainlit"), "run", str(_HERE / "chainlit_app.py"), "--headless"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    # What Chainlit writes at its start (settings, translations, a welcome) goes where it says APP_ROOT is.
    with _peer(rig, CHAINLIT, command, port, home, {"CHAINLIT_APP_ROOT": str(home)}) as running:
        yield ChatSite(running)


@contextmanager
def litellm(rig: Rig) -> Iterator[Site]:
    """`litellm` with `litellm.yaml`, on uvicorn and uvloop, as it runs by itself."""
    port, home = free_port(), rig.output / "litellm"
    command = [_program("litellm", "litellm"), "--config", str(_HERE / "litellm.yaml")]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    command += ["--num_workers", "1", "--keepalive_timeout", str(_KEEP_ALIVE_S)]
    key = f"sk-{secrets.token_hex(32)}"
    environ = {
        "LITELLM_MASTER_KEY": key,
        "LITELLM_MODE": "PRODUCTION",
        "LITELLM_LOG": "ERROR",
        # Prices come with the package; without this they are fetched from the network at each start.
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    }
    with _peer(rig, LITELLM, command, port, home, environ) as running:
        yield StreamSite(running, api_key=key)


@contextmanager
def _peer(
    rig: Rig, name: str, command: list[str], port: int, home: Path, environ: Mapping[str, str]
) -> Iterator[Process]:
    home.mkdir(exist_ok=True)
    model = {"OPENAI_BASE_URL": f"http://127.0.0.1:{rig.upstream}/v1", "OPENAI_API_KEY": "bench"}
    whole = alone(command, {"HOME": str(home), **model, **environ})
    log = rig.output / f"{name}.log"
    with process(name, whole, port, cores=rig.cores.server, log=log, environ={}) as running:
        if helpers := psutil.Process(running.pid).children(recursive=True):
            raise RuntimeError(f"{name} works in {len(helpers)} more processes, whose CPU would not be counted")
        yield running


def alone(command: list[str], environ: Mapping[str, str]) -> list[str]:
    """The same command with these variables and a PATH only. Both products read a DATABASE_URL, an OPENAI_API_KEY and
    more from the shell, and would keep conversations in Frontdesk's database."""
    return ["env", "-i", f"PATH={os.defpath}", *(f"{key}={value}" for key, value in environ.items()), *command]


def _program(environment: str, name: str) -> str:
    program = _ENVIRONMENTS / environment / "bin" / name
    if not program.exists():
        raise RuntimeError(f"{program} is not there: `make bench-peers` installs the peers into .venv-peers/")
    return str(program)
