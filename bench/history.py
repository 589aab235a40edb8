"""Databases that have seen much: conversations, messages, turns and events as an installation of that age has them.

Rows come by COPY, 10^6 messages with all that belongs to them in under a minute. They are what the product writes: ids
are random, words follow Zipf's law, and messages lie in the table in the order in which fifty visitors at a time wrote
them over 25 days. Half of all conversations are the first client's, the rest is nine others'.
"""

import asyncio
import os
import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import accumulate
from urllib.parse import urlsplit

import msgspec
import psycopg
from psycopg import sql

from bench.speakers import ORIGIN
from server import ids
from server.cli.migrate import upgrade
from server.net.signing import Keyring
from server.protocol import codec
from server.protocol.parts import Message, TokenUsage
from server.protocol.visitor import MessageCompleted, MessageCreated, TurnStarted
from server.repositories import clients
from server.repositories.clients import Client
from server.repositories.pool import open_pool, reading

_PLAN = "bench"
_CLIENTS = 10
# Conversations that go on at the same time: their messages lie between each other's.
_AT_ONCE = 50
_DAYS = 25
# Messages at the end of a long conversation that its summary does not cover; the product covers what is older than 20.
_UNCOVERED = 10
_TABLES = ("conversations", "messages", "turns", "events")
# Which table each connection fills. Half of all work is to find the words of the messages.
_COPIED = (*_TABLES, "messages")
# Whose ids are counted.
_NUMBERED = ("conversations", "messages", "turns")
_COLUMNS = {
    "conversations": "id, public_id, client_id, session_id, session_token_hash, channel, locale, owner, epoch, "
    "last_seq, total_messages, summary, summary_through, started_at, last_activity_at",
    "messages": "id, public_id, client_id, conversation_id, role, content, cid, turn_id, model, tokens_input, "
    "tokens_output, cost, seq, created_at",
    "turns": "id, public_id, client_id, conversation_id, message_id, answer_id, status, attempts, owner, created_at, "
    "finished_at",
    "events": "conversation_id, seq, client_id, turn_id, gen, type, payload, created_at",
}
_SYLLABLES = ("ba", "ce", "di", "fo", "gu", "la", "me", "ni", "po", "ru", "sa", "te", "vi", "xo", "zu", "ka")
_TEXTS = 4_000


class Size(msgspec.Struct, frozen=True):
    """So many conversations of so many messages each, an even number: questions and their answers."""

    conversations: int
    messages: int


class Talk(msgspec.Struct, frozen=True):
    """What lets a visitor come back to a conversation of the first client's."""

    session_id: str
    token: str


class Shops(msgspec.Struct, frozen=True):
    """A database's clients. `public_key` is the first one's, whom the visitors come to."""

    url: str
    client_ids: list[int]
    public_key: str


def renamed(url: str, database: str) -> str:
    """The same server's other database."""
    return urlsplit(url)._replace(path=f"/{database}").geturl()


def create(url: str, name: str, keyring: Keyring) -> Shops:
    """A new database on the server of `url`, with the schema, and clients whose plan has room for a benchmark."""
    own = renamed(url, name)
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    upgrade(own)
    with psycopg.connect(own) as conn:
        conn.execute(
            "insert into plans (name, monthly_messages, requests_per_minute) values (%s, null, 1000000)", [_PLAN]
        )
    made = asyncio.run(_create_clients(own, keyring))
    return Shops(own, [client.id for client in made], made[0].public_key)


async def _create_clients(url: str, keyring: Keyring) -> list[Client]:
    pool = await open_pool(url, max_size=1, application_name="frontdesk bench")
    try:
        async with reading(pool) as conn:
            return [
                await clients.create(
                    conn,
                    name=f"Shop {number + 1}",
                    domain=f"shop{number + 1}.example",
                    allowed_origins=[ORIGIN],
                    public_key=ids.public_key(),
                    api_key_hash=keyring.digest("api-key", ids.secret_key()),
                    api_key_prefix="bench",
                    plan_type=_PLAN,
                )
                for number in range(_CLIENTS)
            ]
    finally:
        await pool.close()


def copied(shops: Shops, name: str) -> Shops:
    """A new database that is as this one is now. Nobody may be connected to this one."""
    with psycopg.connect(renamed(shops.url, "postgres"), autocommit=True) as conn:
        template = urlsplit(shops.url).path.lstrip("/")
        conn.execute(sql.SQL("create database {} template {}").format(sql.Identifier(name), sql.Identifier(template)))
    return msgspec.structs.replace(shops, url=renamed(shops.url, name))


