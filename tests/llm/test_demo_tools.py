"""The demo model with the demo shops' tools on offer: which words mean which tool, and how results are told."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from server.embedded import demo_shop
from server.embedded.demo_catalogue import DEMO_ENDPOINTS, DEMO_TOOLS, DemoEndpoint, DemoTool
from server.embedded.demo_data import DEMO_CLIENTS
from server.llm.demo import reply
from server.llm.provider import (
    ChatMessage,
    Finished,
    ModelEvent,
    ModelRequest,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolSpec,
)
from server.repositories.clients import Client
from server.turns import prompt

# A Sunday, 10 in the morning in Portland.
NOW = datetime(2026, 11, 22, 18, 0, tzinfo=UTC)


def tools(slug: str) -> tuple[ToolSpec, ...]:
    endpoints = [each for each in DEMO_ENDPOINTS if each.slug == slug]
    offered: list[DemoTool | DemoEndpoint] = [*DEMO_TOOLS, *endpoints]
    return tuple(ToolSpec(each.name, each.description, each.parameters) for each in offered)


def system(slug: str) -> ChatMessage:
    """What a turn tells the model first, our own rules included."""
    demo = next(each for each in DEMO_CLIENTS if each.slug == slug)
    client = Client(
        id=1,
        name=demo.name,
        domain=demo.domain,
        allowed_origins=[],
        public_key="pk_1",
        api_key_prefix="sk_1",
        webhook_base_url=None,
        plan_type="pro",
        status="active",
        system_prompt=demo.system_prompt,
        model_config={},
        widget_config={},
        locale=demo.locale,
        timezone=demo.timezone,
        created_at=NOW,
        version=1,
        monthly_messages=None,
        requests_per_minute=60,
    )
    return ChatMessage("system", prompt.system(client, locale="en", at=NOW, tools=True))


def request(slug: str, *said: ChatMessage, **more: Any) -> ModelRequest:
    return ModelRequest("demo", (system(slug), *said), 500, tools=tools(slug), **more)


def words(events: list[ModelEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def calls(events: list[ModelEvent]) -> list[tuple[str, dict[str, Any]]]:
    """Names and arguments, put together from their pieces."""
    pieces: dict[int, list[ToolCallDelta]] = {}
    for event in events:
        if isinstance(event, ToolCallDelta):
            pieces.setdefault(event.index, []).append(event)
    return [
        (parts[0].name or "", json.loads("".join(each.arguments for each in parts)))
        for _, parts in sorted(pieces.items())
    ]


def ask(slug: str, question: str) -> list[ModelEvent]:
    return reply(request(slug, ChatMessage("user", question)))


def tell(slug: str, question: str, *results: Any) -> str:
    """What it says after its tools answered."""
    made = [ToolCall(f"call_{no}", name, "{}") for no, (name, _) in enumerate(calls(ask(slug, question)))]
    assert len(made) == len(results)
    answered = [
        ChatMessage("tool", each if isinstance(each, str) else json.dumps(each), call_id=f"call_{no}")
        for no, each in enumerate(results)
    ]
    events = reply(request(slug, ChatMessage("user", question), ChatMessage("assistant", "", tuple(made)), *answered))
    assert events[-1] == Finished("stop")
    return words(events)


@pytest.mark.parametrize(
    ("slug", "question", "expected"),
    [
        ("pizza", "Where is order 12345?", [("get_order_status", {"order_id": "12345"})]),
        ("pizza", "What happened to my order #12346?", [("get_order_status", {"order_id": "12346"})]),
        ("bakery", "Is my order 12345 ready?", [("get_order_status", {"order_id": "12345"})]),
        ("pizza", "איפה ההזמנה 12345?", [("get_order_status", {"order_id": "12345"})]),
        ("pizza", "Do you have pepperoni pizza?", [("find_pizza", {"query": "pepperoni pizza"})]),
        ("pizza", "Hi, do you still have any cannoli today?", [("find_pizza", {"query": "cannoli"})]),
        ("pizza", "Do you have sushi?", [("find_pizza", {"query": "sushi"})]),
        ("pizza", "יש לכם Margherita?", [("find_pizza", {"query": "Margherita"})]),
        ("bakery", "Do you have croissants today?", [("find_bakes", {"query": "croissants"})]),
        ("pizza", "How many tiramisu are left?", [("check_inventory", {"product": "tiramisu"})]),
        ("pizza", "Is the tiramisu sold out?", [("check_inventory", {"product": "tiramisu"})]),
        (
            "pizza",
            "Tell me about the Hot Honey Soppressata",
            [("get_product_info", {"product": "Hot Honey Soppressata"})],
        ),
        ("pizza", "What is in the Four Cheese?", [("get_product_info", {"product": "Four Cheese"})]),
        ("pizza", "Book a table", [("book_appointment", {})]),
        (
            "pizza",
            "Book a table for two tomorrow at 7 pm under the name Ana",
            [("book_appointment", {"date": "tomorrow", "time": "7 pm", "party_size": 2, "name": "Ana"})],
        ),
        (
            "pizza",
            "I'd like a table for 4 on Friday at 19:30, my name is Dana Lee please",
            [("book_appointment", {"date": "Friday", "time": "19:30", "party_size": 4, "name": "Dana Lee"})],
        ),
        ("bakery", "Book a cake tasting", [("book_appointment", {})]),
        (
            "pizza",
            "להזמין שולחן לשניים מחר ב-19:00",
            [("book_appointment", {"date": "מחר", "time": "19:00", "party_size": 2})],
        ),
        (
            "pizza",
            "Where is order 12345? And do you have pepperoni pizza?",
            [("get_order_status", {"order_id": "12345"}), ("find_pizza", {"query": "pepperoni pizza"})],
        ),
    ],
)
def test_words_that_mean_a_tool_call_it(slug: str, question: str, expected: list[tuple[str, dict[str, Any]]]) -> None:
    """With what was said and nothing else; two questions are two calls in one step."""
    events = ask(slug, question)
    assert calls(events) == expected
    assert events[-1] == Finished("tool_calls")
    assert words(events) == ""


@pytest.mark.parametrize(
    ("slug", "question", "said"),
    [
        ("pizza", "When are you open on Sunday?", "Sunday we are open from noon to 9 pm"),
        ("pizza", "How much is delivery?", "Delivery costs $4 up to 3 miles"),
        ("pizza", "Do you deliver to the Pearl District?", "Pearl District"),
        ("pizza", "What pizzas are on the menu?", "Hot Honey Soppressata"),
        ("pizza", "Which pizzas are vegan?", "Marinara as it is"),
        ("pizza", "How much is a Margherita?", "$16"),
        ("pizza", "What's the minimum order?", "$20"),
        ("pizza", "Can I get a refund for my order?", "refund the full price"),
        ("pizza", "Do I need to book a table?", "Walk in any time"),
        ("pizza", "Do you have parking?", "Parking is free"),
        ("pizza", "Do you have gift cards?", "never expire"),
        ("pizza", "Do you offer catering?", "$15 a person"),
        ("pizza", "What is your phone number?", "(503) 555-0142"),
        ("pizza", "Tell me about your shop", "started this family business"),
        ("pizza", "hello", "welcome to Bob's Pizza Shop"),
        ("bakery", "Which celebration cakes do you make?", "Victoria Sponge"),
        ("bakery", "How far ahead do I order a wedding cake?", "6 weeks ahead"),
        ("bakery", "How much is a wedding cake tasting?", "$40"),
        ("bakery", "Do you have a baking class?", "$85"),
        ("bakery", "Do you make wedding cakes?", "$7 a guest"),
        ("bakery", "What contains nuts?", "Almond Croissant"),
    ],
)
def test_what_the_facts_answer_needs_no_tool(slug: str, question: str, said: str) -> None:
    """Tools on offer do not get in the way."""
    events = ask(slug, question)
    assert calls(events) == []
    assert said in words(events).replace("**", "")


def test_our_own_rules_are_no_facts() -> None:
    """What we tell a model about tools and manners is nobody's answer."""
    everything = words(reply(request("pizza", ChatMessage("user", "Tell me everything about your shop"))))
    for word in ("tool", "result", "instruction", "Markdown", "stranger"):
        assert word not in everything


