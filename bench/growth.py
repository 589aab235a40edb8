"""Whether a turn costs more in an old conversation or with a full table, on databases of the rig's PostgreSQL."""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from urllib.parse import urlsplit

import msgspec
import psycopg

from bench import history
from bench.direct import StreamSite
from bench.history import Shops, Size, Talk
from bench.rig import Rig
from bench.servers import Process
from bench.speakers import FrontdeskSite, Site
from bench.turn_cost import Meter, Sample, ask, by_turns
from server.net.signing import Keyring

# Questions of one visitor: no conversation becomes so long by them that it is summarised, which is another call of a
# model, and nobody reaches a minute's limit.
QUESTIONS = 4
# Messages of each conversation in a full table.
_LENGTH = 10
NEW, BACK = "new visitors", "visitors who come back"


class TalkSite(FrontdeskSite):
    """Where the visitor of an old conversation comes back to it."""

    def __init__(self, process: Process, shops: Shops, talk: Talk) -> None:
        super().__init__(process, shops.public_key)
        proof = {"id": talk.session_id, "token": talk.token}
        self._hello = msgspec.json.encode({"type": "hello", "v": 1, "key": shops.public_key, "session": proof})


class Backends:
    """The processes of one database's connections. Those that ended since the last look are not known any more."""

    def __init__(self, url: str) -> None:
        self._postgres = history.renamed(url, "postgres")
        self._database = urlsplit(url).path.lstrip("/")
        self._seen: dict[int, float] = {}

    def cpu_s(self) -> float:
        """User and system time of all that were ever seen, each as it was when it was seen last."""
        with psycopg.connect(self._postgres) as conn:
            found = conn.execute(
                "select pid from pg_stat_activity where datname = %s and backend_type = 'client backend'",
                [self._database],
            ).fetchall()
        for (pid,) in found:
            # One that ends in between has no clock any more.
            self._seen[pid] = max(self._seen.get(pid, 0.0), Process("backend", pid, 0).cpu_s())
        return sum(self._seen.values())


class Case(msgspec.Struct, frozen=True):
    """A server on a database that holds old conversations of a kind. Each is asked about once."""

    server: Process
    shops: Shops
    backends: Backends
    size: Size
    talks: list[Talk]

    @property
    def meter(self) -> Meter:
        """Of the server and of its database."""
        return Meter(self.server.cpu_s, self.backends.cpu_s)

    def new(self, visitors: int) -> list[Site]:
        """Where visitors come who were never here."""
        return [FrontdeskSite(self.server, self.shops.public_key)] * visitors

    def old(self, visitors: int, number: int) -> list[Site]:
        """Where visitors come back, others in each round."""
        talks = self.talks[number * visitors : (number + 1) * visitors]
        return [TalkSite(self.server, self.shops, talk) for talk in talks]

    def check(self) -> None:
        """Raises RuntimeError unless every old conversation has its messages and the new ones."""
        with psycopg.connect(self.shops.url) as conn:
            totals = conn.execute(
                "select distinct c.total_messages, (select count(*) from messages m where m.conversation_id = c.id) "
                "from conversations c where c.session_id = any(%s)",
                [[talk.session_id for talk in self.talks]],
            ).fetchall()
        wanted = self.size.messages + 2 * QUESTIONS
        if totals != [(wanted, wanted)]:
            raise RuntimeError(f"conversations should have {wanted} messages: {totals}")


