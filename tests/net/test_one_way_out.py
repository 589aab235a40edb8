"""Nothing but `server/net` and the model providers opens a connection to somewhere else.

Every module of `server/` is parsed. What could reach the network is found by name, wherever it is used, and has to
stand in `ALLOWED` with a reason. A new one fails here: call `Egress` instead, or argue for a line.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]

# Modules that connect, or that bring a client that does; whatever is below them counts as well.
MODULES: Final = frozenset(
    {
        "aiodns", "aiohttp", "aiomysql", "aiosmtplib", "anthropic", "anyio", "asyncmy", "asyncpg", "asyncssh", "boto3",
        "botocore", "dns", "elasticsearch", "ftplib", "google", "grpc", "http.client", "httplib2", "httpcore",
        "httpcore2", "httpx", "httpx2", "httpx_aiohttp", "imaplib", "jsonschema_rs", "mysql", "MySQLdb", "nntplib",
        "ollama", "openai", "paramiko", "poplib", "psycopg2", "pycares", "pycurl", "pymysql", "pyodbc", "requests",
        "smtplib", "socket", "socketserver", "sqlalchemy", "subprocess", "telnetlib", "tornado", "treq", "trio",
        "twisted", "urllib.request", "urllib3", "webbrowser", "websocket", "websockets", "xmlrpc", "zmq",
    }
)  # fmt: skip
# Functions and methods that connect or look a name up, of whatever object: asyncio's, a loop's, a driver's.
NAMES: Final = frozenset(
    {
        "AsyncConnectionPool", "ConnectionPool", "BlockingConnectionPool", "connect", "connect_ex", "connect_tcp",
        "create_connection", "create_datagram_endpoint", "create_pool", "create_unix_connection", "from_url",
        "getaddrinfo", "gethostbyaddr", "gethostbyname", "getnameinfo", "open_connection", "open_unix_connection",
        "sendmsg", "sendto", "sock_connect", "sock_sendto", "start_tls", "urlopen", "urlretrieve",
    }
)  # fmt: skip
# Ways around both: a module by its name as text, code as text, and another program.
AROUND: Final = frozenset(
    {"import_module", "create_subprocess_exec", "create_subprocess_shell", "subprocess_exec", "subprocess_shell"}
)
BUILTINS: Final = frozenset({"__import__", "eval", "exec"})
OF_OS: Final = frozenset({"execv", "execve", "execvp", "popen", "posix_spawn", "posix_spawnp", "spawnv", "system"})

# (file or folder, what, why it is right there).
ALLOWED: Final = (
    ("server/net/egress.py", "import aiohttp", "the one way out"),
    ("server/net/session.py", "import aiohttp", "the session of the one way out"),
    ("server/net/session.py", "import socket", "makes the checked sockets of the one way out"),
    ("server/net/resolver.py", "import socket", "looks names up for the one way out"),
    ("server/net/resolver.py", "getaddrinfo", "looks names up for the one way out"),
    ("server/llm/", "import aiohttp", "providers' addresses come from the deployment, never from a row or a request"),
    ("server/llm/", "import httpx", "Ollama's client speaks it"),
    ("server/llm/", "import httpx2", "the clients of OpenAI and Anthropic speak it"),
    ("server/llm/", "import httpx_aiohttp", "the transport of the official clients"),
    ("server/llm/", "import urllib.request", "reads proxies from the environment; opens nothing"),
    ("server/llm/", "import openai", "a provider"),
    ("server/llm/", "import anthropic", "a provider"),
    ("server/llm/", "import ollama", "a provider"),
    ("server/repositories/pool.py", "AsyncConnectionPool", "the deployment's own database"),
    ("server/repositories/pool.py", "connect", "the deployment's own database"),
    ("server/repositories/presence.py", "connect", "the deployment's own database, beside the pool"),
    ("server/protocol/emit.py", "import_module", "the nouns of its own package, when types are generated"),
    ("server/repositories/migrations.py", "connect", "the deployment's own database"),
    ("server/tools/sql/databases.py", "connect", "a client's database, at the address that Egress.resolve pinned"),
    ("server/tools/sql/postgres.py", "connect", "the same, of Postgres"),
    ("server/tools/sql/mysql.py", "import aiomysql", "the same, of MySQL"),
    ("server/tools/sql/mysql.py", "import pymysql", "constants and errors of the driver"),
    ("server/tools/sql/meter.py", "import socket", "reads counters of a connection that stands; opens none"),
    ("server/services.py", "BlockingConnectionPool", "the deployment's own Redis"),
    ("server/services.py", "from_url", "the deployment's own Redis"),
    ("server/fanout/bus.py", "connect", "the deployment's own Redis"),
    (
        "server/tools/arguments/schema.py",
        "import jsonschema_rs",
        "checks arguments; a $ref to elsewhere is refused, not fetched",
    ),
    ("server/tools/arguments/problems.py", "import jsonschema_rs", "words the errors of the same"),
    ("server/cli/run.py", "import socket", "tries whether the port to listen on is free"),
    ("server/cli/instances.py", "import socket", "the sockets that the instances of `frontdesk dev` listen on"),
    ("server/cli/balancer.py", "create_connection", "to the instances of `frontdesk dev`, on this machine's own ports"),
    ("server/cli/balancer.py", "open_connection", "asks the same whether they are ready"),
    ("server/ws/transport.py", "import socket", "sets options of connections that were accepted; opens none"),
    ("server/ws/transport.py", "import websockets", "the server's half of the protocol, below uvicorn"),
    ("server/embedded/", "import subprocess", "starts the Postgres and Redis of `frontdesk dev`"),
    ("server/embedded/redis.py", "import socket", "asks the Redis of `frontdesk dev` on its Unix socket"),
    ("server/embedded/redis.py", "connect", "asks the Redis of `frontdesk dev` on its Unix socket"),
    ("server/embedded/postgres.py", "connect", "sets up the Postgres of `frontdesk dev` on its Unix socket"),
)


def ways_out(source: str) -> set[str]:
    """What of a module could reach the network: "import aiohttp", "open_connection"."""
    return set(_ways(ast.parse(source)))


def _ways(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                for alias in names:
                    yield from _module(alias.name)
            case ast.ImportFrom(module=str(module), names=names, level=0) if not _is_ours(module):
                yield from _module(module)
                for alias in names:
                    yield from _module(f"{module}.{alias.name}")
                    yield from _name(alias.name)
            case ast.Attribute(value=ast.Name(id="os"), attr=name) if name in OF_OS:
                yield f"os.{name}"
            case ast.Attribute(attr=name):
                yield from _name(name)
            # Other names were imported, which is found there, or are our own.
            case ast.Name(id=name) if name in BUILTINS:
                yield name
            case ast.Call(func=ast.Name(id="getattr"), args=[_, ast.Constant(value=str(name)), *_]):
                yield from _name(name)


def _is_ours(module: str) -> bool:
    return module == "server" or module.startswith("server.")


def _module(name: str) -> Iterator[str]:
    parts = name.split(".")
    for end in range(1, len(parts) + 1):
        if (above := ".".join(parts[:end])) in MODULES:
            yield f"import {above}"


def _name(name: str) -> Iterator[str]:
    if name in NAMES or name in AROUND:
        yield name


@cache
def _found() -> frozenset[tuple[str, str]]:
    return frozenset(
        (str(path.relative_to(ROOT)), way)
        for path in (ROOT / "server").rglob("*.py")
        for way in ways_out(path.read_text(encoding="utf-8"))
    )


def _covers(place: str, path: str) -> bool:
    return path == place or (place.endswith("/") and path.startswith(place))


def test_there_is_one_way_out() -> None:
    """Whatever could connect stands in the list; a new use has to be argued for there."""
    found = _found()
    assert len(found) > 20, "the search finds something"
    new = {
        (path, way)
        for path, way in found
        if not any(way == allowed and _covers(place, path) for place, allowed, _ in ALLOWED)
    }
    assert not new, f"call server.net.egress.Egress instead, or give a reason in ALLOWED: {sorted(new)}"


@pytest.mark.parametrize(("place", "way", "reason"), ALLOWED)
def test_every_exception_is_used(place: str, way: str, reason: str) -> None:
    """An exception whose use has gone would let the next one in unseen."""
    assert reason
    assert any(way == found and _covers(place, path) for path, found in _found())


def test_only_egress_opens_the_session() -> None:
    """`server/net/session.py` is a part of the one way out, not a second one."""
    users = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "server").rglob("*.py")
        if "server.net.session" in path.read_text(encoding="utf-8")
    }
    assert users == {"server/net/egress.py"}


@pytest.mark.parametrize(
    ("source", "way"),
    [
        ("import aiohttp", "import aiohttp"),
        ("import aiohttp.web as web", "import aiohttp"),
        ("from aiohttp import ClientSession", "import aiohttp"),
        ("def f():\n    import httpx", "import httpx"),
        ("if TYPE_CHECKING:\n    import httpx2", "import httpx2"),
        ("import requests as r", "import requests"),
        ("from urllib import request", "import urllib.request"),
        ("import urllib.request", "import urllib.request"),
        ("from urllib.request import urlopen", "urlopen"),
        ("from http import client", "import http.client"),
        ("import http.client", "import http.client"),
        ("import socket", "import socket"),
        ("from socket import create_connection as c", "create_connection"),
        ("import asyncio\nasyncio.open_connection('h', 80)", "open_connection"),
        ("from asyncio import open_connection", "open_connection"),
        ("import asyncio\nopen_ = asyncio.open_connection", "open_connection"),
        ("loop.create_connection(f, 'h', 80)", "create_connection"),
        ("loop.create_datagram_endpoint(f)", "create_datagram_endpoint"),
        ("getattr(asyncio, 'open_connection')", "open_connection"),
        ("import importlib\nimportlib.import_module('x')", "import_module"),
        ("__import__('socket')", "__import__"),
        ("import psycopg\npsycopg.connect('')", "connect"),
        ("from psycopg import AsyncConnection\nawait_ = AsyncConnection.connect", "connect"),
        ("from psycopg_pool import AsyncConnectionPool", "AsyncConnectionPool"),
        ("import aiomysql", "import aiomysql"),
        ("Redis.from_url('redis://x')", "from_url"),
        ("import subprocess", "import subprocess"),
        ("import os\nos.system('curl x')", "os.system"),
        ("asyncio.create_subprocess_exec('curl')", "create_subprocess_exec"),
    ],
)
def test_the_search_finds(source: str, way: str) -> None:
    """However it is spelled, wherever in the module it stands."""
    assert way in ways_out(source)


@pytest.mark.parametrize(
    "source",
    [
        "from urllib.parse import urlsplit",
        "from http import HTTPStatus",
        "import asyncio\nasyncio.sleep(0)",
        "from psycopg.rows import class_row",
        "from starlette.requests import Request",
        "text = 'import aiohttp; asyncio.open_connection()'",
        "from server.net.egress import Egress",
        "from server.embedded.demo_keys import open_connection\nopen_connection()",
        "request.system",
        "from .requests import x",
    ],
)
def test_the_search_passes_over_what_is_harmless(source: str) -> None:
    """Parsing, constants and our own modules."""
    assert ways_out(source) == set()
