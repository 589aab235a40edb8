"""`frontdesk dev` with several instances, stopped as a terminal and as a supervisor stop it."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import psutil
import pytest

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


def _two_free_ports() -> int:
    """A port that nobody uses, nor the one after it."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return port


def _lives(process: psutil.Process) -> bool:
    """A zombie does not."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_all_instances_end_together(environment: dict[str, str | None], tmp_path: Path) -> None:
    """Ctrl-C reaches every process at once, and SIGTERM only the first: each is told once, and the exit code is 0."""
    kept = {name: value for name, value in os.environ.items() if name not in environment}
    log = tmp_path / "log"
    for whole_group in (True, False):
        port = _two_free_ports()
        command = ["dev", "--instances", "2", "--port", str(port), "--data-dir", str(tmp_path / "data")]
        with log.open("wb") as sink:
            process = subprocess.Popen(
                [sys.executable, "-c", "from server.cli import main; main()", *command],
                env={**kept, "PYTHONPATH": str(Path(__file__).parents[2])},
                stdout=sink,
                stderr=sink,
                start_new_session=True,
            )
        try:
            for each in (port, port + 1):
                _ready(each, process, log)
            instances = psutil.Process(process.pid).children(recursive=True)
            began = time.monotonic()
            if whole_group:
                os.killpg(process.pid, signal.SIGINT)
            else:
                process.terminate()
            assert process.wait(PATIENCE_S) == 0, log.read_text()
            assert time.monotonic() - began < 10
            # The helper of multiprocessing follows its parent's end.
            while any(_lives(each) for each in instances):
                assert time.monotonic() - began < 10, instances
                time.sleep(0.01)
            said = log.read_text()
            assert said.count("drained") == 2 and "Traceback" not in said, said
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                pytest.fail(log.read_text())
