"""The p95 of each list route of the console's API, over real HTTP, with many conversations in a real PostgreSQL.

    python -m bench.console                          # 100,000 conversations, 1,000,000 messages: some minutes to make
    python -m bench.console --conversations 5000     # to see that all of it works

Every GET route of the API is asked as it stands in `server/admin/routes.py`, a new one too; the inbox in each way that
its filters and its search have. One request at a time, on one connection, of an owner who serves all clients.
"""

import argparse
import asyncio
import os
import platform
import re
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import msgspec

from bench.console_data import Made, Size, fill
from bench.report import percentile
from bench.servers import Process, free_port, process, split_cores
from server import embedded, ids
from server.admin.gate import BASE
from server.admin.routes import ENDPOINTS
from server.cli.migrate import upgrade
from server.net.signing import Keyring
from server.repositories import clients
from server.repositories.pool import open_pool, reading
from server.staff.accounts import Accounts

OUTPUT = Path(__file__).parent / "output"
# Milliseconds that a list may take at its 95th percentile.
LIMIT_MS = 50.0
# Requests before those that count: connections, plans and pages of the tables are warm in an office that works.
WARM_UP = 10
_EMAIL = "bench@desk.example"
# Looks at what is outside, and may be asked a few times a minute.
NO_LISTS = {"/doctor"}


class Case(msgspec.Struct, frozen=True):
    """One way to ask: a path below the API and its query. `walks`: each page begins where the one before ended."""

    name: str
    path: str
    query: dict[str, Any] = {}
    walks: bool = False


class Found(msgspec.Struct, frozen=True):
    """What a case gave. Times in milliseconds; `rows` of the last answer, None where it is no list."""

    name: str
    p50: float
    p95: float
    most: float
    rows: int | None

    @property
    def reached(self) -> bool:
        return self.p95 <= LIMIT_MS


class Result(msgspec.Struct, frozen=True):
    at: str
    machine: str
    conversations: int
    messages: int
    requests: int
    found: list[Found]


def cases(made: Made) -> list[Case]:
    """The ways to ask for conversations, then every other GET route."""
    inbox = "/conversations"
    mine, theirs = {"client_id": made.large}, {"client_id": made.other}
    filters: dict[str, dict[str, Any]] = {
        "closed": {"owner": "closed"},
        "queued": {"owner": "queued"},
        "waiting": {"waiting": "true"},
        "not waiting, human": {"waiting": "false", "owner": "human"},
        "rated down": {"rating": "down"},
        "rated up, queued, waiting": {"rating": "up", "owner": "queued", "waiting": "true"},
    }
    # In everything, in hardly anything, in between, and in none of those that are asked for.
    searches: dict[str, dict[str, Any]] = {
        "order": {"q": "order"},
        "delivery": {"q": "delivery"},
        "refund": {"q": "refund"},
        "voucher": {"q": "voucher"},
        "order refund": {"q": "order refund"},
        "A-10xxxx": {"q": "A-100040"},
        "ann12@mail": {"q": "ann12@mail"},
        "christmas": {"q": "christmas"},
        "zebrafish": {"q": "zebrafish"},
        "refund, closed, rated down": {"q": "refund", "owner": "closed", "rating": "down"},
    }
    listed = [Case("inbox, all clients", inbox), Case("inbox, one client", inbox, mine)]
    listed += [Case("inbox, page after page", inbox, walks=True)]
    for name, asked in filters.items():
        listed.append(Case(f"inbox, all clients: {name}", inbox, asked))
        listed.append(Case(f"inbox, one client: {name}", inbox, {**asked, **mine}))
    for name, asked in searches.items():
        listed.append(Case(f"search, all clients: {name}", inbox, asked))
        listed.append(Case(f"search, one client: {name}", inbox, {**asked, **mine}))
    listed.append(Case("search, one client: sushi, another's word", inbox, {"q": "sushi", **mine}))
    listed.append(Case("search, the client whose word it is: sushi", inbox, {"q": "sushi", **theirs}))
    listed.append(Case("search, page after page: refund", inbox, {"q": "refund"}, walks=True))
    listed.append(Case("notifications, unread", "/notifications", {"unread": "true"}))
    listed.append(Case("notifications, one client", "/notifications", mine))
    return [*listed, *_routes(made)]


def _routes(made: Made) -> Iterator[Case]:
    """Every GET route as it stands; one that is about a conversation is asked about many of them."""
    today = datetime.now(UTC).date()
    asked_for: dict[str, dict[str, Any]] = {
        "/usage": {"from": _day(today, 90), "to": _day(today, 0)},
        "/usage/clients": {"from": _day(today, 90), "to": _day(today, 0)},
        "/usage/tools": {"from": _day(today, 90), "to": _day(today, 0)},
        "/usage.csv": {"from": _day(today, 90), "to": _day(today, 0)},
    }
    for endpoint in ENDPOINTS:
        path = endpoint.path.removeprefix(BASE)
        names = set(re.findall(r"{(\w+)}", path))
        if endpoint.method != "GET" or path in NO_LISTS or not names <= {"client_id", "conversation_id"}:
            continue
        yield Case(f"GET {path}", path.replace("{client_id}", str(made.large)), asked_for.get(path, {}))


def _day(today: date, ago: int) -> str:
    return (today - timedelta(days=ago)).isoformat()


