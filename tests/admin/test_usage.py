"""What was used, over HTTP: days, clients, tools, limits, and the same as CSV."""

import csv
import io
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest

from server.admin import usage_export
from server.admin.usage_export import COLUMNS, plain
from server.repositories import usage
from server.repositories.pool import unit_of_work
from tests.admin.console import BASE, Console
from tests.flows.support import Desk, Shop
from tests.staffing import hire

NEEDS = {
    f"GET {BASE}/usage": "admin",
    f"GET {BASE}/usage/clients": "admin",
    f"GET {BASE}/usage/tools": "admin",
    f"GET {BASE}/usage.csv": "admin",
    f"GET {BASE}/clients/{{client_id}}/limits": "admin",
}
MAY = {"from": "2031-05-01", "to": "2031-05-31"}
ZERO = {
    "conversations": 0,
    "messages": 0,
    "tokens_input": 0,
    "tokens_output": 0,
    "tool_calls": 0,
    "cached_answers": 0,
    "cost": "0",
}


async def use(desk: Desk, shop: Shop, day: date, messages: int) -> None:
    """Usage of a day."""
    async with unit_of_work(desk.pool) as conn:
        await usage.record(
            conn,
            client_id=shop.id,
            day=day,
            conversations=1,
            messages=messages,
            tokens_input=100,
            tokens_output=10,
            tool_calls=3,
            cached_answers=2,
            cost=Decimal("0.0000000001") * messages,
        )


async def call(desk: Desk, shop: Shop, tool: str, *, success: bool, ms: int, at: datetime) -> None:
    """A call of a tool, as a row of its own conversation and turn."""
    await desk.rows(
        """
        with c as (
            insert into conversations (public_id, client_id, session_id, session_token_hash, channel, locale, epoch)
            values (gen_random_uuid(), %s, gen_random_uuid(), decode(md5(random()::text), 'hex'), 'api', 'en', 'e')
            returning id, client_id
        ), m as (
            insert into messages (public_id, client_id, conversation_id, role, seq)
            select gen_random_uuid(), client_id, id, 'user', 1 from c returning id, client_id, conversation_id
        ), t as (
            insert into turns (public_id, client_id, conversation_id, message_id, answer_id, status)
            select gen_random_uuid(), client_id, conversation_id, id, 'a', 'done' from m
            returning id, client_id, conversation_id
        )
        insert into tool_executions (client_id, conversation_id, turn_id, call_id, tool_name, parameters, success,
                                     execution_time_ms, timestamp)
        select client_id, conversation_id, id, 'call', %s, '{}', %s, %s, %s from t
        """,
        shop.id,
        tool,
        success,
        ms,
        at,
    )


async def ask(console: Console, path: str, **query: Any) -> httpx.Response:
    """A GET with a query; `from_` stands for `from`."""
    return await console.http.get(
        BASE + path, params={name.rstrip("_"): value for name, value in query.items() if value is not None}
    )


@pytest.fixture
async def pizza(desk: Desk) -> Shop:
    """A client with two days of use."""
    shop = await desk.shop("pizza")
    await use(desk, shop, date(2031, 5, 2), 20)
    await use(desk, shop, date(2031, 5, 4), 40)
    await use(desk, shop, date(2031, 6, 1), 80)
    return shop


@pytest.fixture
async def bakery(desk: Desk) -> Shop:
    """Another one, with one of the same days."""
    shop = await desk.shop("=HYPERLINK(bakery)")
    await use(desk, shop, date(2031, 5, 4), 2)
    return shop


@pytest.fixture
async def own(desk: Desk, pizza: Shop) -> AsyncIterator[Console]:
    """The admin of pizza alone."""
    async with Console.of(desk.url) as console:
        await console.sign_in(await hire(desk.pool, desk.keyring, role="admin", client_id=pizza.id))
        yield console