def fill(shops: Shops, size: Size, keyring: Keyring, *, talks: int, cores: set[int]) -> list[Talk]:
    """Adds so many conversations to what is there, and gives `talks` of the first client's, drawn from all of them.

    PostgreSQL may use all of `cores` for it. Raises ValueError when the first client gets fewer conversations.
    """
    with ExitStack() as stack:
        conns = [stack.enter_context(_connection(shops.url, cores)) for _ in _COPIED]
        writer = _Writer(shops, size, keyring, [_next_id(conns[0], table) for table in _NUMBERED])
        if talks > writer.ours:
            raise ValueError(f"{talks} are to come back, and {writer.ours} conversations are the first client's")
        with _without_indexes(conns):
            _copy(conns, writer)
        conns[0].execute("vacuum (analyze) conversations, messages, turns, events")
        conns[0].execute("checkpoint")
    return writer.chance.sample(writer.talks, talks)


def _next_id(conn: psycopg.Connection, table: str) -> int:
    row = conn.execute(f"select coalesce(max(id), 0) + 1 from {table}".encode()).fetchone()
    assert row is not None
    return int(row[0])


@contextmanager
def _connection(url: str, cores: set[int]) -> Iterator[psycopg.Connection]:
    with psycopg.connect(url, autocommit=True) as conn:
        os.sched_setaffinity(conn.info.backend_pid, cores)
        # Nothing here can be wrong, and each row would look for its parents.
        conn.execute("set session_replication_role = replica")
        conn.execute("set synchronous_commit = off")
        conn.execute("set maintenance_work_mem = '256MB'")
        yield conn


# Those that no foreign key leans on: the table, what takes one away, what makes it again.
_INDEXES = """
select t.relname,
       case when c.oid is null then format('drop index %%I', x.relname)
            else format('alter table %%I drop constraint %%I', t.relname, c.conname) end,
       case when c.oid is null then pg_get_indexdef(i.indexrelid)
            else format('alter table %%I add constraint %%I %%s', t.relname, c.conname, pg_get_constraintdef(c.oid)) end
from pg_index i
join pg_class t on t.oid = i.indrelid
join pg_class x on x.oid = i.indexrelid
left join pg_constraint c on c.conindid = i.indexrelid and c.contype = 'u'
where t.relname = any(%s) and t.relnamespace = 'public'::regnamespace and not i.indisprimary
  and not exists (select from pg_constraint f where f.contype = 'f' and f.conindid = i.indexrelid)
"""


@contextmanager
def _without_indexes(conns: Sequence[psycopg.Connection]) -> Iterator[None]:
    """Takes the indexes away and makes them again afterwards, each table on a connection of its own."""
    found = conns[0].execute(_INDEXES, [list(_TABLES)]).fetchall()
    for _, drop, _ in found:
        conns[0].execute(drop.encode())
    yield

    def make(table: str, conn: psycopg.Connection) -> None:
        for of, _, again in found:
            if of == table:
                conn.execute(again.encode())

    with ThreadPoolExecutor(len(_TABLES)) as pool:
        list(pool.map(make, _TABLES, conns[: len(_TABLES)]))


def _copy(conns: Sequence[psycopg.Connection], writer: "_Writer") -> None:
    with ExitStack() as stack:
        copies: dict[str, list[psycopg.Copy]] = {table: [] for table in _TABLES}
        for table, conn in zip(_COPIED, conns, strict=True):
            copy = conn.cursor().copy(f"copy {table} ({_COLUMNS[table]}) from stdin".encode())
            copies[table].append(stack.enter_context(copy))
        for number, block in enumerate(writer.blocks()):
            for table, rows in block.items():
                copies[table][number % len(copies[table])].write("".join(rows))
    for table in _NUMBERED:
        conns[0].execute(f"select setval(pg_get_serial_sequence('{table}', 'id'), max(id)) from {table}".encode())


Rows = dict[str, list[str]]


class _Asked(msgspec.Struct, frozen=True):
    """A question on its way to its answer."""

    turn_row: int
    turn_id: str
    answer_id: str


