"""The Autobahn test suite against the WebSocket of this server: `python -m tests.chaos.autobahn [--cases 1,6.4]`.

What is under test is below our own protocol: uvicorn as `server.cli.run` configures it, `server.ws.transport`, and
websockets' sans-I/O protocol, behind an application that echoes. Two bounds of ours are widened for it, since the cases
of group 9 send messages of 16 MB in up to 65,536 pieces, which are refused on purpose: `ws_max_size`, `FRAGMENTS`.
Groups 12 and 13 are about compression, which is off.

It needs the package index. Where that cannot be reached it says so, and ends with 2.
"""

import argparse
import asyncio
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import uvicorn
import uvloop

from server.cli.run import uvicorn_config
from server.ws import transport
from tests.chaos.autobahn_cases import Case, fetch, load
from tests.chaos.autobahn_client import Client

# Bytes of the largest message of the suite, and a little.
LARGEST = 17 * 1024 * 1024
AT_ONCE = 8
PATIENCE_S = 600.0


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Sends back what it gets."""
    if scope["type"] != "websocket":
        return
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        try:
            await send({"type": "websocket.send", "text": message.get("text"), "bytes": message.get("bytes")})
        except OSError:
            return  # it left


async def judge(cases: dict[tuple[int, ...], type[Case]]) -> dict[tuple[int, ...], Case]:
    """Runs each on a connection of its own."""
    transport.FRAGMENTS = 1 << 20
    config = uvicorn_config(echo, "127.0.0.1", 0)
    config.ws_max_size, config.lifespan = LARGEST, "off"
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110  # uvicorn tells nobody
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    room, done = asyncio.Semaphore(AT_ONCE), {}

    async def run(number: tuple[int, ...], kind: type[Case]) -> None:
        async with room, asyncio.timeout(PATIENCE_S):
            client = Client(kind, port)
            await asyncio.get_running_loop().create_connection(lambda: client, "127.0.0.1", port)
            await client.ended
            done[number] = client.case

    await asyncio.gather(*(run(number, kind) for number, kind in cases.items()))
    # Cases give an answer half a second: one that failed while others ran has a second try, alone.
    for number in [number for number, case in done.items() if failed(case)]:
        await run(number, cases[number])
    server.should_exit = True
    await serving
    return dict(sorted(done.items()))


def failed(case: Case) -> bool:
    return "FAILED" in {case.behavior, case.behaviorClose}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.autobahn", description=__doc__)
    parser.add_argument("--cases", default="", help="comma-separated beginnings of numbers, such as 1,6.4; all if none")
    wanted = tuple(f"{each}." for each in parser.parse_args().cases.split(",") if each)
    with tempfile.TemporaryDirectory(prefix="autobahn-") as place:
        download, translated = Path(place) / "download", Path(place) / "cases"
        download.mkdir()
        translated.mkdir()
        try:
            folder = fetch(download)
        except RuntimeError as error:
            print(f"The Autobahn test suite cannot run: {error}", file=sys.stderr)
            sys.exit(2)
        cases = load(folder, translated)
        chosen = {n: kind for n, kind in cases.items() if not wanted or _text(n).startswith(wanted)}
        done = uvloop.run(judge(chosen))
    for number, case in done.items():
        if not {case.behavior, case.behaviorClose} <= {"OK", "INFORMATIONAL"}:
            print(f"{_text(number)[:-1]}: {case.behavior} ({case.result})")
            print(f"    close: {case.behaviorClose} ({case.resultClose})")
    bad = sum(failed(case) for case in done.values())
    print(f"{len(done)} cases: " + ", ".join(f"{n} {w}" for w, n in Counter(c.behavior for c in done.values()).items()))
    print("closes: " + ", ".join(f"{n} {w}" for w, n in Counter(c.behaviorClose for c in done.values()).items()))
    print(f"{bad} failed")
    sys.exit(bad > 0)


def _text(number: tuple[int, ...]) -> str:
    return "".join(f"{part}." for part in number)


if __name__ == "__main__":
    main()