async def test_every_day_is_there(console: Console, pizza: Shop, bakery: Shop) -> None:
    """A row for each day of the period, zeros where nothing was used; sums beside them; of one client and of all."""
    one = (await ask(console, "/usage", client_id=pizza.id, **MAY)).json()
    assert (one["client_id"], one["from"], one["to"], one["timezone"]) == (pizza.id, *MAY.values(), "UTC")
    assert [day["date"] for day in one["days"]] == [f"2031-05-{day:02}" for day in range(1, 32)]
    assert one["days"][0] == {"date": "2031-05-01", **ZERO}
    assert {**one["days"][3], "cost": Decimal(one["days"][3]["cost"])} == {
        "date": "2031-05-04",
        "conversations": 1,
        "messages": 40,
        "tokens_input": 100,
        "tokens_output": 10,
        "tool_calls": 3,
        "cached_answers": 2,
        "cost": Decimal("0.000000004"),
    }
    assert (one["totals"]["messages"], Decimal(one["totals"]["cost"])) == (60, Decimal("0.000000006"))
    both = (await ask(console, "/usage", **MAY)).json()
    assert both["client_id"] is None
    assert [day["messages"] for day in both["days"] if day["messages"]] == [20, 42]
    assert both["totals"]["messages"] == 62
    none = (await ask(console, "/usage", client_id=bakery.id, from_="2030-02-28", to="2030-03-01")).json()
    assert [day["date"] for day in none["days"]] == ["2030-02-28", "2030-03-01"]
    assert none["totals"] == ZERO


async def test_who_serves_one_client_sees_that_one(own: Console, pizza: Shop, bakery: Shop) -> None:
    """Without a client named too; another one's is a client that is not there."""
    told = (await ask(own, "/usage", **MAY)).json()
    assert (told["client_id"], told["totals"]["messages"]) == (pizza.id, 60)
    rows = (await ask(own, "/usage/clients", **MAY)).json()["rows"]
    assert [row["client_id"] for row in rows] == [pizza.id]
    for path in ("/usage", "/usage/tools", "/usage.csv"):
        for client_id in (bakery.id, 999_999):
            answer = await ask(own, path, client_id=client_id, **MAY)
            assert (answer.status_code, answer.json()["error"]["message"]) == (404, "there is no such client")
    text = (await ask(own, "/usage.csv", **MAY)).text
    assert "HYPERLINK" not in text and text.count("\r\n") == 3


async def test_an_unknown_client_is_not_there(console: Console) -> None:
    """Nobody's figures are not zeros."""
    for path in ("/usage", "/usage/tools", "/usage.csv"):
        assert (await ask(console, path, client_id=999_999, **MAY)).status_code == 404
    assert (await console.http.get(f"{BASE}/clients/999999/limits")).status_code == 404


@pytest.mark.parametrize("path", ["/usage", "/usage/clients", "/usage/tools", "/usage.csv"])
async def test_a_wrong_period(console: Console, path: str) -> None:
    """Refused with the parameter's name; 366 days are the most."""
    wrong: list[tuple[dict[str, str], str]] = [
        ({"to": "2031-05-31"}, "from"),
        ({"from": "2031-05-31"}, "to"),
        ({"from": "yesterday", "to": "2031-05-31"}, "from"),
        ({"from": "2031-02-30", "to": "2031-05-31"}, "from"),
        ({"from": "2031-06-01", "to": "2031-05-31"}, "from"),
        ({"from": "2030-05-30", "to": "2031-05-31"}, "from"),
        ({"from": "9999-12-31", "to": "9999-12-31"}, "to"),
        ({**MAY, "day": "1"}, "day"),
    ]
    for query, field in wrong:
        answer = await console.http.get(BASE + path, params=query)
        assert (answer.status_code, answer.json()["error"]["field"]) == (422, field), answer.text
    year = await ask(console, path, from_="2030-05-31", to="2031-05-31")
    assert year.status_code == 200


async def test_clients_by_cost(console: Console, pizza: Shop, bakery: Shop, desk: Desk) -> None:
    """The dearest first, those without use at the end, with what their plan allows."""
    idle = await desk.shop("idle", plan_type="free")
    rows = (await ask(console, "/usage/clients", **MAY)).json()["rows"]
    assert [row["client_id"] for row in rows] == [pizza.id, bakery.id, idle.id]
    assert rows[0]["used"]["messages"] == 60
    assert rows[2] == {
        "client_id": idle.id,
        "name": "idle",
        "status": "active",
        "plan": "free",
        "monthly_messages": 1000,
        "used": ZERO,
    }


