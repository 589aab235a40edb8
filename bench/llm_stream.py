"""What one streamed token costs this process, each way of reading OpenAI's stream.

    python -m bench.llm_stream [--streams 20] [--tokens 300] [--rate 100]

- parsed: the official client's own stream, a pydantic model a chunk;
- frontdesk: the official client's request, the raw stream, our decoder (`server.llm.openai`);
- bare: aiohttp alone, bytes read and dropped, the floor of any relay.

A wire server runs in a process of its own. CPU is this process' user and system time over the tokens received, with
all streams running at once, paced at so many tokens a second each and unpaced. Opening a stream is part of it, as it
is part of every answer. Each figure is the best of three rounds, after one round to warm up.
"""

import argparse
import asyncio
import resource
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import aiohttp
import openai
import uvloop

from server.llm.openai import OpenAIProvider
from server.llm.provider import ChatMessage, ModelRequest, TextDelta

_PROMPT = "What time do you open on Sundays?"
_ROUNDS = 3


@contextmanager
def wire_server(rate: float, tokens: int) -> Iterator[str]:
    """The base URL of a wire server in a process of its own."""
    command = [sys.executable, "-m", "tests.wire_servers", "--rate", str(rate), "--tokens", str(tokens)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def parsed(client: openai.AsyncOpenAI, tokens: int) -> int:
    got = 0
    stream = await client.chat.completions.create(
        model="bench", messages=[{"role": "user", "content": _PROMPT}], max_tokens=tokens, stream=True
    )
    async for chunk in stream:
        if chunk.choices and chunk.choices[0].delta.content:
            got += 1
    return got


async def frontdesk(provider: OpenAIProvider, tokens: int) -> int:
    """Counts characters, because our events hold several tokens."""
    request = ModelRequest("bench", (ChatMessage("user", _PROMPT),), tokens)
    got = 0
    async with provider.stream(request) as batches:
        async for batch in batches:
            for event in batch:
                if isinstance(event, TextDelta):
                    got += len(event.text)
    assert got > 0
    return tokens


async def bare(session: aiohttp.ClientSession, url: str, tokens: int) -> int:
    body = {
        "model": "bench",
        "messages": [{"role": "user", "content": _PROMPT}],
        "max_tokens": tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    async with session.post(f"{url}/chat/completions", json=body) as response:
        content = response.content
        while await content.readany():
            pass
    return tokens


async def measure(run: Callable[[], Awaitable[int]], streams: int) -> float:
    """Microseconds of CPU a token."""
    best = float("inf")
    for number in range(_ROUNDS + 1):
        before = cpu_s()
        tokens = sum(await asyncio.gather(*(run() for _ in range(streams))))
        if number:
            best = min(best, (cpu_s() - before) / tokens * 1e6)
    return best


async def compare(url: str, streams: int, tokens: int) -> dict[str, float]:
    figures = {}
    async with openai.AsyncOpenAI(api_key="bench", base_url=url) as client:
        figures["parsed"] = await measure(lambda: parsed(client, tokens), streams)
    async with openai.AsyncOpenAI(api_key="bench", base_url=url, http_client=openai.DefaultAioHttpClient()) as client:
        figures["parsed, aiohttp"] = await measure(lambda: parsed(client, tokens), streams)
    provider = OpenAIProvider(api_key="bench", base_url=url)
    figures["frontdesk"] = await measure(lambda: frontdesk(provider, tokens), streams)
    await provider.close()
    async with aiohttp.ClientSession() as session:
        figures["bare aiohttp"] = await measure(lambda: bare(session, url, tokens), streams)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.llm_stream")
    parser.add_argument("--streams", type=int, default=20)
    parser.add_argument("--tokens", type=int, default=300, help="of each answer")
    parser.add_argument("--rate", type=float, default=100, help="tokens a second of each paced stream")
    arguments = parser.parse_args()
    columns = {}
    for name, rate in ((f"paced at {arguments.rate:g}/s", arguments.rate), ("unpaced", 0.0)):
        with wire_server(rate, arguments.tokens) as url, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            columns[name] = runner.run(compare(url, arguments.streams, arguments.tokens))
    print(f"CPU microseconds a token, {arguments.streams} streams of {arguments.tokens} tokens, uvloop")
    print(f"{'':18}" + "".join(f"{name:>16}" for name in columns))
    for way in next(iter(columns.values())):
        print(f"{way:18}" + "".join(f"{figures[way]:16.1f}" for figures in columns.values()))
    for name, figures in columns.items():
        print(f"frontdesk / bare aiohttp, {name}: {figures['frontdesk'] / figures['bare aiohttp']:.2f}")


if __name__ == "__main__":
    main()
