"""A visitor whom the client's backend vouches for, over the socket."""

import asyncio

import msgspec
import pytest

from server.protocol import VERSION, codec
from server.protocol.visitor import Error, Hello, Welcome
from server.repositories import conversations
from server.repositories.pool import reading
from tests.flows.support import Desk, Shop, Tab
from tests.vouching import new_identity_secret, signed, verified


class Bank(msgspec.Struct, frozen=True):
    """A shop whose backend vouches for people."""

    desk: Desk
    shop: Shop
    secret: str

    async def person(self, welcome: Welcome) -> str | None:
        """Who counts as verified in this conversation."""
        async with reading(self.desk.pool) as conn:
            found = await conversations.find_by_public_id(
                conn, client_id=self.shop.id, public_id=welcome.conversation_id
            )
        assert found is not None
        visitor = await verified(self.desk.pool, client_id=self.shop.id, conversation_id=found.id)
        return visitor.external_id if visitor else None


@pytest.fixture
async def bank(desk: Desk) -> Bank:
    """With an identity secret."""
    shop = await desk.shop()
    return Bank(desk, shop, await new_identity_secret(desk.pool, shop.id))


def errors(tab: Tab) -> list[tuple[str, str | None]]:
    """What was refused so far: codes and fields."""
    assert not any(error.temporary for error in tab.of(Error))
    return [(error.code, error.field) for error in tab.of(Error)]


async def chats_on(tab: Tab, text: str) -> None:
    """Says something and is answered."""
    await tab.say(text)
    await tab.shows(f"You said: {text}")


async def test_a_visitor_is_verified(bank: Bank) -> None:
    """By the hello; what it says is theirs, whatever else comes over the socket."""
    token = signed(bank.secret, "7", email="ann@example.com", name="Ann")
    async with bank.desk.visit(bank.shop, identity=token) as (tab, welcome):
        await chats_on(tab, "Hello")
        assert errors(tab) == []
        assert await bank.person(welcome) == "7"


async def test_reconnecting_keeps_it_until_it_expires(bank: Bank) -> None:
    """Without the token, on another socket; after its end the visitor is a stranger, and a new token helps."""
    async with bank.desk.visit(bank.shop, identity=signed(bank.secret, "7")) as (tab, first):
        await tab.settle()
    async with bank.desk.visit(bank.shop, proof=first.session) as (tab, _):
        await tab.settle()
        assert await bank.person(first) == "7"
        await bank.desk.rows("update conversations set verified_until = now() - interval '1 ms'")
        assert await bank.person(first) is None
    async with bank.desk.visit(bank.shop, proof=first.session) as (tab, _):
        await chats_on(tab, "Hello")
        assert await bank.person(first) is None
    async with bank.desk.visit(bank.shop, proof=first.session, identity=signed(bank.secret, "7")) as (tab, _):
        await tab.settle()
        assert (errors(tab), await bank.person(first)) == ([], "7")


async def test_a_visitor_signs_in_while_they_chat(bank: Bank) -> None:
    """A second hello on the same socket."""
    async with bank.desk.visit(bank.shop) as (tab, welcome):
        await chats_on(tab, "Hello")
        assert await bank.person(welcome) is None
        await tab.hello(proof=welcome.session, identity=signed(bank.secret, "7"))
        await chats_on(tab, "It is me")
        assert (errors(tab), await bank.person(welcome)) == ([], "7")


async def test_a_bad_identity_does_not_prevent_the_chat(bank: Bank) -> None:
    """The welcome comes first, then why; nobody is verified."""
    other = await bank.desk.shop()
    foreign = await new_identity_secret(bank.desk.pool, other.id)
    for token, reason in (
        (signed(bank.secret, "7", expires_s=-5), "expired"),
        (signed(foreign, "7"), "this client's identity secret"),
        (signed(bank.secret, ""), "sub"),
        ("nonsense", "not a JWT"),
        ("", "not a JWT"),
    ):
        async with bank.desk.visit(bank.shop, identity=token) as (tab, welcome):
            error = await tab.next(Error)
            assert (error.code, error.field, error.temporary) == ("identity_invalid", "identity", False)
            assert reason in error.message
            await chats_on(tab, "Hello")
            assert await bank.person(welcome) is None
    assert await bank.desk.rows("select count(*) from visitors") == [(0,)]


async def test_somebody_elses_conversation(bank: Bank) -> None:
    """Bob on Ann's browser is told to begin a new one, which works; meanwhile Ann's is nobody's."""
    async with bank.desk.visit(bank.shop, identity=signed(bank.secret, "ann")) as (tab, first):
        await tab.settle()
    async with bank.desk.visit(bank.shop, proof=first.session, identity=signed(bank.secret, "bob")) as (tab, _):
        await tab.settle()
        assert (errors(tab), await bank.person(first)) == ([("identity_other", "identity")], None)
    async with bank.desk.visit(bank.shop, identity=signed(bank.secret, "bob")) as (tab, second):
        await tab.settle()
        assert (errors(tab), await bank.person(second)) == ([], "bob")
    assert second.conversation_id != first.conversation_id


async def test_a_rotated_secret(bank: Bank) -> None:
    """The open socket's visitor is unverified at once; the old token is refused from then on."""
    token = signed(bank.secret, "7")
    async with bank.desk.visit(bank.shop, identity=token) as (tab, welcome):
        await tab.settle()
        await new_identity_secret(bank.desk.pool, bank.shop.id)
        assert await bank.person(welcome) is None
        await tab.hello(proof=welcome.session, identity=token)
        await chats_on(tab, "Hello")
        assert (errors(tab), await bank.person(welcome)) == ([("identity_invalid", "identity")], None)


async def test_a_token_of_64_kb(bank: Bank) -> None:
    """Costs the socket, as any such frame; one that just fits a frame costs the hello. Both visitors can chat after."""
    big = signed(bank.secret, "7", padding="x" * 65_536)
    async with bank.desk.tab(bank.shop) as tab:
        await tab.raw(codec.encode(Hello(v=VERSION, key=bank.shop.key, identity=big)))
        assert await tab.closed() == 4400
    async with bank.desk.tab(bank.shop) as tab:
        await tab.send(Hello(v=VERSION, key=bank.shop.key, identity=big[:60_000]))
        assert (await tab.next(Error)).field == "identity"
        await tab.hello()
        await chats_on(tab, "Hello")


async def test_ten_tabs_at_once(bank: Bank) -> None:
    """They share a session and a person: one visitor, and nobody is refused."""
    async with bank.desk.visit(bank.shop) as (tab, welcome):
        await tab.settle()

    async def open_one() -> list[tuple[str, str | None]]:
        token = signed(bank.secret, "7")
        async with bank.desk.visit(bank.shop, proof=welcome.session, identity=token) as (tab, _):
            await tab.settle()
            return errors(tab)

    assert await asyncio.gather(*(open_one() for _ in range(10))) == [[]] * 10
    assert await bank.person(welcome) == "7"
    assert await bank.desk.rows("select count(*) from visitors") == [(1,)]