async def test_tools_by_calls(console: Console, desk: Desk, pizza: Shop, bakery: Shop) -> None:
    """Rates and times; days are UTC's, to the last moment; as many as were asked for."""
    last = datetime(2031, 5, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    for number in range(3):
        await call(desk, pizza, "find", success=number > 0, ms=100 * number, at=last)
    await call(desk, pizza, "find", success=True, ms=1, at=last + timedelta(microseconds=1))
    await call(desk, bakery, "pay", success=True, ms=7, at=datetime(2031, 5, 1, tzinfo=UTC))
    one = (await ask(console, "/usage/tools", client_id=pizza.id, **MAY)).json()
    assert (one["kept_days"], one["client_id"]) == (90, pizza.id)
    [row] = one["rows"]
    assert row == {
        "name": "find",
        "calls": 3,
        "succeeded": 2,
        "failed": 1,
        "refused": 0,
        "unknown": 0,
        "failure_rate": pytest.approx(1 / 3),
        "p50_ms": pytest.approx(100, rel=0.06),
        "p95_ms": pytest.approx(200, rel=0.06),
    }
    every = (await ask(console, "/usage/tools", **MAY)).json()["rows"]
    assert [row["name"] for row in every] == ["find", "pay"]
    assert len((await ask(console, "/usage/tools", limit=1, **MAY)).json()["rows"]) == 1
    for limit in (0, 101, "many"):
        answer = await ask(console, "/usage/tools", limit=limit, **MAY)
        assert (answer.status_code, answer.json()["error"]["field"]) == (422, "limit")


@pytest.mark.parametrize("days", [1, 3, 14])
async def test_the_csv(console: Console, pizza: Shop, bakery: Shop, monkeypatch: pytest.MonkeyPatch, days: int) -> None:
    """Every day with use, of all clients, some days at a time; a name that is a formula is none any more."""
    monkeypatch.setattr(usage_export, "DAYS", days)
    answer = await ask(console, "/usage.csv", **MAY)
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="usage-2031-05-01-2031-05-31.csv"'
    head, *rows = csv.reader(io.StringIO(answer.text, newline=""))
    assert tuple(head) == COLUMNS
    assert rows == [
        ["2031-05-02", f"{pizza.id}", "pizza", "1", "20", "100", "10", "3", "2", "0.0000000020"],
        ["2031-05-04", f"{pizza.id}", "pizza", "1", "40", "100", "10", "3", "2", "0.0000000040"],
        ["2031-05-04", f"{bakery.id}", "'=HYPERLINK(bakery)", "1", "2", "100", "10", "3", "2", "0.0000000002"],
    ]
    own = await ask(console, "/usage.csv", client_id=bakery.id, **MAY)
    assert own.text.count("\r\n") == 2
    assert f"usage-{bakery.id}-2031" in own.headers["content-disposition"]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\r=1", "  =1", "\uff1d1", "\uff20x"])
def test_formulas(text: str) -> None:
    """Whatever a spreadsheet may run begins with an apostrophe."""
    assert plain(text) == f"'{text}"


@pytest.mark.parametrize("text", ["Pizza", "A=B", "Bread & Butter", "1 - 2", "", "\u05e4\u05d9\u05e6\u05d4"])
def test_names_that_are_names(text: str) -> None:
    """Stay as they are."""
    assert plain(text) == text


async def test_limits(console: Console, desk: Desk) -> None:
    """Each with its unit, what is used, and when it begins anew."""
    shop = await desk.shop()
    await use(desk, shop, datetime.now(UTC).date(), 7)
    answer = (await console.http.get(f"{BASE}/clients/{shop.id}/limits")).json()
    assert (answer["client_id"], answer["plan"]) == (shop.id, "pro")
    month = answer["rows"][0]
    assert (month["name"], month["unit"], month["value"], month["limit"]) == ("messages_month", "messages", 7, 100_000)
    assert datetime.fromisoformat(month["resets_at"]) > datetime.now(UTC)
    assert {row["per"] for row in answer["rows"]} == {"client", "visitor", "address", "instance"}
