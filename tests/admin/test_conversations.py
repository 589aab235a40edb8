"""The inbox by pages, one conversation's head, and what was said in it."""

from typing import Any

import pytest

from server.protocol.visitor import FeedbackGive, FeedbackRecorded, MessageCompleted
from server.repositories import conversations, visitors
from server.repositories.pool import reading
from tests.admin.console import BASE, Console
from tests.admin.talking import get, refused, signed_in, talk
from tests.flows.support import Desk
from tests.repositories.world import soon
from tests.wire_servers import Answer, WireServer

NEEDS = {
    f"GET {BASE}/conversations": "operator",
    f"GET {BASE}/conversations/{{conversation_id}}": "operator",
    f"GET {BASE}/conversations/{{conversation_id}}/messages": "operator",
}
NOBODYS = "cnv_00000000000000000000000000"


def shown(page: dict[str, Any]) -> list[str]:
    """The conversations of a page."""
    return [row["conversation_id"] for row in page["rows"]]


async def test_a_conversation_that_was_had(desk: Desk, console: Console, model: WireServer) -> None:
    """As its visitor had it: the row, the head with what it cost, each message with its tokens and rating."""
    shop = await desk.shop("pizza")
    model.script(Answer("Until nine.", usage=(1000, 200, 0)))
    async with desk.visit(shop, locale="de") as (tab, welcome):
        await tab.say("How long are you open?")
        end = await tab.end()
        assert isinstance(end, MessageCompleted)
        answer_id = end.message.id
        await tab.send(FeedbackGive(message_id=answer_id, rating="up", comment="Quick!"))
        await tab.next(FeedbackRecorded)
    at = welcome.conversation_id
    [row] = (await get(console, "/conversations"))["rows"]
    assert (row["conversation_id"], row["client_id"], row["owner"], row["channel"]) == (at, shop.id, "ai", "widget")
    assert (row["preview"], row["preview_role"], row["message_count"]) == ("Until nine.", "assistant", 2)
    assert (row["operator"], row["waiting_since"], row["visitor_name"], row["rating"]) == (None, None, None, "up")
    head = await get(console, f"/conversations/{at}")
    assert head["client"] == {"id": shop.id, "name": "pizza", "domain": "pizza.example"}
    assert (head["conversation_id"], head["locale"], head["visitor"], head["ended_at"]) == (at, "de", None, None)
    totals = head["totals"]
    assert (totals["messages"], totals["tokens_input"], totals["tokens_output"]) == (2, 1000, 200)
    assert totals["cost"] == row["cost"] and float(row["cost"]) > 0
    page = await get(console, f"/conversations/{at}/messages")
    question, answer = page["rows"]
    assert page["before"] is None
    assert (question["message"]["text"], question["message"]["role"]) == ("How long are you open?", "user")
    assert (question["rating_comment"], question["removed"], question["tokens_input"]) == (None, False, 0)
    assert (answer["message"]["id"], answer["message"]["rating"]) == (answer_id, "up")
    assert (answer["rating_comment"], answer["tokens_input"], answer["tokens_output"]) == ("Quick!", 1000, 200)
    assert answer["cost"] == row["cost"] and answer["seq"] == end.seq


async def test_the_visitor(desk: Desk, console: Console) -> None:
    """Whom the client's backend vouched for is named in the row and in the head."""
    shop = await desk.shop()
    made = await talk(desk, shop, "Hello")
    async with reading(desk.pool) as conn:
        ann = await visitors.verify(conn, client_id=shop.id, external_id="c7", name="Ann", email="ann@x.example")
        assert await conversations.verify(
            conn, client_id=shop.id, conversation_id=made.id, visitor_id=ann.id, verified_until=soon()
        )
    [row] = (await get(console, "/conversations", q="ann@x"))["rows"]
    assert row["visitor_name"] == "Ann"
    visitor = (await get(console, f"/conversations/{made.public_id}"))["visitor"]
    assert (visitor["external_id"], visitor["name"], visitor["email"]) == ("c7", "Ann", "ann@x.example")
    assert visitor["verified_until"] is not None


