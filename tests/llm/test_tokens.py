"""Token counts: the published vocabulary, no network, no blow-up."""

import hashlib
import importlib
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st

from server.errors import SettingsError
from server.llm import tokens
from server.llm.provider import ChatMessage, ToolCall, ToolSpec
from server.llm.tokens import context_window, count_request, count_text, encoding_for, encoding_name, safety_factor

NAMES: tuple[tokens.EncodingName, ...] = ("o200k_base", "cl100k_base")


@pytest.mark.parametrize("name", NAMES)
def test_tiktoken_itself_accepts_our_vocabulary(
    name: tokens.EncodingName, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """tiktoken's own constructor, with its own hash, reads our file and gives the very encoding that we build."""
    url = f"https://openaipublic.blob.core.windows.net/encodings/{name}.tiktoken"
    cached = tmp_path / hashlib.sha1(url.encode()).hexdigest()
    cached.write_bytes((tokens.VOCABULARY / f"{name}.tiktoken").read_bytes())
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(socket, "socket", None)  # a download would not get far
    theirs = importlib.import_module("tiktoken_ext.openai_public").ENCODING_CONSTRUCTORS[name]()
    ours = encoding_for("gpt-4o" if name == "o200k_base" else "gpt-4")
    assert ours.name == name
    assert ours._mergeable_ranks == theirs["mergeable_ranks"]
    assert ours._special_tokens == theirs["special_tokens"]
    assert ours._pat_str == theirs["pat_str"]


def test_no_network_and_no_cache_is_needed() -> None:
    """A fresh process that may not open a socket counts all the same."""
    program = (
        "import socket; socket.socket = None; socket.getaddrinfo = None\n"
        "from server.llm.tokens import count_text, preload\n"
        "preload(['gpt-4o', 'gpt-4']); print(count_text('gpt-4o', 'hello world'), count_text('gpt-4', 'hello world'))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["2", "2"]


def test_a_missing_vocabulary_says_how_to_build_it(tmp_path: Path) -> None:
    """One line, with the command."""
    with pytest.raises(SettingsError, match=r"node scripts/vocabulary\.mjs"):
        tokens._build("o200k_base", tmp_path / "o200k_base.tiktoken")


def test_a_damaged_vocabulary_is_refused(tmp_path: Path) -> None:
    """Wrong counts would be worse than none."""
    path = tmp_path / "o200k_base.tiktoken"
    path.write_bytes((tokens.VOCABULARY / "o200k_base.tiktoken").read_bytes()[:-10])
    with pytest.raises(SettingsError, match="damaged"):
        tokens._build("o200k_base", path)


@pytest.mark.parametrize(
    "model",
    [
        "gpt-4",
        "gpt-4-0613",
        "gpt-4-turbo-2024-04-09",
        "gpt-3.5-turbo",
        "gpt-35-turbo",
        "ft:gpt-4:acme::x",
        "gpt-4o",
        "gpt-4o-mini-2024-07-18",
        "gpt-4.1-nano",
        "gpt-5.4-mini",
        "ft:gpt-4o:acme::x",
        "o1",
        "o3-mini",
    ],
)
def test_openai_models_have_the_encoding_that_tiktoken_says(model: str) -> None:
    """Our rule and tiktoken's table agree."""
    assert encoding_name(model) == tiktoken.encoding_name_for_model(model)


@pytest.mark.parametrize("model", ["claude-haiku-5-5", "llama3.2", "demo", "gpt-6-luna", "", "mistral-large"])
def test_other_models_are_estimated(model: str) -> None:
    """Names that nobody heard of count with the newest vocabulary."""
    assert encoding_name(model) == "o200k_base"


@pytest.mark.parametrize(
    ("model", "text", "count"),
    [
        ("gpt-4o", "", 0),
        ("gpt-4o", "tiktoken is great!", 6),
        ("gpt-4", "tiktoken is great!", 6),
        ("gpt-4", "antidisestablishmentarianism", 6),  # OpenAI's cookbook
        ("gpt-4", "2 + 2 = 4", 7),  # OpenAI's cookbook
        ("gpt-4", "お誕生日おめでとう", 9),  # OpenAI's cookbook
        ("gpt-4o", "お誕生日おめでとう", 8),  # OpenAI's cookbook
    ],
)
def test_known_counts(model: str, text: str, count: int) -> None:
    """Counts that OpenAI published."""
    assert count_text(model, text) == count


def test_special_tokens_in_a_text_are_text() -> None:
    """A visitor who writes a control token has written words."""
    assert count_text("gpt-4o", "<|endoftext|>") > 1


def test_a_lone_surrogate_does_not_break_it() -> None:
    """Text that cannot be encoded is counted with a replacement."""
    assert count_text("gpt-4o", "a\ud83db") >= 1


@settings(deadline=None)
@given(st.text(max_size=400))
def test_text_without_long_runs_counts_like_tiktoken(text: str) -> None:
    """Cutting runs changes nothing for ordinary text."""
    plain = " ".join(text[i : i + 50] for i in range(0, len(text), 50))
    assert count_text("gpt-4o", plain) == len(encoding_for("gpt-4o").encode_ordinary(plain))


@pytest.mark.parametrize("run", ["a", " ", "ab", "\n", "א", "漢", "1", "=", "🙂", "\t ", "aA", "-_"])
@pytest.mark.parametrize("model", ["gpt-4o", "gpt-4"])
def test_huge_runs_take_linear_time(run: str, model: str) -> None:
    """A million characters without a break, which take tiktoken alone minutes, are counted in a moment."""
    text = run * (1_000_000 // len(run))
    started = time.process_time()
    assert count_text(model, text) > 1000
    assert time.process_time() - started < 5


def test_cutting_runs_costs_a_token_at_most_each() -> None:
    """The count of a long run is near the true one."""
    text = "supercalifragilistic" * 100
    exact = len(encoding_for("gpt-4o").encode_ordinary(text))
    assert exact <= count_text("gpt-4o", text) <= exact + len(text) // 256 + 1


def test_a_request_counts_messages_and_what_wraps_them() -> None:
    """OpenAI's cookbook says 124 tokens for this example and gpt-4o; its names, which we never send, are 1 and more."""
    system = (
        "You are a helpful, pattern-following assistant that translates corporate jargon into plain English.",
        "New synergies will help drive top-line growth.",
        "Things working well together will increase revenue.",
        "Let's circle back when we have more bandwidth to touch base on opportunities for increased leverage.",
        "Let's talk later when we're less busy about how to do better.",
    )
    user = "This late pivot means we don't have time to boil the ocean for the client deliverable."
    messages = (*(ChatMessage("system", text) for text in system), ChatMessage("user", user))
    names = sum(1 + count_text("gpt-4o", name) for name in ("example_user", "example_assistant") * 2)
    assert count_request("gpt-4o", messages) == 124 - names


def test_tools_and_calls_are_counted() -> None:
    """What is sent beside the words is read as well."""
    words = (ChatMessage("user", "hi"),)
    tool = ToolSpec("get_menu", "The menu", {"type": "object", "properties": {"day": {"type": "string"}}})
    call = ChatMessage("assistant", "", (ToolCall("c", "get_menu", '{"day":"monday"}'),))
    assert count_request("gpt-4o", words, (tool,)) > count_request("gpt-4o", words) + 20
    assert count_request("gpt-4o", (*words, call)) > count_request("gpt-4o", words) + 10


@pytest.mark.parametrize(
    ("model", "window"),
    [
        ("gpt-4", 8_192),
        ("gpt-4-0613", 8_192),
        ("gpt-4-turbo-2024-04-09", 128_000),
        ("gpt-4o-mini", 128_000),
        ("gpt-4.1-mini-2025-04-14", 1_047_576),
        ("ft:gpt-4o:acme::x", 128_000),
        ("o1-mini", 128_000),
        ("claude-haiku-4-5", 200_000),
        ("claude-haiku-5-5", 1_000_000),
        ("openai/gpt-oss-120b", 131_072),
        ("some-model", 8_192),
        ("", 8_192),
    ],
)
def test_context_windows(model: str, window: int) -> None:
    """The longest known prefix decides; an unknown model gets what nearly all have."""
    assert context_window(model) == window


def test_a_window_may_be_known_better() -> None:
    """The deployment's word wins, and Ollama has the window that we ask it for."""
    assert context_window("gpt-4", override=50_000) == 50_000
    assert context_window("gpt-4o", provider="ollama") == tokens.OLLAMA_WINDOW


def test_estimates_get_room() -> None:
    """Counts of OpenAI's models are exact, others need a margin."""
    assert safety_factor("gpt-6-luna") == safety_factor("o3") == 1.0
    assert safety_factor("llama3.2") > 1.0
    assert safety_factor("claude-haiku-5-5") > safety_factor("llama3.2")
