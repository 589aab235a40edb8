"""The user's side of the embedded services: attach to those of a data directory, starting them if they do not run."""

import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import server
from server import log
from server.embedded import process
from server.errors import SettingsError, Unavailable

_START_LOCK, _USERS_LOCK, _STATE = "start.lock", "users.lock", "services.json"


@dataclass(frozen=True, slots=True)
class Services:
    database_url: str
    """`postgresql://...`, a superuser of a database of its own, on a Unix socket."""
    redis_url: str
    """`unix://...`"""


@contextmanager
def services(data_dir: Path, *, durable: bool = True) -> Iterator[Services]:
    """The PostgreSQL and the Redis of `data_dir`, for as long as the block runs.

    With `durable=False` nothing is synced to disk and the whole directory is deleted with the last user: for tests.
    Blocks, about 2 s for the first user of a new directory; call it outside an event loop. Raises SettingsError (extra
    not installed, directory not usable) or Unavailable (a service did not come up; the message has the end of its log).
    """
    with _attached(data_dir, ("postgres", "redis"), durable) as urls:
        yield Services(urls["postgres"], urls["redis"])


@contextmanager
def redis_alone(data_dir: Path, *, durable: bool = True) -> Iterator[str]:
    """The URL of a Redis alone, in a directory of its own; otherwise as `services`."""
    with _attached(data_dir, ("redis",), durable) as urls:
        yield urls["redis"]


@contextmanager
def _attached(data_dir: Path, names: tuple[str, ...], durable: bool) -> Iterator[dict[str, str]]:
    data_dir = data_dir.resolve()
    with ExitStack() as stack:
        start, users = _enter(data_dir)
        stack.callback(_leave, data_dir, users)
        with start:
            urls = _running(data_dir) or _start(data_dir, names, durable)
        yield urls


def _enter(data_dir: Path) -> tuple[IO[str], IO[str]]:
    """Takes the lock that serialises starting and stopping, and the shared one that says "in use"."""
    while True:
        _make(data_dir)
        # Its last user may delete the directory while we wait for the locks in it; then we make a new one.
        with suppress(FileNotFoundError), ExitStack() as stack:
            start = stack.enter_context(_locked(data_dir / _START_LOCK, fcntl.LOCK_EX))
            users = stack.enter_context(_locked(data_dir / _USERS_LOCK, fcntl.LOCK_SH))
            if _still_there(data_dir / _START_LOCK, start) and _still_there(data_dir / _USERS_LOCK, users):
                stack.pop_all()
                return start, users


def _make(data_dir: Path) -> None:
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        if os.geteuid() == 0:
            # PostgreSQL runs as another user then, and must come through to its own directory below.
            data_dir.chmod(data_dir.stat().st_mode | 0o111)
        writable = os.access(data_dir, os.W_OK | os.X_OK)
    except OSError as error:
        raise SettingsError(f"the data directory {data_dir} cannot be used: {error.strerror}") from error
    if not writable:
        raise SettingsError(f"the data directory {data_dir} is not writable")


def _locked(path: Path, kind: int) -> IO[str]:
    file = open(path, "a", opener=process.private)  # noqa: SIM115 - Path.open takes no opener; the caller closes
    fcntl.flock(file, kind)
    return file


def _still_there(path: Path, file: IO[str]) -> bool:
    try:
        return path.stat().st_ino == os.fstat(file.fileno()).st_ino
    except FileNotFoundError:
        return False


def _running(data_dir: Path) -> dict[str, str] | None:
    """The URLs, where a supervisor lives and is not about to stop."""
    with suppress(FileNotFoundError), (data_dir / _STATE).open() as state:
        if _excluded(state, fcntl.LOCK_SH):
            urls: dict[str, str] = json.loads(state.read() or "{}")
            return urls or None
    return None


def _excluded(file: IO[str], kind: int) -> bool:
    """Whether somebody holds a lock that excludes one of this kind. Holds none itself afterwards."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(file, fcntl.LOCK_UN)
    return False


def _start(data_dir: Path, names: tuple[str, ...], durable: bool) -> dict[str, str]:
    """Starts the supervisor and waits for its one line, which says how the services fared."""
    command = [sys.executable, "-m", "server.embedded.supervisor", "--durable" if durable else "--fleeting"]
    with open(data_dir / "supervisor.log", "w", opener=process.private) as errors:
        child = subprocess.Popen(  # noqa: S603 - the command is ours
            [*command, str(data_dir), *names],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
            cwd=Path(server.__file__).parent.parent,
        )
    assert child.stdout is not None
    with child.stdout as answer:
        line = answer.readline()
    child.wait()
    if not line:
        raise Unavailable("embedded", f"the embedded services did not start, see {data_dir / 'supervisor.log'}")
    message = json.loads(line)
    if "error" in message:
        dependency = message["dependency"]
        raise Unavailable(dependency, message["error"]) if dependency else SettingsError(message["error"])
    for note in message["notes"]:
        log.get("embedded").warning(note)
    urls: dict[str, str] = message["urls"]
    return urls


def _leave(data_dir: Path, users: IO[str]) -> None:
    """Gives up our part, and, if it was the last one, returns when the services have stopped."""
    with users, ExitStack() as stack:
        try:
            # While this is ours, nobody can come in.
            stack.enter_context(_locked(data_dir / _START_LOCK, fcntl.LOCK_EX))
            state = stack.enter_context((data_dir / _STATE).open())
        except FileNotFoundError:
            return  # nothing was started, or somebody deleted the directory; then the supervisor stops unwatched
        # Our shared lock becomes free. Then: the exclusive one can be had: the supervisor is about to take it. Not even
        # a shared one can be had: it has taken it, and stops. Otherwise there are other users.
        fcntl.flock(users, fcntl.LOCK_UN)
        while _excluded(state, fcntl.LOCK_SH) and (
            not _excluded(users, fcntl.LOCK_EX) or _excluded(users, fcntl.LOCK_SH)
        ):
            time.sleep(0.01)
