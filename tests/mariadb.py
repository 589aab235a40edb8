"""The real MariaDB of the tests of clients' databases: finds one, gets one where there is none, starts it.

    python -m tests.mariadb --ensure

An installed MariaDB server, else Debian's package `mariadb-server-core`: installed (as root), or unpacked below
~/.cache (as anybody else). It starts in a third of a second, so each worker of a run has its own.
"""

import argparse
import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

_NAMES = ("mariadbd", "mysqld")
# Servers are often not in the PATH of people.
_PLACES = ("/usr/sbin", "/usr/local/sbin", "/usr/libexec", "/opt/homebrew/bin", "/usr/local/bin")
_PACKAGE = "mariadb-server-core"
_PACKAGE_SECONDS = 240
_START_SECONDS = 60

HOW = """\
The tests of clients' databases need a MariaDB server, and none was found or could be installed. One of these gives one:
    apt-get install --no-install-recommends mariadb-server-core      (Debian, Ubuntu, as root)
    brew install mariadb                                             (macOS)
    MARIADBD=/path/to/mariadbd make test                             (one that you have)"""


class NoMariaDbError(RuntimeError):
    """There is none; the message says how to get one."""


@dataclass(frozen=True, slots=True)
class Installation:
    program: Path
    scripts: Path
    """The directory with the SQL that makes the system tables."""
    libraries: tuple[Path, ...] = ()
    """Where the program finds libraries that are unpacked with it."""

    def command(self, *arguments: str) -> list[str]:
        path = ":".join(map(str, self.libraries))
        return [*(("env", f"LD_LIBRARY_PATH={path}") if path else ()), str(self.program), *arguments]


def find_mariadb() -> Installation:
    """$MARIADBD, an installed one, or the one unpacked before. Raises NoMariaDbError."""
    wished = os.environ.get("MARIADBD")
    if wished:
        if found := _installation(Path(wished)):
            return found
        raise NoMariaDbError(f"MARIADBD is {wished}, which is not a MariaDB server that can be run")
    path = os.pathsep.join((os.environ.get("PATH", ""), *_PLACES))
    for name in _NAMES:
        if (program := shutil.which(name, path=path)) and (found := _installation(Path(program).resolve())):
            return found
    if found := _installation(_unpacked() / "usr" / "sbin" / "mariadbd"):
        return found
    raise NoMariaDbError(HOW)


def ensure_mariadb() -> Installation:
    """`find_mariadb`, after trying to install one if need be."""
    try:
        return find_mariadb()
    except NoMariaDbError:
        if os.environ.get("MARIADBD") or shutil.which("apt-get") is None:
            raise
    if os.geteuid() == 0:
        if _run("apt-get", "update", "--quiet"):
            _run("apt-get", "install", "--yes", "--quiet", "--no-install-recommends", _PACKAGE)
    else:
        _unpack()
    return find_mariadb()


def _installation(program: Path) -> Installation | None:
    root = program.parent.parent
    libraries = tuple(sorted({file.parent for file in _unpacked().glob("**/*.so.*")})) if _is_unpacked(program) else ()
    for scripts in (root / "share" / "mysql", root / "share" / "mariadb", root / "share"):
        if os.access(program, os.X_OK) and list(scripts.glob("m*_system_tables.sql")):
            found = Installation(program, scripts, libraries)
            version = subprocess.run(found.command("--version"), capture_output=True, text=True, check=False)
            return found if "MariaDB" in version.stdout else None
    return None


def _unpacked() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "frontdesk" / "mariadb"


def _is_unpacked(program: Path) -> bool:
    return program.is_relative_to(_unpacked())


def _unpack() -> None:
    """The package and what it needs that is not installed, without any right but to read apt's lists."""
    simulated = subprocess.run(
        ["apt-get", "install", "--simulate", "--no-install-recommends", _PACKAGE],
        capture_output=True,
        text=True,
        check=False,
    )
    packages = [line.split()[1] for line in simulated.stdout.splitlines() if line.startswith("Inst ")]
    target = _unpacked()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        archives, fresh = Path(scratch) / "archives", Path(scratch) / "root"
        archives.mkdir()
        if not packages or not _run("apt-get", "download", "--quiet", *packages, cwd=archives):
            return
        if all(_run("dpkg", "-x", str(archive), str(fresh)) for archive in sorted(archives.iterdir())):
            # A half-unpacked one never stands in its place.
            shutil.rmtree(target, ignore_errors=True)
            fresh.rename(target)


