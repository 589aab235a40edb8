"""The demo model, as a visitor of a shop meets it."""

import asyncio
import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.llm.demo import DemoProvider, reply
from server.llm.provider import (
    ChatMessage,
    Finished,
    ModelEvent,
    ModelRequest,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolSpec,
    Usage,
)

PROMPT = """You are the friendly assistant of Bob's Pizza Shop. Answer briefly and kindly. Never talk about politics.

Menu:
- Margherita: $12
- Pepperoni: $14.50
- Quattro Formaggi: $15
- Tiramisu: $6

Opening hours:
- Monday to Friday 11am to 10pm
- Saturday and Sunday noon to 11pm

We deliver within 5 km for $3, free above $30. Delivery takes about 40 minutes.
Address: 12 Main Street, Springfield. There is parking behind the shop.
Gluten-free bases are available. Vegan cheese costs $2 extra.
Call +1 555 0100 or write to hello@bobs.example. See https://bobs.example/menu for the menu.
"""
ORDER = ToolSpec(
    "get_order_status",
    "Look up the status of an order by its number",
    {"type": "object", "properties": {"order_id": {"type": "string"}}, "required": ["order_id"]},
)
BOOK = ToolSpec(
    "book_table",
    "Book a table at the restaurant",
    {
        "type": "object",
        "properties": {
            "people": {"type": "integer"},
            "date": {"type": "string", "format": "date"},
            "time": {"type": "string"},
            "area": {"type": "string", "enum": ["inside", "terrace"]},
            "email": {"type": "string", "format": "email"},
        },
        "required": ["people", "date"],
    },
)


def request(*said: ChatMessage | str, tools: tuple[ToolSpec, ...] = (), limit: int = 500) -> ModelRequest:
    messages = [ChatMessage("user", each) if isinstance(each, str) else each for each in said]
    return ModelRequest("demo", (ChatMessage("system", PROMPT), *messages), limit, tools=tools)


def words(events: list[ModelEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def say(question: str) -> str:
    return words(reply(request(question)))


@pytest.mark.parametrize(
    ("question", "said", "unsaid"),
    [
        ("hi", ["Bob's Pizza Shop!", "**prices**"], ["Answer"]),
        ("Hello, when are you open?", ["**11am** to **10pm**", "noon to **11pm**"], ["hello@", "deliver"]),
        ("are you open on Sunday", ["noon to **11pm**"], ["$"]),
        ("how much is a margherita?", ["Margherita: **$12**"], ["Pepperoni"]),
        ("What are your prices?", ["| Margherita | **$12** |", "| --- | ---: |"], ["parking"]),
        ("Do you deliver?", ["within 5 km for **$3**"], ["Margherita"]),
        ("where are you?", ["12 Main Street"], ["$"]),
        ("do you have gluten free?", ["Gluten-free bases"], ["deliver"]),
        ("can I get your email?", ["[hello@bobs.example](mailto:hello@bobs.example)"], ["Margherita"]),
        ("thank you!", ["welcome"], ["$"]),
        ("bye", ["Goodbye"], ["$"]),
        ("what are you?", ["**demo model**", "`OPENAI_API_KEY`"], ["$"]),
        ("are you a bot?", ["a script, not an AI"], ["$"]),
        ("show me the embed code", ["```html", "<script async src="], []),
        ("what is the meaning of life", ["I do not know that", "**opening hours**"], ["politics"]),
        ("do you like politics?", ["I do not know that"], ["Never"]),
        ("שלום", ["שלום"], ["Hello"]),
        ("מתי אתם פתוחים?", ["הנה מה שאני יודע", "**11am**"], ["parking"]),
        ("כמה עולה פיצה?", ["מחיר", "**$12**"], ["Opening"]),
        ("מי אתה?", ["מודל ההדגמה"], ["$"]),
    ],
)
def test_a_visitor_is_answered_from_the_prompt(question: str, said: list[str], unsaid: list[str]) -> None:
    """The answer holds the facts that were asked for, in the visitor's language, and not the others."""
    answer = say(question)
    assert [part for part in said if part not in answer] == []
    assert [part for part in unsaid if part in answer] == []


def test_everything_at_once_is_a_long_answer() -> None:
    """Long enough to watch it stream, with headings, a table and lists."""
    answer = say("Tell me everything about your shop")
    assert len(answer) > 600
    assert "**Menu**" in answer
    assert "**Opening hours**" in answer


def test_instructions_are_not_recited() -> None:
    """How the model is to behave is nobody's answer."""
    assert "Never" not in say("Tell me everything about your shop")


def test_without_a_prompt_it_still_answers() -> None:
    """No system prompt, no words, no messages at all."""
    for messages in ((), (ChatMessage("user", ""),), (ChatMessage("user", "hello"),)):
        assert words(reply(ModelRequest("demo", messages, 100)))


def test_a_summary_names_what_was_asked() -> None:
    """As the small model, it sums a conversation up."""
    messages = (
        ChatMessage("system", "Summarise the conversation in three sentences."),
        ChatMessage("user", "When do you open?"),
        ChatMessage("assistant", "At 11am."),
        ChatMessage("user", "Do you deliver?"),
    )
    answer = words(reply(ModelRequest("demo", messages, 100)))
    assert "When do you open?" in answer
    assert "Do you deliver?" in answer


def test_the_same_transcript_gives_the_same_answer() -> None:
    """Deterministic, ids of tool calls included."""
    asked = request("What is the status of my order #1042?", tools=(ORDER,))
    assert reply(asked) == reply(asked)


def test_it_keeps_to_the_limit() -> None:
    """An answer cut at `max_output_tokens` says so."""
    events = reply(request("Tell me everything about your shop", limit=10))
    assert len([event for event in events if isinstance(event, TextDelta)]) == 10
    assert events[-1] == Finished("length")


def test_usage_counts_what_was_read_and_written() -> None:
    """The prompt's tokens in, the answer's tokens out."""
    usage = next(event for event in reply(request("hi")) if isinstance(event, Usage))
    assert 150 < usage.input < 250
    assert 10 < usage.output < 60


@pytest.mark.parametrize(
    ("question", "tool", "arguments"),
    [
        ("What is the status of my order #1042?", "get_order_status", {"order_id": "1042"}),
        ("Where is my order AB-77123?", "get_order_status", {"order_id": "AB-77123"}),
        (
            "Please book a table for 4 people tomorrow at 7pm",
            "book_table",
            {"people": 4, "date": "tomorrow", "time": "7pm"},
        ),
        (
            "Can you book us a table on 2026-12-24 for 12, on the terrace? jo@example.org",
            "book_table",
            {"people": 12, "date": "2026-12-24", "area": "terrace", "email": "jo@example.org"},
        ),
    ],
)
def test_a_tool_is_called_when_it_is_meant(question: str, tool: str, arguments: dict[str, object]) -> None:
    """The call streams in pieces; its arguments are those that the visitor said, and no others."""
    events = reply(request(question, tools=(ORDER, BOOK)))
    calls = [event for event in events if isinstance(event, ToolCallDelta)]
    assert calls[0].name == tool
    assert calls[0].call_id
    assert all(call.name is None and call.call_id is None for call in calls[1:])
    assert json.loads("".join(call.arguments for call in calls)) == arguments
    assert events[-1] == Finished("tool_calls")
    assert words(events) == ""


def test_it_asks_for_what_a_tool_requires() -> None:
    """An argument that was not said is asked for and never made up."""
    events = reply(request("Where is my order?", tools=(ORDER,)))
    assert "**order id**" in words(events)
    assert events[-1] == Finished("stop")


def test_no_tool_for_an_ordinary_question() -> None:
    """Tools on offer do not get in the way of facts."""
    events = reply(request("When are you open?", tools=(ORDER, BOOK)))
    assert "**11am**" in words(events)


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ('{"status": "in the oven", "minutes_left": 12}', ["**Status**: in the oven", "**Minutes left**: 12"]),
        ('{"orders": [{"id": "A1", "total": 30}, {"id": "A2", "total": 12}]}', ["I found 2", "Id: **A1**"]),
        ("[]", ["found nothing"]),
        ('{"error": "no such order"}', ["did not work", "no such order"]),
        ("Ready at 19:30", ["Ready at **19:30**"]),
        ("", ["found nothing"]),
    ],
)
def test_a_result_is_put_into_words(result: str, said: list[str]) -> None:
    """After the tool ran, its result is worded and the tool is not called again."""
    call = ToolCall("call_1", "get_order_status", '{"order_id":"1042"}')
    events = reply(
        request(
            "What is the status of my order #1042?",
            ChatMessage("assistant", "", (call,)),
            ChatMessage("tool", result, call_id="call_1"),
            tools=(ORDER,),
        )
    )
    assert [part for part in said if part not in words(events)] == []
    assert events[-1] == Finished("stop")