async def test_pages_and_filters(desk: Desk, console: Console) -> None:
    """Newest activity first, page by page, by each filter and all of them together."""
    pizza, bakery = await desk.shop(), await desk.shop()
    made = [
        (
            await talk(
                desk, (pizza, bakery)[day % 2], f"Question {day} about {('olives', 'bread')[day % 3 > 0]}", day=day
            )
        )
        for day in range(1, 10)
    ]
    newest_first = [each.public_id for each in reversed(made)]
    assert shown(await get(console, "/conversations")) == newest_first
    seen: list[str] = []
    before: dict[str, str] = {}
    while True:
        page = await get(console, "/conversations", limit=2, **before)
        seen += shown(page)
        if page["before"] is None:
            break
        before = {"before": page["before"]}
    assert seen == newest_first
    await desk.rows(
        "update conversations set owner = 'closed', rating = 'down' where public_id = any(%s)", newest_first[:4]
    )
    await desk.rows("update conversations set waiting_since = now() where public_id = any(%s)", newest_first[2:6])
    olives = [each.public_id for day, each in reversed([*enumerate(made, 1)]) if day % 3 == 0]
    of_pizza = [each.public_id for each in reversed(made) if each.client_id == pizza.id]
    for asked, expected in (
        ({"owner": "closed"}, newest_first[:4]),
        ({"rating": "down", "waiting": "true"}, newest_first[2:4]),
        ({"waiting": "false", "owner": "ai"}, newest_first[6:]),
        ({"q": "olives"}, olives),
        ({"client_id": pizza.id}, of_pizza),
        ({"client_id": pizza.id, "q": "question olives"}, [each for each in of_pizza if each in olives]),
        ({"owner": "closed", "q": "olives"}, [each for each in olives if each in newest_first[:4]]),
        ({"q": "nothing like it"}, []),
        ({"rating": "up"}, []),
    ):
        assert shown(await get(console, "/conversations", **asked)) == expected, asked
        page = await get(console, "/conversations", **asked, limit=1)
        assert shown(page) == expected[:1] and (page["before"] is not None) == (len(expected) > 1), asked


async def test_messages_by_pages(desk: Desk, console: Console) -> None:
    """Oldest first, backwards by the first message of a page; what retention took is said to be gone."""
    shop = await desk.shop()
    made = await talk(desk, shop, *(f"text {number}" for number in range(5)))
    path = f"/conversations/{made.public_id}/messages"
    last = await get(console, path, limit=2)
    assert [row["message"]["text"] for row in last["rows"]] == ["text 3", "text 4"]
    assert last["before"] == last["rows"][0]["message"]["id"]
    middle = await get(console, path, limit=2, before=last["before"])
    first = await get(console, path, limit=2, before=middle["before"])
    assert [row["message"]["text"] for row in [*first["rows"], *middle["rows"]]] == ["text 0", "text 1", "text 2"]
    assert first["before"] is None
    assert await get(console, path, before="msg_of_nobody") == {"rows": [], "before": None}
    await desk.rows("update messages set content = null where conversation_id = %s", made.id)
    gone = await get(console, path)
    assert {(row["removed"], row["message"]["text"]) for row in gone["rows"]} == {(True, "")}


async def test_a_page_of_long_messages_ends_early(desk: Desk, console: Console) -> None:
    """256 KB of text and the message that passes it; the rest is on the page before."""
    shop = await desk.shop()
    made = await talk(desk, shop, *("x" * 100_000 for _ in range(5)))
    path = f"/conversations/{made.public_id}/messages"
    page = await get(console, path)
    assert len(page["rows"]) == 3
    rest = await get(console, path, before=page["before"])
    assert len(rest["rows"]) == 2 and rest["before"] is None


async def test_another_clients(desk: Desk) -> None:
    """Staff of one client sees nothing of another's: the same answer as for what never was."""
    pizza, bakery = await desk.shop(), await desk.shop()
    mine, theirs = await talk(desk, pizza, "olives"), await talk(desk, bakery, "olives")
    async with signed_in(desk, pizza) as console:
        for asked in ({}, {"client_id": pizza.id}, {"q": "olives"}, {"owner": "ai"}):
            assert shown(await get(console, "/conversations", **asked)) == [mine.public_id]
        for client_id in (bakery.id, 999_999):
            assert await refused(console, "/conversations", client_id=client_id) == (404, "not_found", None)
        for path in ("", "/messages"):
            for public_id in (theirs.public_id, NOBODYS, "nonsense", "%00"):
                assert await refused(console, f"/conversations/{public_id}{path}") == (
                    404,
                    "not_found",
                    "conversation_id",
                )


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        *[({"limit": each}, "limit") for each in ("0", "101", "-1", "x", "1.5", "")],
        *[({"client_id": each}, "client_id") for each in ("0", "-1", "x", str(2**64))],
        *[({"owner": each}, "owner") for each in ("", "AI", "nobody")],
        ({"rating": "good"}, "rating"),
        ({"waiting": "perhaps"}, "waiting"),
        *[({"q": each}, "q") for each in ("", "x" * 201, "?!", "a\0b", "   ")],
        *[
            ({"before": each}, "before")
            for each in ("", "x", "é", "MTIzNDU2", "MS4y.", "OTk5OTk5OTk5OTk5OTk5OTk5OTkuMQ", "x" * 101)
        ],
        ({"page": "2"}, "page"),
    ],
)
async def test_bad_questions(console: Console, asked: dict[str, str], field: str) -> None:
    """Each names the parameter that is wrong."""
    status, _, named = await refused(console, "/conversations", **asked)
    assert (status, named) == (422, field)


async def test_bad_questions_about_messages(desk: Desk, console: Console) -> None:
    """The same of a transcript."""
    made = await talk(desk, await desk.shop(), "Hello")
    path = f"/conversations/{made.public_id}/messages"
    for asked, field in (({"limit": "0"}, "limit"), ({"before": "x" * 65}, "before"), ({"q": "x"}, "q")):
        assert (await refused(console, path, **asked))[::2] == (422, field)