def test_a_number_that_is_asked_for_completes_the_question() -> None:
    """ "Where is my order?", "which one?", "12345": that is one question."""
    asked = ask("pizza", "Where is my order?")
    assert "**order id**" in words(asked)
    events = reply(
        request(
            "pizza",
            ChatMessage("user", "Where is my order?"),
            ChatMessage("assistant", words(asked)),
            ChatMessage("user", "12345"),
        )
    )
    assert calls(events) == [("get_order_status", {"order_id": "12345"})]


def test_no_calls_where_none_may_be_made() -> None:
    """After its last step a model gets its tools to read, not to use."""
    events = reply(request("pizza", ChatMessage("user", "Where is order 12345?"), tool_choice="none"))
    assert calls(events) == []
    assert events[-1] == Finished("stop")


def test_the_ids_of_calls_differ() -> None:
    """Of two calls of a step, and of the same words at another time."""
    first = ask("pizza", "Where is order 12345? And do you have pepperoni pizza?")
    ids = [event.call_id for event in first if isinstance(event, ToolCallDelta) and event.call_id]
    assert len(set(ids)) == 2


@pytest.mark.parametrize(
    ("question", "arguments", "said"),
    [
        ("Where is order 12345?", {"order_id": "12345"}, ["out for delivery", "12 minutes", "1 x Pepperoni", "$30"]),
        ("Where is order 12347?", {"order_id": "12347"}, ["ready for pickup", "$15"]),
        ("Where is order 99999?", {"order_id": "99999"}, ["no order **99999**"]),
        ("איפה ההזמנה 12345?", {"order_id": "12345"}, ["בדרך אליך", "12 דקות"]),
    ],
)
def test_an_order_is_told_in_a_sentence(question: str, arguments: dict[str, str], said: list[str]) -> None:
    """Where it is, how long it takes, what is in it."""
    result = demo_shop.get_order_status(demo_shop.SHOPS["pizza"], arguments, "k", NOW)
    answer = tell("pizza", question, result)
    assert [part for part in said if part not in answer] == []


