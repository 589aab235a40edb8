"""`frontdesk dev` with several instances, stopped as a terminal and as a supervisor stop it."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import psutil
from websockets.sync.client import connect
from websockets.typing import Origin

PATIENCE_S = 60.0


def _ready(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        assert process.poll() is None, log.read_text()
        try:
            with urlopen(f"http://127.0.0.1:{port}/readyz") as answer:
                assert answer.status == 200
                return
        except (URLError, ConnectionError):
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _instances(process: "subprocess.Popen[bytes]") -> list[psutil.Process]:
    """The servers among its children, oldest first; multiprocessing has a helper, and the databases are no Python."""
    children = psutil.Process(process.pid).children()
    return sorted(
        (each for each in children if "spawn_main" in " ".join(_command(each))), key=psutil.Process.create_time
    )


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []  # it has just ended


def _lives(process: psutil.Process) -> bool:
    """A zombie does not."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _public_key(port: int) -> str:
    """A demo shop's, as its page has it."""
    with urlopen(f"http://127.0.0.1:{port}/demo/bakery/") as page:
        found = re.search(r"pk_[A-Za-z0-9_-]+", page.read().decode())
    assert found is not None
    return found[0]


@contextmanager
def _dev(environment: dict[str, str | None], directory: Path) -> Iterator[tuple["subprocess.Popen[bytes]", int, Path]]:
    """`frontdesk dev --instances 2`, ready: the process, its port, its log."""
    kept = {name: value for name, value in os.environ.items() if name not in environment}
    log, port = directory / "log", _free_port()
    command = ["dev", "--instances", "2", "--port", str(port), "--data-dir", str(directory / "data")]
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [sys.executable, "-c", "from server.cli import main; main()", *command],
            env={**kept, "PYTHONPATH": str(Path(__file__).parents[2])},
            stdout=sink,
            stderr=sink,
            start_new_session=True,
        )
    try:
        _ready(port, process, log)
        _both_there(log)
        yield process, port, log
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _both_there(log: Path, starts: int = 2) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while log.read_text().count("instance ready") < starts:
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.02)


def _served_by(port: int, public_key: str) -> str:
    """Says hello through the balancer and has the socket's welcome: which proves that an instance is behind it."""
    with connect(f"ws://127.0.0.1:{port}/api/v1/ws", origin=Origin(f"http://localhost:{port}"), proxy=None) as tab:
        tab.send(json.dumps({"type": "hello", "v": 1, "key": public_key}))
        kind: str = json.loads(tab.recv(PATIENCE_S))["type"]
        return kind


def test_all_instances_end_together(environment: dict[str, str | None], tmp_path: Path) -> None:
    """Ctrl-C reaches every process at once, and SIGTERM only the first: each is told once, and the exit code is 0."""
    for whole_group in (True, False):
        with _dev(environment, tmp_path) as (process, _, log):
            instances = _instances(process)
            assert len(instances) == 2
            began = time.monotonic()
            if whole_group:
                os.killpg(process.pid, signal.SIGINT)
            else:
                process.terminate()
            assert process.wait(PATIENCE_S) == 0, log.read_text()
            assert time.monotonic() - began < 10
            assert not any(_lives(each) for each in instances)
            said = log.read_text()
            assert said.count("drained") == 2 and "Traceback" not in said, said


def test_the_port_survives_its_instances(environment: dict[str, str | None], tmp_path: Path) -> None:
    """Killed one by one, they are started again, and whoever comes meanwhile is served by the other."""
    with _dev(environment, tmp_path) as (process, port, log):
        key = _public_key(port)
        for killed in range(2):
            first, *_ = _instances(process)
            first.kill()
            for _ in range(6):
                assert _served_by(port, key) == "welcome"
            _both_there(log, starts=3 + killed)
        process.terminate()
        assert process.wait(PATIENCE_S) == 0, log.read_text()
