"""One installation for a whole table of bad requests, with somebody to be wronged: shops, sessions, answers.

A row of a table must leave all of it as it was, so the rows can share it; only Redis is emptied before each, so that
none is refused for the requests of another.
"""

from collections.abc import AsyncIterator
from contextlib import contextmanager

import msgspec
import psycopg
import pytest
import redis

from server import access
from server.protocol.visitor import MessageCompleted, SessionProof
from tests.flows.fixtures import settings_for
from tests.flows.support import Desk, Shop, open_desk
from tests.services import _database
from tests.wire_servers import WireServer, openai_server


class Visitor(msgspec.Struct, frozen=True):
    """A session in which one question was answered."""

    proof: SessionProof
    conversation_id: str
    epoch: str
    answer_id: str

    @property
    def id(self) -> str:
        return self.proof.id

    @property
    def token(self) -> str:
        return self.proof.token


class World(msgspec.Struct, frozen=True):
    """`shop` is the caller's client, `mine` his session; `theirs` is another visitor's, `foreign` another shop's."""

    desk: Desk
    model: WireServer
    shop: Shop
    other_shop: Shop
    suspended: Shop
    mine: Visitor
    theirs: Visitor
    foreign: Visitor
    barred: Visitor


@pytest.fixture(scope="module")
async def shared_world(
    postgres_url: str, admin: psycopg.Connection, template_database: str, worker_redis_url: str
) -> AsyncIterator[World]:
    """The world of one table. Rows take `world`."""
    with redis.Redis.from_url(worker_redis_url) as connection:
        connection.flushall()  # another database has had clients of the same ids, and their limits may be used up
    with (
        contextmanager(_database)(postgres_url, admin, template_database) as database_url,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(access, "CLIENT_AGE_S", 0.0)  # who is suspended below is so at once
        async with openai_server() as model, open_desk(settings_for(database_url, worker_redis_url, model)) as desk:
            shop, other_shop, suspended = await desk.shop(), await desk.shop(), await desk.shop()
            mine, theirs = await _visitor(desk, shop), await _visitor(desk, shop)
            foreign, barred = await _visitor(desk, other_shop), await _visitor(desk, suspended)
            await desk.rows("update clients set status = 'suspended' where id = %s", suspended.id)
            yield World(desk, model, shop, other_shop, suspended, mine, theirs, foreign, barred)


@pytest.fixture
def world(shared_world: World, redis_url: str) -> World:
    """The shared world, with nothing counted against anybody."""
    with redis.Redis.from_url(redis_url) as connection:
        assert connection.dbsize() == 0
    return shared_world


async def _visitor(desk: Desk, shop: Shop) -> Visitor:
    async with desk.visit(shop) as (tab, welcome):
        await tab.say("Hello", cid="taken")
        answer = await tab.next(MessageCompleted)
    return Visitor(welcome.session, welcome.conversation_id, welcome.epoch, answer.message.id)