@pytest.mark.parametrize(
    ("question", "query", "said"),
    [
        ("Do you have pepperoni pizza?", "pepperoni pizza", ["Yes!", "**Pepperoni**", "**$18**", "14 left"]),
        ("Do you have cannoli?", "cannoli", ["**Cannoli**", "**sold out**"]),
        ("Do you have vegan pizzas?", "vegan pizzas", ["| Marinara | **$15** | yes |", "| Available |"]),
        ("Do you have sushi?", "sushi", ["found nothing"]),
        ("יש לכם pepperoni?", "pepperoni", ["כן!", "**$18**"]),
    ],
)
def test_live_data_is_told_with_price_and_stock(question: str, query: str, said: list[str]) -> None:
    """One thing in a sentence, several in a table, nothing as nothing."""
    answer = tell("pizza", question, demo_shop.live(demo_shop.SHOPS["pizza"], query))
    assert [part for part in said if part not in answer] == []


def test_stock_and_details_are_told() -> None:
    """Of the two tools that speak of products."""
    shop = demo_shop.SHOPS["pizza"]
    stock = demo_shop.check_inventory(shop, {"product": "tiramisu"}, "k", NOW)
    assert "**Tiramisu**: 3 in stock" in tell("pizza", "How many tiramisu are left?", stock)
    info = demo_shop.get_product_info(shop, {"product": "four cheese"}, "k", NOW)
    told = tell("pizza", "What is in the Four Cheese?", info)
    assert "gorgonzola" in told
    assert "wheat and milk" in told


