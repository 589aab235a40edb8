"""The processes of a measurement: each on its core, with a clock for its CPU and a scale for its memory."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import psutil

# Seconds for a server to come up. LiteLLM's proxy imports for 11 s of CPU.
_START_S = 120.0


class Cores(msgspec.Struct, frozen=True):
    """`server` runs what is measured and nothing else; everything else shares `others`."""

    server: set[int]
    others: set[int]


def split_cores() -> Cores:
    """The first core this process may use for the server. On a machine with one core they share it."""
    first, *others = sorted(os.sched_getaffinity(0))
    return Cores({first}, set(others) or {first})


class Process(msgspec.Struct, frozen=True):
    """A running server on `port` of this machine."""

    name: str
    pid: int
    port: int

    def cpu_s(self) -> float:
        """User and system time of all its threads so far, from the kernel's clock of that process (nanoseconds)."""
        return _clock(self.pid)

    def rss(self) -> int:
        """Bytes of memory it holds."""
        resident: int = psutil.Process(self.pid).memory_info().rss
        return resident


class Family(Process, frozen=True):
    """A program that works in children of its own, as PostgreSQL does."""

    def cpu_s(self) -> float:
        """User and system time of all of them so far, those that have ended included."""
        root = psutil.Process(self.pid)
        ended = root.cpu_times()
        running = [self.pid, *(child.pid for child in root.children(recursive=True))]
        return sum(map(_clock, running)) + ended.children_user + ended.children_system


def _clock(pid: int) -> float:
    # clock_getcpuclockid(3), which Python lacks: see linux/posix-timers.h.
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return 0.0  # it ended in between: its parent has its time


@contextmanager
def process(
    name: str, command: list[str], port: int, *, cores: set[int], log: Path, environ: Mapping[str, str]
) -> Iterator[Process]:
    """A program that serves `port`, on `cores`, for as long as the block runs."""
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        with log.open("wb") as output:
            child = subprocess.Popen(command, env={**os.environ, **environ}, stdout=output, stderr=output)
    finally:
        os.sched_setaffinity(0, mine)
    try:
        _wait(name, child, port, log)
        yield Process(name, child.pid, port)
    finally:
        child.terminate()
        child.wait()


def _wait(name: str, child: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while child.poll() is None and time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise RuntimeError(f"{name} did not come up; its log ends: {log.read_text(errors='replace')[-2000:]}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