def _run(*command: str, cwd: Path | None = None) -> bool:
    """Runs it in sight of the user, its output on standard error. Says so and gives False if it fails."""
    print("$", shlex.join(command), file=sys.stderr, flush=True)
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            env=environment,
            timeout=_PACKAGE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        print(f"not done within {_PACKAGE_SECONDS} s", file=sys.stderr)
        return False
    return done.returncode == 0


# A server.

# Nothing is synced, files are small: the data die with it.
_SMALL = (
    "--innodb-buffer-pool-size=16M",
    "--innodb-log-file-size=4M",
    "--innodb-data-file-path=ibdata1:4M:autoextend",
    "--innodb-temp-data-file-path=ibtmp1:4M:autoextend",
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-flush-method=nosync",
    "--innodb-doublewrite=0",
    "--innodb-fast-shutdown=2",
    "--skip-name-resolve",
)
# Ends the server and its directory with us, however we end: our side of the pipe is then closed.
_TIED_TO_US = '"$@" & server=$!; read -r _; kill -KILL $server; wait $server; rm -rf -- "$0"'


@dataclass(frozen=True, slots=True)
class MariaDb:
    """A server on 127.0.0.1, where `root` needs no password."""

    port: int


@contextmanager
def running(directory: Path, *options: str) -> Iterator[MariaDb]:
    """A MariaDB with real users and grants. Its data in `directory` go with it. `options` are mariadbd's."""
    installation = find_mariadb()
    # A server that starts clears its directory of temporary files, so no two may share one.
    data, scratch = directory / "data", directory / "tmp"
    for each in (data, scratch):
        each.mkdir(parents=True)
    places = (f"--datadir={data}", f"--tmpdir={scratch}", f"--lc-messages-dir={installation.scripts}")
    common = ["--no-defaults", *places, *_SMALL, *options]
    if os.geteuid() == 0:
        common.append("--user=root")
    try:
        _make_system_tables(installation, common)
    except RuntimeError:
        shutil.rmtree(directory)
        raise
    port = _free_port()
    command = installation.command(
        *common,
        f"--socket={directory / 's'}",
        f"--pid-file={directory / 'pid'}",
        "--bind-address=127.0.0.1",
        f"--port={port}",
    )
    log = directory / "log"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            ["/bin/sh", "-c", _TIED_TO_US, str(directory), *command],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            start_new_session=True,
        ) as process,
    ):
        try:
            _wait_until_ready(port, log)
            yield MariaDb(port)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait()


def _make_system_tables(installation: Installation, options: Sequence[str]) -> None:
    scripts = [next(installation.scripts.glob(f"m*_{name}.sql")) for name in ("system_tables", "system_tables_data")]
    # The variable is what mariadb-install-db sets for accounts with passwords instead of Unix users.
    sql = "create database mysql;\nuse mysql;\nset @auth_root_socket=null;\n" + "".join(
        script.read_text() for script in scripts
    )
    done = subprocess.run(
        installation.command(*options, "--bootstrap"), input=sql, capture_output=True, text=True, check=False
    )
    if done.returncode != 0 or "ERROR" in done.stderr:
        raise RuntimeError(f"the system tables of MariaDB could not be made: {done.stderr[-2000:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(port: int, log: Path) -> None:
    """Until it greets, which it does first of all."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as probe:
            if probe.recv(1):
                return
        if "Aborting" in log.read_text(errors="replace"):
            break
        time.sleep(0.01)
    raise RuntimeError(f"MariaDB did not come up: {log.read_text(errors='replace')[-2000:]}")


@pytest.fixture(scope="session")
def mariadb(run_dir: Path, worker_id: str) -> Iterator[MariaDb]:
    """This worker's own MariaDB, without TLS."""
    with running(run_dir.with_name(f"{run_dir.name}-{worker_id}-mariadb")) as server:
        yield server


def main() -> int:
    parser = argparse.ArgumentParser(description="Prints the path of the MariaDB server that the tests use.")
    parser.add_argument("--ensure", action="store_true", help="install one if there is none")
    arguments = parser.parse_args()
    try:
        print((ensure_mariadb() if arguments.ensure else find_mariadb()).program)
    except NoMariaDbError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
