"""Child processes of the embedded services: start and stop them, clear away what an earlier run left."""

import hashlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from server.errors import SettingsError, Unavailable

START_SECONDS = 60.0  # PostgreSQL after a crash replays its log first, which takes a while on a slow disk
STOP_SECONDS = 10.0

# A Unix socket's whole path: 104 bytes on macOS, 108 on Linux, the closing zero included.
_SOCKET_PATH_BYTES = 103


def private(path: str, flags: int) -> int:
    """An `opener` for files of this user alone: logs may show visitors' data, nobody else may hold our locks."""
    return os.open(path, flags, 0o600)


def start(
    name: str, command: list[str], log: Path, ready: Callable[[int], bool], *, user: str | None = None
) -> subprocess.Popen[bytes]:
    """Starts a server and waits until `ready(pid)`. Its output goes to `log`, which is begun anew.

    The environment is empty: PGPORT, PGOPTIONS and their kind are meant for other servers. With `user`, it runs as
    that system user. Raises Unavailable with the last lines of the log.
    """
    with open(log, "wb", opener=private) as output:
        child = subprocess.Popen(  # noqa: S603 - the command is ours
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            env={"PATH": os.defpath},
            user=user,
            group=None if user is None else _group(user),
            extra_groups=None if user is None else [],
        )
    deadline = time.monotonic() + START_SECONDS
    while child.poll() is None:
        if ready(child.pid):
            return child
        if time.monotonic() > deadline:
            stop(child, signal.SIGKILL)
            raise Unavailable(name, f"{name} did not come up within {START_SECONDS:.0f} s, see {log}: {tail(log)}")
        time.sleep(0.01)
    raise Unavailable(name, f"{name} did not start (exit code {child.returncode}), see {log}: {tail(log)}")


def _group(user: str) -> int:
    import pwd

    return pwd.getpwnam(user).pw_gid


def stop(child: subprocess.Popen[bytes], *signals: signal.Signals) -> None:
    """Sends the signals one after the other, each with its time to work, then SIGKILL. Returns when it has ended."""
    for number in (*signals, signal.SIGKILL):
        if child.poll() is not None:
            return
        child.send_signal(number)
        try:
            child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            continue


def end_leftover(pid_file: Path, program: str, place: Path, number: signal.Signals) -> None:
    """Ends the server that a killed supervisor left running, so that it is not started twice on the same files.

    After a restart of the machine the number in `pid_file` may belong to anybody, so the process must also be called
    `program` and have `place` in its command line. The file is removed.
    """
    import psutil

    try:
        process = psutil.Process(int(pid_file.read_text().split()[0]))
        if process.name().startswith(program) and str(place) in " ".join(process.cmdline()):
            process.send_signal(number)
            deadline = time.monotonic() + STOP_SECONDS
            # A zombie has ended. A container whose first process is no init never collects it.
            while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                if time.monotonic() > deadline:
                    process.kill()
                time.sleep(0.01)
    except (FileNotFoundError, ValueError, IndexError, psutil.NoSuchProcess):
        pass  # no file, half a file, or nobody there: the aim is reached
    pid_file.unlink(missing_ok=True)


def tail(log: Path, lines: int = 3) -> str:
    """The last lines of a log, joined to one."""
    text = log.read_text(errors="replace").strip().splitlines()[-lines:]
    return " | ".join(line.strip() for line in text) or "its log is empty"


def socket_directory(wished: Path, socket_name: str, owner: int) -> Path:
    """Where the socket goes: `wished`, or, where the path would be too long for a socket, a short one in /tmp.

    The short one is the same for the same `wished`. It belongs to the user id `owner` and nobody else may enter; one
    that somebody else has put there is refused.
    """
    if len(os.fsencode(wished / socket_name)) <= _SOCKET_PATH_BYTES:
        return wished
    digest = hashlib.sha256(os.fsencode(wished)).hexdigest()[:16]
    short = Path("/tmp") / f"frontdesk-{owner}-{digest}"  # noqa: S108 - its owner and mode are checked below
    if not short.is_symlink() and not short.exists():
        short.mkdir(mode=0o700)
        if owner != os.geteuid():
            os.chown(short, owner, -1)
    facts = short.lstat()
    if facts.st_uid != owner or facts.st_mode & 0o170077 != 0o040000:
        raise SettingsError(f"{short} should be a directory of user id {owner} that nobody else may enter; remove it")
    return short


def remove_socket_directory(used: Path, wished: Path) -> None:
    """Removes the short directory, where there was one."""
    if used != wished:
        shutil.rmtree(used, ignore_errors=True)
