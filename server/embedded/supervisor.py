"""The process that owns the embedded services of one data directory: `python -m server.embedded.supervisor`.

Every program that uses the services holds a shared lock on `users.lock` for as long as it runs. The supervisor waits
for the exclusive lock, which the kernel grants when the last user has gone, whether it returned, was interrupted or was
killed: then it stops the services and ends. It keeps that lock until they have stopped, so a newcomer waits instead of
getting an address of something that is going away. The file `services.json`, locked by the supervisor while it lives,
holds the addresses; it is empty while nothing can be reached.

The supervisor has a session of its own, so Ctrl-C in a terminal reaches the programs first and the services last.
"""

import fcntl
import json
import os
import shutil
import signal
import sys
import threading
from pathlib import Path

import click

from server import log
from server.embedded.postgres import Postgres
from server.embedded.redis import Redis
from server.errors import FrontdeskError, Unavailable

logger = log.get("embedded")


@click.command()
@click.argument("data_dir", type=click.Path(path_type=Path))
@click.argument("names", nargs=-1)
@click.option("--durable/--fleeting", default=True)
def main(data_dir: Path, names: tuple[str, ...], durable: bool) -> None:
    """Runs the services NAMES of DATA_DIR until their last user has gone. One line of JSON says how it went."""
    if os.fork():  # the caller waits for this process; its child is nobody's, so it leaves no zombie
        os._exit(0)
    log.configure("INFO", "text")
    # Never closed: the kernel unlocks them when this process is truly gone.
    state = os.open(data_dir / "services.json", os.O_RDWR | os.O_CREAT, 0o600)
    users = os.open(data_dir / "users.lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(state, fcntl.LOCK_EX)  # an earlier supervisor may still be stopping
    supervise(data_dir, names, durable, state, users)


def supervise(data_dir: Path, names: tuple[str, ...], durable: bool, state: int, users: int) -> None:
    """Starts the services and stops them when they are not used, one of them ends, or a signal asks for it.

    `state` and `users` are file descriptors of `services.json`, locked, and of `users.lock`.
    """
    enough = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda _number, _frame: enough.set())
    running: list[Postgres | Redis] = []
    if not durable and (data_dir / "postgres").exists():
        _report({"error": f"{data_dir} holds data already; durable=False is for a new directory", "dependency": None})
        return
    try:
        urls, notes = _start(data_dir, names, durable, running)
        _write(state, json.dumps(urls))
        _report({"urls": urls, "notes": notes})
        for service in running:
            _when_it_ends(service, enough)
        threading.Thread(target=_when_unused, args=(users, enough), daemon=True).start()
        enough.wait()
    except FrontdeskError as error:
        _report({"error": error.message, "dependency": error.dependency if isinstance(error, Unavailable) else None})
    except OSError as error:
        _report({"error": f"{data_dir}: {error}", "dependency": None})
    finally:
        _write(state, "")
        for service in reversed(running):
            service.stop()
        if not durable:
            _remove(data_dir, running)


def _start(
    data_dir: Path, names: tuple[str, ...], durable: bool, running: list[Postgres | Redis]
) -> tuple[dict[str, str], list[str]]:
    """Starts the services, puts them into `running` before they run, and gives their URLs by name and the notes."""
    urls: dict[str, str] = {}
    notes: list[str] = []
    for name in names:
        service = Postgres(data_dir / name, durable=durable) if name == "postgres" else Redis(data_dir / name)
        running.append(service)
        urls[name] = service.start()
        if isinstance(service, Postgres):
            notes += service.notes
    return urls, notes


def _when_it_ends(service: Postgres | Redis, enough: threading.Event) -> None:
    child = service.child
    assert child is not None

    def wait() -> None:
        code = child.wait()
        if not enough.is_set():
            logger.error("service ended by itself", service=type(service).__name__, exit_code=code)
        enough.set()

    threading.Thread(target=wait, daemon=True).start()


def _when_unused(users: int, enough: threading.Event) -> None:
    fcntl.flock(users, fcntl.LOCK_EX)
    enough.set()


def _remove(data_dir: Path, running: list[Postgres | Redis]) -> None:
    """Moves the directory away first: a newcomer makes its own at once and never meets a half-deleted one."""
    for service in running:
        if isinstance(service, Postgres):
            service.remove()
    away = data_dir.with_name(f"{data_dir.name}.{os.getpid()}")
    data_dir.rename(away)
    shutil.rmtree(away)


def _write(state: int, text: str) -> None:
    os.ftruncate(state, 0)
    os.pwrite(state, text.encode(), 0)


def _report(message: dict[str, object]) -> None:
    """Tells the program that started us, which reads up to the end of the line, and lets it go."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.close(nothing)


if __name__ == "__main__":
    main()
