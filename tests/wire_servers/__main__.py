"""A wire server as a process of its own, for benchmarks and for a browser to talk to. Prints its base URL first."""

import argparse
import asyncio
import signal

from tests.wire_servers.server import wire_server
from tests.wire_servers.steps import Answer, Received, Step

_WORDS = (
    "We bake every loaf in the stone oven behind the shop, from four in the morning on, and the first baguettes are "
    "on the shelf when the doors open at seven. "
)


def fixed_answer(tokens: int, rate: float | None) -> Answer:
    """An answer of exactly so many tokens; the pieces are the size of real ones."""
    pieces = Answer(_WORDS * (tokens // 20 + 1)).pieces()
    while len(pieces) < tokens:
        pieces += pieces
    return Answer(tokens=tuple(pieces[:tokens]), tokens_per_s=rate, usage=(1200, tokens, 1024))


async def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.wire_servers", description=__doc__)
    parser.add_argument("--provider", choices=("openai", "anthropic", "ollama"), default="openai")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one (the default)")
    parser.add_argument("--rate", type=float, default=0, help="tokens a second in each answer; 0 sends without pauses")
    parser.add_argument("--tokens", type=int, default=0, help="tokens of each answer; 0 echoes the visitor's words")
    arguments = parser.parse_args()
    rate = arguments.rate or None

    def answer(request: Received) -> Step:
        if arguments.tokens:
            # A client may ask for fewer, so that one server serves short and long runs.
            limit = request.body.get("max_tokens") or request.body.get("max_completion_tokens") or arguments.tokens
            return fixed_answer(min(arguments.tokens, int(limit)), rate)
        return Answer(f"You said: {request.question}", tokens_per_s=rate)

    async with wire_server(arguments.provider, port=arguments.port) as server:
        server.default = answer
        print(server.url, flush=True)
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(main())