def test_where_a_look_up_finds_nothing_the_facts_may_help() -> None:
    """As the live system says it, and with what the shop wrote about itself."""
    answer = tell(
        "pizza", "Do you have Tiramisu?", "The business's system was asked and has nothing that matches this."
    )
    assert "found nothing" in answer
    assert "Tiramisu: **$8**" in answer


@pytest.mark.parametrize(
    ("question", "arguments", "said"),
    [
        (
            "Book a table",
            {},
            ["table for **2**", "**Tuesday, 24 November** at **7 pm**", "BK-", "You did not say the day, the time and"],
        ),
        (
            "Book a table for 4 on Friday at 8:30 pm under the name Ana",
            {"date": "Friday", "time": "8:30 pm", "party_size": 4, "name": "Ana"},
            ["table for **4**", "**Friday, 27 November** at **8:30 pm**, under the name **Ana**"],
        ),
        ("Book a table tomorrow", {"date": "tomorrow"}, ["could not book", "closed on Monday"]),
        ("להזמין שולחן", {}, ["שולחן", "שלישי", "19:00", "BK-"]),
    ],
)
def test_a_booking_is_told_with_day_and_time(question: str, arguments: dict[str, Any], said: list[str]) -> None:
    """What was assumed is said, and what could not be booked has its reason."""
    result = demo_shop.book_appointment(demo_shop.SHOPS["pizza"], arguments, "k", NOW)
    answer = tell("pizza", question, result)
    assert [part for part in said if part not in answer] == []


@pytest.mark.parametrize(
    ("error", "said", "unsaid"),
    [
        (
            "the business's system did not answer in time; this cannot be checked now: say so honestly, do not guess",
            ["did not answer in time.", "could not check", "(503) 555-0142"],
            ["honestly"],
        ),
        (
            "the business's system had an error; it is not known whether it was done, so do not try again, and say that"
            " it has to be checked",
            ["had an error.", "not certain whether it was done"],
            ["try again", "could not check"],
        ),
        ("the visitor declined, so it was not done", ["have not booked"], ["sorry", "could not"]),
        ("the visitor did not answer in time, so it was not done", ["done nothing without it"], ["sorry"]),
    ],
)
def test_a_failure_is_told_honestly(error: str, said: list[str], unsaid: list[str]) -> None:
    """In words for people: what was for the model's ears alone is left out, and there is another way to ask."""
    answer = tell("pizza", "Book a table", {"error": error})
    assert [part for part in said if part not in answer] == []
    assert [part for part in unsaid if part in answer] == []


def test_two_results_are_told_both() -> None:
    """In the order of the questions."""
    shop = demo_shop.SHOPS["pizza"]
    order = demo_shop.get_order_status(shop, {"order_id": "12345"}, "k", NOW)
    answer = tell(
        "pizza",
        "Where is order 12345? And do you have pepperoni pizza?",
        order,
        {"error": "the business's system cannot be reached right now"},
    )
    assert answer.index("out for delivery") < answer.index("cannot be reached")


@pytest.mark.parametrize(
    "result",
    [
        '{"order_id": null, "status": "x", "items": [1], "total": []}',
        '{"order_id": {"a": 1}, "found": false}',
        '{"booked": true}',
        '{"booked": true, "date": "x", "assumed": null, "kind": 5}',
        '{"booked": true, "date": 5, "time": null, "party_size": {}, "assumed": [1, {}]}',
        '{"booked": false}',
        '{"booked": true, "assumed": null, "name": 7}',
        '{"products": [{"name": "a", "in_stock": 1, "price": "x", "quantity_left": []}]}',
        '[{"name": "a", "price": null}, {"name": "b|c", "price": true, "in_stock": null}]',
        '[{"name": "a", "about": 3, "contains": []}]',
        '[{"name": "a", "about": 3, "contains": [[]]}]',
        '{"error": {"message": "no"}}',
        "[[[]]]",
        "null",
        "1e999",
    ],
)
def test_any_shape_is_told(result: str) -> None:
    """Other systems answer in shapes of their own."""
    assert tell("pizza", "Where is order 12345?", result)