class _Writer:
    """Rows in COPY's text format, from these ids on. `talks` are the first client's, as far as they are written."""

    def __init__(self, shops: Shops, size: Size, keyring: Keyring, next_ids: Sequence[int]) -> None:
        # The same for the same size, and never the ids of rows that are there.
        self.chance = random.Random(f"{size} {next_ids}")
        self.talks: list[Talk] = []
        self._client_ids = shops.client_ids
        self._size = size
        self._keyring = keyring
        self._conversation, self._message, self._turn = next_ids
        self._now = datetime.now(UTC)
        self._texts = _texts()

    @property
    def ours(self) -> int:
        """How many of the conversations to be written are the first client's."""
        numbers = range(self._conversation, self._conversation + self._size.conversations)
        return sum(self._client_of(number) == self._client_ids[0] for number in numbers)

    def blocks(self) -> Iterator[Rows]:
        """The rows of conversations that went on at the same time, by table."""
        whole = self._size.conversations
        for done in range(0, whole, _AT_ONCE):
            began = self._now - timedelta(days=_DAYS * (1 - done / whole), minutes=30)
            yield self._block(min(_AT_ONCE, whole - done), began)

    def _block(self, count: int, began: datetime) -> Rows:
        turns = self._size.messages // 2
        rows: Rows = {table: [] for table in _TABLES}
        talks = [(self._conversation + at, self._client_of(self._conversation + at)) for at in range(count)]
        self._conversation += count
        at = began
        for turn in range(turns):
            at = began + turn * timedelta(minutes=25) / turns
            asked = [self._ask(rows, talk, client, turn, at) for talk, client in talks]
            at += timedelta(seconds=3)
            for (talk, client), each in zip(talks, asked, strict=True):
                self._answer(rows, talk, client, turn, each, at)
        # The last messages of the block are the conversations' last ones, one each.
        last = self._message - count
        for place, (talk, client) in enumerate(talks):
            self._begin(rows, talk, client, last + place - _UNCOVERED * count, began, at)
        return rows

    def _client_of(self, conversation: int) -> int:
        return self._client_ids[0 if conversation % 2 else 1 + conversation // 2 % (_CLIENTS - 1)]

    def _id(self, prefix: str) -> str:
        # As random as the product's, from half of its alphabet.
        return f"{prefix}_{self.chance.randbytes(13).hex()}"

    def _begin(self, rows: Rows, talk: int, client: int, through: int, began: datetime, ended: datetime) -> None:
        token, session_id = self._id("st"), self._id("ses")
        said = self._size.messages
        summary = f"{self.chance.choice(self._texts)}\t{through}" if said > 2 * _UNCOVERED else "\\N\t\\N"
        digest = self._keyring.digest("session-token", token).hex()
        rows["conversations"].append(
            f"{talk}\t{self._id('cnv')}\t{client}\t{session_id}\t\\\\x{digest}\twidget\ten\tai\tbench\t"
            f"{said // 2 * 3}\t{said}\t{summary}\t{began}\t{ended}\n"
        )
        if client == self._client_ids[0]:
            self.talks.append(Talk(session_id, token))

    def _ask(self, rows: Rows, talk: int, client: int, turn: int, at: datetime) -> _Asked:
        asked = _Asked(self._turn, self._id("trn"), self._id("msg"))
        message_id, text, cid, seq = self._id("msg"), self.chance.choice(self._texts), f"old{turn}", turn * 3 + 1
        rows["messages"].append(
            f"{self._message}\t{message_id}\t{client}\t{talk}\tuser\t{text}\t{cid}\t\\N\t\\N\t0\t0\t0\t{seq}\t{at}\n"
        )
        rows["turns"].append(
            f"{asked.turn_row}\t{asked.turn_id}\t{client}\t{talk}\t{self._message}\t{asked.answer_id}\tdone\t1\t"
            f"ins_bench\t{at}\t{at}\n"
        )
        message = Message(id=message_id, role="user", text=text, created_at=at, cid=cid)
        created = codec.encode(MessageCreated(seq=seq, message=message)).decode()
        started = TurnStarted(seq=seq + 1, turn_id=asked.turn_id, message_id=asked.answer_id, gen=1)
        rows["events"].append(
            f"{talk}\t{seq}\t{client}\t\\N\t\\N\tmessage.created\t{created}\t{at}\n"
            f"{talk}\t{seq + 1}\t{client}\t\\N\t1\tturn.started\t{codec.encode(started).decode()}\t{at}\n"
        )
        self._message += 1
        self._turn += 1
        return asked

    def _answer(self, rows: Rows, talk: int, client: int, turn: int, asked: _Asked, at: datetime) -> None:
        text, seq = " ".join(self.chance.choices(self._texts, k=2)), turn * 3 + 3
        rows["messages"].append(
            f"{self._message}\t{asked.answer_id}\t{client}\t{talk}\tassistant\t{text}\t\\N\t{asked.turn_row}\tbench\t"
            f"900\t60\t0.0004\t{seq}\t{at}\n"
        )
        message = Message(
            id=asked.answer_id,
            role="assistant",
            text=text,
            created_at=at,
            turn_id=asked.turn_id,
            usage=TokenUsage(input_tokens=900, output_tokens=60),
            model="bench",
        )
        completed = codec.encode(MessageCompleted(seq=seq, turn_id=asked.turn_id, message=message)).decode()
        rows["events"].append(f"{talk}\t{seq}\t{client}\t{asked.turn_row}\t1\tmessage.completed\t{completed}\t{at}\n")
        self._message += 1


@cache
def _texts() -> list[str]:
    """4 to 12 words each, the frequent ones far more often. Nothing in them has to be escaped, for COPY or in JSON."""
    chance = random.Random(4711)
    words = ["".join(chance.choices(_SYLLABLES, k=chance.randint(1, 4))) for _ in range(8_000)]
    weights = list(accumulate(1 / rank for rank in range(1, len(words) + 1)))
    return [
        " ".join(chance.choices(words, cum_weights=weights, k=chance.randint(4, 12))).capitalize() + "."
        for _ in range(_TEXTS)
    ]
