"""Local servers that speak the wire formats of OpenAI, Anthropic and Ollama, as a test scripts them.

    async with openai_server() as server:
        server.script(Answer("Hello, how are you?", tokens_per_s=100))
        provider = OpenAIProvider(api_key="sk-test", base_url=server.url)
        ...
        assert server.requests[0].body["model"] == "gpt-6-luna"

Each request takes the next scripted step (`Answer`, `Failure` or `Raw`); with nothing scripted it gets
`server.default`, which is a function of the request, at first an echo of the visitor's words.

As a process of its own: `python -m tests.wire_servers --provider openai --rate 100` (see `--help`).
"""

from tests.wire_servers.server import WireServer, anthropic_server, ollama_server, openai_server, wire_server
from tests.wire_servers.steps import Answer, Failure, Raw, Received, Step, ToolUse, split_tokens

__all__ = [
    "Answer",
    "Failure",
    "Raw",
    "Received",
    "Step",
    "ToolUse",
    "WireServer",
    "anthropic_server",
    "ollama_server",
    "openai_server",
    "split_tokens",
    "wire_server",
]