class Console:
    """A signed-in owner at a server."""

    def __init__(self, http: httpx.AsyncClient, made: Made) -> None:
        self._http = http
        self._talks = cycle(made.talks)

    async def sign_in(self, password: str) -> None:
        answer = await self._http.post(f"{BASE}/login", json={"email": _EMAIL, "password": password})
        answer.raise_for_status()

    async def run(self, case: Case, requests: int) -> Found:
        """Raises RuntimeError for an answer that is none."""
        times: list[float] = []
        before, rows = None, None
        for number in range(WARM_UP + requests):
            path = case.path.replace("{conversation_id}", next(self._talks))
            query = {**case.query, **({"before": before} if before else {})}
            began = time.perf_counter()
            answer = await self._http.get(BASE + path, params=query)
            took = (time.perf_counter() - began) * 1000
            if answer.status_code != 200:
                raise RuntimeError(f"{case.name}: {answer.status_code} {answer.text[:300]}")
            if number >= WARM_UP:
                times.append(took)
            told = answer.json() if "json" in answer.headers["content-type"] else {}
            rows = len(told["rows"]) if "rows" in told else None
            before = told.get("before") if case.walks else None
        return Found(case.name, median(times), percentile(times, 95), max(times), rows)


async def measure(server: Process, made: Made, password: str, requests: int) -> list[Found]:
    """Every case, one after the other."""
    url = f"http://127.0.0.1:{server.port}"
    async with httpx.AsyncClient(base_url=url, headers={"origin": url}, timeout=30, trust_env=False) as http:
        console = Console(http, made)
        await console.sign_in(password)
        found = []
        for case in cases(made):
            found.append(await console.run(case, requests))
            print(line(found[-1]), flush=True)
        return found


def line(found: Found) -> str:
    """One line of the table."""
    verdict = "reached" if found.reached else "MISSED"
    rows = "" if found.rows is None else f"{found.rows:>4} rows"
    return f"{found.name:<58} {found.p50:>8.1f} {found.p95:>8.1f} {found.most:>8.1f}  {verdict:<7} {rows}".rstrip()


async def set_up(database_url: str, keyring: Keyring, size: Size, password: str) -> list[int]:
    """The clients and the owner. The clients' ids."""
    pool = await open_pool(database_url, max_size=1, application_name="frontdesk bench")
    try:
        await Accounts(pool, keyring).create(
            email=_EMAIL, name="Bench", role="owner", client_id=None, password=password
        )
        made = []
        for number in range(size.clients):
            async with reading(pool) as conn:
                client = await clients.create(
                    conn,
                    name=f"Shop {number + 1}",
                    domain=f"shop{number + 1}.example",
                    allowed_origins=[f"https://shop{number + 1}.example"],
                    public_key=ids.public_key(),
                    api_key_hash=keyring.digest("api-key", ids.secret_key()),
                    api_key_prefix="bench",
                    plan_type="pro",
                )
            made.append(client.id)
        return made
    finally:
        await pool.close()


def run(size: Size, requests: int, output: Path) -> Result:
    """A fresh installation, filled, served by `frontdesk serve`, and asked."""
    secret, password = secrets.token_hex(32), ids.password()
    output.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="console-", dir=output) as data,
        embedded.services(Path(data)) as services,
    ):
        upgrade(services.database_url)
        began = time.monotonic()
        client_ids = asyncio.run(set_up(services.database_url, Keyring((secret,)), size, password))
        made = fill(services.database_url, size, client_ids)
        size_of = f"{made.conversations:,} conversations, {made.messages:,} messages"
        print(f"{size_of} made in {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        environ = {
            "DATABASE_URL": services.database_url,
            "REDIS_URL": services.redis_url,
            "FRONTDESK_SECRET_KEYS": secret,
            "LLM_PROVIDER": "demo",
            "LOG_FORMAT": "json",
        }
        port = free_port()
        command = [sys.executable, "-c", "from server.cli import main; main()", "serve"]
        command += ["--host", "127.0.0.1", "--port", str(port)]
        print(f"{'milliseconds':<58} {'p50':>8} {'p95':>8} {'most':>8}")
        with process(
            "frontdesk", command, port, cores=split_cores().server, log=output / "console.log", environ=environ
        ) as server:
            found = asyncio.run(measure(server, made, password, requests))
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    at = datetime.now(UTC).isoformat(timespec="minutes")
    return Result(at, machine, made.conversations, made.messages, requests, found)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.console", description=__doc__)
    parser.add_argument("--conversations", type=int, default=100_000, help="with ten messages each on average")
    parser.add_argument("--requests", type=int, default=100, help="requests a case")
    parser.add_argument("--json", action="store_true", help="write the figures to bench/output/ as well")
    arguments = parser.parse_args()
    result = run(Size(conversations=arguments.conversations), arguments.requests, OUTPUT)
    missed = [each.name for each in result.found if not each.reached]
    print(f"{result.machine}; {result.requests} requests a case")
    print(f"{len(missed)} of {len(result.found)} missed a p95 of {LIMIT_MS:.0f} ms")
    if arguments.json:
        path = OUTPUT / f"console-{result.at.replace(':', '')}.json"
        path.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=2))
        print(f"written: {path}")


if __name__ == "__main__":
    main()
