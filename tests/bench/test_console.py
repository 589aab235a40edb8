"""The benchmark of the console works: its data is what it says, and each case is answered. Nothing is timed here."""

import pytest

from bench import console
from bench.console import Found
from bench.console_data import Size


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> console.Result:
    """A small run, served as the large one is."""
    return console.run(Size(conversations=380, clients=3), 2, tmp_path_factory.mktemp("bench"))


def test_the_data(result: console.Result) -> None:
    """Ten messages a conversation on average."""
    assert (result.conversations, result.messages) == (380, 3_800)


def test_each_case(result: console.Result) -> None:
    """The searches find what they must: what is everywhere, what is in one conversation, what is nowhere."""
    rows = {each.name: each.rows for each in result.found}
    assert rows["inbox, all clients"] == rows["inbox, one client"] == 50
    assert rows["search, all clients: order"] == rows["search, the client whose word it is: sushi"] == 50
    assert rows["search, all clients: A-10xxxx"] == rows["search, all clients: ann12@mail"] == 1
    assert rows["search, all clients: zebrafish"] == rows["search, one client: sushi, another's word"] == 0
    assert rows["GET /conversations/{conversation_id}/turns"] is not None
    assert all(0 < each.p50 <= each.p95 <= each.most for each in result.found)


def test_a_line() -> None:
    """What misses its limit says so."""
    assert "MISSED" in console.line(Found("slow", 10, 50.1, 60, None))
    assert "reached" in console.line(Found("fast", 10, 50.0, 60, 7))
