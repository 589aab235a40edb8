"""Counting tokens before a call, with tiktoken and without any network.

tiktoken downloads its vocabulary when it first counts. Here it comes from `server/llm/vocabulary/`, which the build
writes (`node scripts/vocabulary.mjs`) and the wheel carries; each file is checked against the SHA-256 that tiktoken
itself expects, and its own registry, cache and environment variables are left alone.

Counts are those of OpenAI's models, and an estimate for all others: Anthropic, Meta, Mistral and Alibaba keep
vocabularies of their own (Claude's, from 4.7 on, makes about 30% more tokens than it made before). What a provider
reports after the call is what gets billed and kept; `safety_factor` says how much room an estimate needs.
"""

import base64
import hashlib
import re
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from server.errors import SettingsError
from server.llm.provider import ChatMessage, ToolSpec

if TYPE_CHECKING:
    import tiktoken

EncodingName = Literal["o200k_base", "cl100k_base"]

VOCABULARY: Final = Path(__file__).parent / "vocabulary"

# Patterns, special tokens and hashes are those of tiktoken_ext/openai_public.py (a test compares them).
_SHA256: Final[dict[EncodingName, str]] = {
    "o200k_base": "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
    "cl100k_base": "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
}
_PATTERN: Final[dict[EncodingName, str]] = {
    "o200k_base": "|".join(
        (
            r"""[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?""",
            r"""[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?""",
            r"""\p{N}{1,3}""",
            r""" ?[^\s\p{L}\p{N}]+[\r\n/]*""",
            r"""\s*[\r\n]+""",
            r"""\s+(?!\S)""",
            r"""\s+""",
        )
    ),
    "cl100k_base": (
        r"""'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$"""
        r"""|\s*[\r\n]|\s+(?!\S)|\s"""
    ),
}
_SPECIAL: Final[dict[EncodingName, dict[str, int]]] = {
    "o200k_base": {"<|endoftext|>": 199999, "<|endofprompt|>": 200018},
    "cl100k_base": {
        "<|endoftext|>": 100257,
        "<|fim_prefix|>": 100258,
        "<|fim_middle|>": 100259,
        "<|fim_suffix|>": 100260,
        "<|endofprompt|>": 100276,
    },
}

# The models before GPT-4o, and Azure's names for them. Everything else counts with o200k_base.
_CL100K: Final = re.compile(r"^(?:ft:)?(?:gpt-4(?![.o])(?!-?5)|gpt-3\.5|gpt-35|text-embedding-)")

# Of the cookbook "How to count tokens with tiktoken": 3 a message, 1 for a name, 3 to prime the answer.
_PER_MESSAGE: Final = 3
_PER_REQUEST: Final = 3
# A tool call in a transcript is wrapped like a message of its own.
_PER_TOOL_CALL: Final = 8
# Of the same page, for function definitions: 7 a function (gpt-4o), 12 to close the list.
_PER_TOOL: Final = 7
_PER_TOOL_LIST: Final = 12

# tiktoken merges inside one piece of its pattern in time quadratic to the piece's length: a million letters without
# a space take minutes. Runs without a break are cut at this many characters, where a cut costs a token at most.
_MAX_RUN: Final = 256
_LONG_RUN: Final = re.compile(rf"\S{{{_MAX_RUN}}}|\s{{{_MAX_RUN}}}")

_loaded: dict[EncodingName, "tiktoken.Encoding"] = {}
_lock = threading.Lock()


def encoding_name(model: str) -> EncodingName:
    """Which vocabulary counts for a model; o200k_base for names never heard of."""
    return "cl100k_base" if _CL100K.match(model) else "o200k_base"


def encoding_for(model: str) -> "tiktoken.Encoding":
    """The encoding of a model, loaded once a process (about 0.3 s; call `preload` at start)."""
    return _load(encoding_name(model))


def preload(models: Sequence[str] = ()) -> None:
    """Loads what counting for these models needs. Raises SettingsError when the vocabulary was not built."""
    for name in {encoding_name(model) for model in models} or {"o200k_base"}:
        _load(name)


def _load(name: EncodingName) -> "tiktoken.Encoding":
    encoding = _loaded.get(name)
    if encoding is not None:
        return encoding
    with _lock:
        if name not in _loaded:
            _loaded[name] = _build(name, VOCABULARY / f"{name}.tiktoken")
        return _loaded[name]


def _build(name: EncodingName, path: Path) -> "tiktoken.Encoding":
    import tiktoken

    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise SettingsError(
            f"the vocabulary {path.name} was not built; run `npm ci && node scripts/vocabulary.mjs`"
        ) from None
    if hashlib.sha256(data).hexdigest() != _SHA256[name]:
        raise SettingsError(f"{path} is damaged; delete it and run `node scripts/vocabulary.mjs`")
    ranks: dict[bytes, int] = {}
    for line in data.splitlines():
        token, _, rank = line.partition(b" ")
        ranks[base64.b64decode(token)] = int(rank)
    return tiktoken.Encoding(name, pat_str=_PATTERN[name], mergeable_ranks=ranks, special_tokens=_SPECIAL[name])


