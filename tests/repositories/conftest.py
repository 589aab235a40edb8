"""A pool on a fresh database, two clients in it, and one conversation of each."""

import secrets
from collections.abc import AsyncIterator

import msgspec
import pytest

from server import ids
from server.repositories import clients, conversations
from server.repositories.clients import Client
from server.repositories.conversations import Conversation
from server.repositories.pool import Conn, Pool, open_pool, unit_of_work


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    """An open pool."""
    pool = await open_pool(database_url, max_size=6, application_name="test")
    yield pool
    await pool.close()


async def new_client(conn: Conn, name: str) -> Client:
    """A client with keys of its own."""
    return await clients.create(
        conn,
        name=name,
        domain=f"{name}.example",
        allowed_origins=[f"https://{name}.example"],
        public_key=ids.public_key(),
        api_key_hash=secrets.token_bytes(32),
        api_key_prefix="sk_test",
    )


async def new_conversation(conn: Conn, client_id: int) -> Conversation:
    """A conversation of a new session."""
    return await conversations.create(
        conn,
        client_id=client_id,
        public_id=ids.conversation_id(),
        session_id=ids.session_id(),
        session_token_hash=secrets.token_bytes(32),
        epoch=ids.epoch(),
        channel="widget",
        locale="en",
    )


class Shop(msgspec.Struct, frozen=True):
    """A client with a conversation."""

    client: Client
    conversation: Conversation

    @property
    def id(self) -> int:
        return self.client.id

    @property
    def cnv(self) -> int:
        return self.conversation.id


async def _shop(pool: Pool, name: str) -> Shop:
    async with unit_of_work(pool) as conn:
        client = await new_client(conn, name)
        return Shop(client, await new_conversation(conn, client.id))


@pytest.fixture
async def pizza(pool: Pool) -> Shop:
    """One client."""
    return await _shop(pool, "pizza")


@pytest.fixture
async def bakery(pool: Pool) -> Shop:
    """Another client, who must never see the first one's rows."""
    return await _shop(pool, "bakery")