class Growth:
    """Both kinds. So many `visitors` of each case in a round; nobody comes back twice."""

    def __init__(self, rig: Rig, visitors: int) -> None:
        self._rig = rig
        self._visitors = visitors
        environ = rig.frontdesk.environ
        self._keyring = Keyring((environ["FRONTDESK_SECRET_KEYS"],))
        self._numbers = count(1)
        rig.say("turns: a database without conversations")
        self._empty = history.create(environ["DATABASE_URL"], "bench_empty", self._keyring)

    def of_lengths(self, lengths: Sequence[int]) -> tuple[dict[int, list[Sample]], list[float]]:
        """By the messages that a conversation has, a sample of each round; and the seconds to the first tokens of the
        model alone."""
        rig, visitors = self._rig, self._visitors
        shops = history.copied(self._empty, "bench_lengths")
        many = visitors * rig.rounds
        sizes = [Size(2 * many, length) for length in lengths]
        talks = [self._fill(shops, size, many) for size in sizes]
        found: dict[int, list[Sample]] = {size.messages: [] for size in sizes}
        own: list[float] = []
        with self._serving(shops) as (server, backends):
            cases = [Case(server, shops, backends, size, each) for size, each in zip(sizes, talks, strict=True)]
            self._sample(cases[:1], [cases[0].new(visitors)])  # warm
            for number in range(rig.rounds):
                rig.say(f"turns: old conversations, round {number + 1} of {rig.rounds}")
                own += rig.run(_own(rig, visitors * QUESTIONS))
                for case in _turned(cases, number):
                    found[case.size.messages] += self._sample([case], [case.old(visitors, number)])
        for case in cases:
            case.check()
        return found, own

    def of_tables(self, tables: Sequence[int]) -> dict[str, dict[int, list[Sample]]]:
        """For either kind of visitors, by the messages of the table, a sample of each round."""
        rig, visitors = self._rig, self._visitors
        found: dict[str, dict[int, list[Sample]]] = {kind: {table: [] for table in tables} for kind in (BACK, NEW)}
        with ExitStack() as stack:
            cases = [self._table(stack, table) for table in tables]
            self._sample(cases, [case.new(visitors) for case in cases])  # warm
            for number in range(rig.rounds):
                rig.say(f"turns: full tables, round {number + 1} of {rig.rounds}")
                for kind, sides in (
                    (BACK, [case.old(visitors, number) for case in cases]),
                    (NEW, [case.new(visitors) for case in cases]),
                ):
                    for table, sample in zip(tables, self._sample(cases, sides), strict=True):
                        found[kind][table].append(sample)
            for case in cases:
                case.check()
        return found

    def _sample(self, cases: Sequence[Case], sides: Sequence[Sequence[Site]]) -> list[Sample]:
        return self._rig.run(by_turns(sides, QUESTIONS, [case.meter for case in cases]))

    def _table(self, stack: ExitStack, messages: int) -> Case:
        size = Size(messages // _LENGTH, _LENGTH)
        shops = history.copied(self._empty, f"bench_{messages}")
        talks = self._fill(shops, size, self._visitors * self._rig.rounds)
        server, backends = stack.enter_context(self._serving(shops))
        return Case(server, shops, backends, size, talks)

    def _fill(self, shops: Shops, size: Size, talks: int) -> list[Talk]:
        began = time.monotonic()
        # Filling is not measured, so it may have the server's core too.
        cores = self._rig.cores.server | self._rig.cores.others
        made = history.fill(shops, size, self._keyring, talks=talks, cores=cores)
        rows = f"{size.conversations:,} conversations of {size.messages:,} messages"
        self._rig.say(f"turns: {rows} made in {time.monotonic() - began:.1f} s")
        return made

    @contextmanager
    def _serving(self, shops: Shops) -> Iterator[tuple[Process, Backends]]:
        """A server on this database, with a room of its own in Redis."""
        number = next(self._numbers)
        redis = self._rig.frontdesk.environ["REDIS_URL"].partition("?")[0]
        environ = {"DATABASE_URL": shops.url, "REDIS_URL": f"{redis}?db={number}"}
        with self._rig.serving(name=f"frontdesk-growth-{number}", environ=environ) as server:
            yield server, Backends(shops.url)


def _turned(cases: Sequence[Case], number: int) -> list[Case]:
    """In another order in each round."""
    at = number % len(cases)
    return [*cases[at:], *cases[:at]]


async def _own(rig: Rig, questions: int) -> list[float]:
    """Seconds to the first tokens of the model alone."""
    visitor = await StreamSite(rig.model).visit()
    try:
        return await ask([visitor], questions)
    finally:
        visitor.close()
