"""Events: the bytes stored are the bytes sent."""

from typing import Any

import pytest

from server import errors
from server.repositories import events
from server.repositories.events import Event, NewEvent
from server.repositories.pool import Pool, reading, unit_of_work
from tests.repositories.conftest import Shop

PAYLOADS = [
    b'{"type":"x", "b":1,"a":2,"a":3}',  # order, spaces and even doubled keys stay
    '{"text":"שלום 🍕 \\u0000 \\ud83c\\udf55"}'.encode(),  # escapes stay escapes, a NUL among them
    b'{"n":1.0000,"e":1E3}',
    b'{"text":"' + b"x" * 300_000 + b'"}',
]


def _new(seq: int, payload: bytes) -> NewEvent:
    return NewEvent(seq, "message.created", payload, None, None)


async def test_payloads_come_back_to_the_byte(pool: Pool, pizza: Shop) -> None:
    """Whatever JSON was appended is read as it was, in order, from any point."""
    where: dict[str, Any] = {"client_id": pizza.id, "conversation_id": pizza.cnv}
    async with unit_of_work(pool) as conn:
        assert await events.head(conn, **where) == 0
        await events.append(conn, **where, events=[_new(1, PAYLOADS[0]), _new(2, PAYLOADS[1])])
        await events.append(conn, **where, events=[_new(3, PAYLOADS[2]), _new(4, PAYLOADS[3])])
        await events.append(conn, **where, events=[])
    async with reading(pool) as conn:
        assert await events.head(conn, **where) == 4
        stored = await events.after(conn, **where, seq=0, limit=10)
        assert stored == [Event(n + 1, "message.created", payload) for n, payload in enumerate(PAYLOADS)]
        assert [event.seq for event in await events.after(conn, **where, seq=1, limit=2)] == [2, 3]
        assert await events.after(conn, **where, seq=4, limit=10) == []


async def test_a_number_is_taken_once(pool: Pool, pizza: Shop) -> None:
    """A second event of the same seq takes the whole append with it."""
    where: dict[str, Any] = {"client_id": pizza.id, "conversation_id": pizza.cnv}
    async with unit_of_work(pool) as conn:
        await events.append(conn, **where, events=[_new(1, b"{}")])
    with pytest.raises(errors.Conflict) as caught:
        async with unit_of_work(pool) as conn:
            await events.append(conn, **where, events=[_new(2, b"{}"), _new(1, b"{}")])
    assert caught.value.code == "seq_taken"
    async with reading(pool) as conn:
        assert await events.head(conn, **where) == 1