async def test_it_streams_at_its_pace() -> None:
    """20 tokens at 100 a second take a fifth of a second, and come one by one."""
    started = time.monotonic()
    async with DemoProvider(tokens_per_s=100).stream(request("Tell me everything", limit=20)) as batches:
        sizes = [len(batch) async for batch in batches]
    assert time.monotonic() - started >= 0.19
    assert sizes == [1] * 22  # usage and finish too


async def test_it_streams_to_many_at_once() -> None:
    """One instance serves all turns."""
    provider = DemoProvider(tokens_per_s=None)

    async def one(question: str) -> str:
        events: list[ModelEvent] = []
        async with provider.stream(request(question)) as batches:
            async for batch in batches:
                events += batch
        return words(events)

    questions = ["hi", "Do you deliver?", "where are you?"] * 5
    assert await asyncio.gather(*(one(question) for question in questions)) == [say(question) for question in questions]
    assert await provider.check() is None
    assert provider.name == "demo"
    await provider.close()


@pytest.mark.parametrize("rate", [0, -1])
def test_a_rate_must_be_possible(rate: float) -> None:
    """A pace that never ends is refused."""
    with pytest.raises(ValueError, match="tokens_per_s"):
        DemoProvider(tokens_per_s=rate)


@settings(deadline=None)
@given(st.text(max_size=300), st.text(max_size=300))
def test_any_text_is_answered(prompt: str, question: str) -> None:
    """No prompt and no question break it."""
    events = reply(
        ModelRequest("demo", (ChatMessage("system", prompt), ChatMessage("user", question)), 100, tools=(BOOK,))
    )
    assert isinstance(events[-1], Finished)


@pytest.mark.parametrize("pattern", ["-.", "a", "a ", "1", "(", "http://", "$1", "a@", "my name is ", "\n", "x:"])
def test_long_text_takes_no_time(pattern: str) -> None:
    """5,000 characters of anything are answered well within the time of a token or two."""
    text = (pattern * 5000)[:5000]
    started = time.process_time()
    reply(ModelRequest("demo", (ChatMessage("system", text), ChatMessage("user", text)), 100, tools=(BOOK, ORDER)))
    assert time.process_time() - started < 1.0