def count_text(model: str, text: str) -> int:
    """Tokens of a text as plain text: `<|endoftext|>` in it is text, not a command."""
    if not text:
        return 0
    encode = encoding_for(model).encode_ordinary
    if len(text) < _MAX_RUN or _LONG_RUN.search(text) is None:
        return len(encode(text))
    return sum(len(encode(piece)) for piece in _pieces(text))


def _pieces(text: str) -> list[str]:
    """Cuts every run of _MAX_RUN characters without a break off the text; the rest stays whole."""
    pieces: list[str] = []
    start = 0
    for run in _LONG_RUN.finditer(text):
        if run.start() > start:
            pieces.append(text[start : run.start()])
        pieces.append(run.group())
        start = run.end()
    pieces.append(text[start:])
    return pieces


def count_request(model: str, messages: Sequence[ChatMessage], tools: Sequence[ToolSpec] = ()) -> int:
    """Input tokens of a request, with what wraps each message and tool."""
    total = _PER_REQUEST
    for message in messages:
        total += _PER_MESSAGE + 1 + count_text(model, message.text)  # 1 for the role
        for call in message.tool_calls:
            total += _PER_TOOL_CALL + count_text(model, call.name) + count_text(model, call.arguments)
    return total + count_tools(model, tools)


def count_tools(model: str, tools: Sequence[ToolSpec], *, count: Callable[[str, str], int] | None = None) -> int:
    """What offering these tools adds to a request. `count` may remember: the same tools come with every turn."""
    count = count or count_text
    total = _PER_TOOL_LIST if tools else 0
    for tool in tools:
        schema = msgspec.json.encode(tool.parameters).decode()
        total += _PER_TOOL + count(model, f"{tool.name}:{tool.description}") + count(model, schema)
    return total


def safety_factor(model: str) -> float:
    """What to multiply an estimate with, so that a request surely fits the window."""
    if model.startswith("claude-"):
        return 1.6
    return 1.0 if re.match(r"^(?:ft:)?(?:gpt-|o\d|chatgpt-)", model) else 1.25


# Prefix -> window in tokens. OpenAI: developers.openai.com/api/docs/models; Anthropic:
# platform.claude.com/docs/en/models; the open ones: their model cards. Read November 2026. The longest prefix wins.
_WINDOWS: Final[dict[str, int]] = {
    "gpt-6": 400_000,
    "gpt-5": 400_000,
    "gpt-5-chat": 128_000,
    "gpt-4.1": 1_047_576,
    "gpt-4o": 128_000,
    "chatgpt-4o": 128_000,
    "gpt-4-turbo": 128_000,
    "gpt-4-1106": 128_000,
    "gpt-4-0125": 128_000,
    "gpt-4-32k": 32_768,
    "gpt-4": 8_192,
    "gpt-3.5-turbo": 16_385,
    "gpt-35-turbo": 16_385,
    "gpt-oss": 131_072,
    "o1": 200_000,
    "o1-mini": 128_000,
    "o1-preview": 128_000,
    "o3": 200_000,
    "o4-mini": 200_000,
    "claude-": 200_000,
    "claude-haiku-5": 1_000_000,
    "claude-sonnet-4-6": 1_000_000,
    "claude-sonnet-5": 1_000_000,
    "claude-opus-4-6": 1_000_000,
    "claude-opus-4-7": 1_000_000,
    "claude-opus-4-8": 1_000_000,
    "claude-opus-5": 1_000_000,
    "claude-fable-5": 1_000_000,
    "llama-3.1": 131_072,
    "llama-3.3": 131_072,
    "llama-4": 131_072,
    "mistral-large": 131_072,
    "mistral-small": 32_768,
    "deepseek-": 65_536,
    "demo": 32_768,
}

# What almost every chat model of the last years can take.
DEFAULT_WINDOW: Final = 8_192
# What we ask Ollama to allocate (`num_ctx`). Its own default of 4,096 cuts a longer prompt without a word,
# and a model's whole window would not fit the memory of most machines it runs on.
OLLAMA_WINDOW: Final = 8_192


def context_window(model: str, *, provider: str | None = None, override: int | None = None) -> int:
    """Tokens that prompt and answer may take together. `override` is what the deployment knows better."""
    if override is not None:
        return override
    if provider == "ollama":
        return OLLAMA_WINDOW
    name = model.removeprefix("ft:").rsplit("/", 1)[-1].lower()
    prefix = max((p for p in _WINDOWS if name.startswith(p)), key=len, default="")
    return _WINDOWS.get(prefix, DEFAULT_WINDOW)
