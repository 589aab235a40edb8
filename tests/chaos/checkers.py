"""Looks for broken promises once all is quiet: in recordings, in the database, in what visitors see, in what tools did.

Every acknowledged message is there once, in its order, answered or visibly failed; no answer is mixed, cut or doubled;
events have no gaps; nobody wrote without being entitled to; what a visitor sees equals a fresh snapshot; a tool that
honours its key, and one that is unsafe, did what was asked once.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Sequence

from server.protocol import VERSION, codec
from server.protocol.visitor import Hello, Snapshot, Welcome
from tests.chaos.broken import Broken, asked_for, figures, wrong_text
from tests.chaos.cluster import TOOLS, Cluster
from tests.chaos.recordings import check_recording
from tests.chaos.visitor import Seen, Visitor, connection

__all__ = [
    "Broken",
    "check_database",
    "check_effects",
    "check_everything",
    "check_recording",
    "check_view",
    "figures",
    "settled",
]

# Seconds that turns get to end: a lease, and an answer.
SETTLE_S = 60.0
# Seconds that a visitor gets to come back and catch up.
CATCH_UP_S = 30.0


async def check_everything(
    cluster: Cluster, visitors: Sequence[Visitor], *, settle_s: float = SETTLE_S
) -> list[Broken]:
    """All of it. Waits until no turn is open and every visitor has caught up; one who never does has lost something."""
    broken = await settled(cluster, within_s=settle_s)
    broken += await check_database(cluster, visitors)
    for visitor in visitors:
        broken += await check_view(cluster, visitor)
        broken += check_recording(visitor.recording)
    broken += await check_effects(cluster)
    return broken


async def settled(cluster: Cluster, *, within_s: float = SETTLE_S) -> list[Broken]:
    """Waits until every turn has ended; those that have not are lost."""
    deadline = asyncio.get_running_loop().time() + within_s
    while True:
        open_turns = await cluster.rows("select public_id, status, gen, attempts from turns where finished_at is null")
        if not open_turns:
            return []
        if asyncio.get_running_loop().time() > deadline:
            return [Broken("lost", turn, f"{status}, gen {gen}, attempt {no}") for turn, status, gen, no in open_turns]
        await asyncio.sleep(0.1)


async def check_database(cluster: Cluster, visitors: Sequence[Visitor] = ()) -> list[Broken]:
    """What is stored, of all conversations; and that what these visitors were told was stored is."""
    broken = []
    for who, low, high, count, last in await cluster.rows(
        """
        select c.public_id, min(e.seq), max(e.seq), count(*), c.last_seq
        from conversations c join events e on e.client_id = c.client_id and e.conversation_id = c.id
        group by c.id having min(e.seq) <> 1 or max(e.seq) <> count(*) or max(e.seq) <> c.last_seq
        """
    ):
        broken.append(Broken("gap", who, f"{count} events from {low} to {high}, last_seq {last}"))
    for who, status, count in await cluster.rows(
        """
        select t.public_id, t.status, count(e.seq)
        from turns t left join events e on e.client_id = t.client_id and e.conversation_id = t.conversation_id
          and e.type in ('message.completed', 'turn.failed', 'turn.stopped')
          and e.payload->>'turn_id' = t.public_id
        group by t.id having count(e.seq) <> 1
        """
    ):
        broken.append(Broken("doubled" if count else "lost", who, f"{status}, with {count} ends"))
    for who, seq, gen, newer in await cluster.rows(
        """
        select t.public_id, e.seq, e.gen, b.gen
        from events e join turns t on t.client_id = e.client_id and t.id = e.turn_id
        join lateral (
            select max(o.gen) as gen from events o
            where o.conversation_id = e.conversation_id and o.turn_id = e.turn_id and o.seq < e.seq
        ) b on b.gen > e.gen
        """
    ):
        broken.append(Broken("stale", who, f"event {seq} is of gen {gen}, after one of gen {newer}"))
    broken += await _check_answers(cluster)
    for visitor in visitors:
        broken += await _check_acked(cluster, visitor)
    return broken


async def _check_answers(cluster: Cluster) -> list[Broken]:
    broken = []
    for who, status, question, answers, text, stopped in await cluster.rows(
        """
        select t.public_id, t.status, q.content, count(a.id), min(a.content), bool_or(a.stopped)
        from turns t
        join messages q on q.client_id = t.client_id and q.id = t.message_id
        left join messages a on a.client_id = t.client_id and a.turn_id = t.id and a.role = 'assistant'
        group by t.id, q.id
        """
    ):
        if answers > 1:
            broken.append(Broken("doubled", who, f"{answers} answers"))
        elif status == "done" and answers == 0:
            broken.append(Broken("lost", who, "done without an answer"))
        asked = asked_for(question)
        if asked is not None and text is not None:
            wrong = wrong_text(text, mark=asked[0], tokens=None if stopped else asked[1])
            if wrong is not None:
                broken.append(Broken(wrong[0], who, wrong[1]))
    return broken


async def _check_acked(cluster: Cluster, visitor: Visitor) -> list[Broken]:
    """Each acknowledged message is stored once and has a turn; each that is stored was said."""
    if visitor.welcome is None:
        return []
    stored = {
        cid: (seq, turns)
        for cid, seq, turns in await cluster.rows(
            """
            select m.cid, m.seq, count(t.id)
            from messages m join conversations c on c.client_id = m.client_id and c.id = m.conversation_id
            left join turns t on t.client_id = m.client_id and t.message_id = m.id
            where c.public_id = %s and m.role = 'user' group by m.id
            """,
            visitor.welcome.conversation_id,
        )
    }
    broken = []
    for sent in visitor.sents:
        if sent.acked_at is None:
            continue
        seq, turns = stored.get(sent.cid, (None, 0))
        if seq != sent.seq:
            broken.append(Broken("lost", visitor.name, f"{sent.cid} was acknowledged as {sent.seq}, and is {seq}"))
        elif turns != 1 and visitor.state().owner == "ai":
            broken.append(Broken("doubled" if turns else "lost", visitor.name, f"{sent.cid} has {turns} turns"))
    return broken


async def check_view(cluster: Cluster, visitor: Visitor, *, within_s: float = CATCH_UP_S) -> list[Broken]:
    """What the visitor sees is what somebody sees who comes anew. Waits until the visitor has caught up."""
    fresh = await _fresh(visitor, cluster)
    try:
        await visitor.until(lambda: visitor.state().seq >= fresh.seq, within_s)
    except (TimeoutError, ConnectionError) as error:
        return [Broken("lost", visitor.name, f"never got past {visitor.state().seq} of {fresh.seq}: {error}")]
    seen = visitor.state()
    newest = seen.messages[-len(fresh.messages) :] if fresh.messages else []
    if (seen.seq, seen.owner, newest, seen.live) != (fresh.seq, fresh.owner, fresh.messages, fresh.live):
        return [Broken("differs", visitor.name, f"sees {seen}, and a new reader {fresh}")]
    return []


async def _fresh(visitor: Visitor, cluster: Cluster) -> Seen:
    """What a new page of the same browser is shown: its newest 50 messages."""
    assert visitor.welcome is not None
    hello = Hello(v=VERSION, key=visitor.shop.key, session=visitor.welcome.session)
    async with connection(cluster.rng.choice(cluster.running).ws_url, visitor.shop, visitor.address) as socket:
        await socket.send(codec.encode(hello), text=True)
        async with asyncio.timeout(CATCH_UP_S):
            welcome = codec.decode_to_visitor(await socket.recv(decode=False))
            snapshot = codec.decode_to_visitor(await socket.recv(decode=False))
    if not isinstance(welcome, Welcome) or not isinstance(snapshot, Snapshot):
        raise TypeError(f"instead of a welcome and a snapshot came {welcome} and {snapshot}")
    messages: list[tuple[str, str, str]] = [(each.id, each.role, each.text) for each in snapshot.messages or []]
    live = {snapshot.live.turn_id: snapshot.live.text} if snapshot.live and snapshot.live.text else {}
    return Seen(snapshot.up_to_seq, snapshot.owner, messages, live)


async def check_effects(cluster: Cluster) -> list[Broken]:
    """A tool that honours its key did each thing once, an unsafe one was asked once, whatever was killed; and what is
    on record as done was done. An item is one visitor's wish, so two keys for one item are two effects."""
    keys: defaultdict[str, set[str]] = defaultdict(set)
    asked: Counter[str] = Counter()
    tools: dict[str, str] = {}
    for call in cluster.webhook.calls:
        keys[call.item].add(call.key)
        asked[call.item] += 1
        tools[call.item] = call.tool
    broken = []
    for item, tool in tools.items():
        effects = cluster.webhook.items[item]
        if TOOLS[tool] == "idempotent" and effects > 1:
            broken.append(Broken("doubled", item, f"{tool} was done {effects} times, by {sorted(keys[item])}"))
        if TOOLS[tool] == "unsafe" and asked[item] > 1:
            broken.append(Broken("doubled", item, f"{tool} was asked for {asked[item]} times, by {sorted(keys[item])}"))
    for call_id, tool in await cluster.rows("select call_id, tool_name from tool_executions where success"):
        if not cluster.webhook.effects[call_id]:
            broken.append(Broken("lost", call_id, f"{tool} is on record as done, and was not"))
    return broken
