"""A busy installation's conversations for `bench.console`: made by statements, the same for the same size.

Conversations spread over 90 days; messages lie in the table in the order in which they were written, as in life.
Words follow Zipf's law; beside them stand words of known frequency, which the searches ask for:

    order      in nearly every conversation         refund    in 6 of 100 conversations
    delivery   in 4 of 5                            voucher   in 2 of 100
    A-100040   in one conversation (its order)      sushi     in every one of the second client's, in no other
    christmas  in 1 of 5 of the older half          zebrafish nowhere
"""

import random
from collections.abc import Iterator

import msgspec
import psycopg
from psycopg import sql

SENTENCES = 20_000
# How often a sentence has the word.
KNOWN = {"order": 0.3, "delivery": 0.1, "refund": 0.004, "voucher": 0.0015}
_SYLLABLES = ("ba", "ce", "di", "fo", "gu", "la", "me", "ni", "po", "ru", "sa", "te", "vi", "xo", "zu", "ka")
_FIRST = ("Ann", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gül", "Hana", "Ivo", "Jana", "Kofi", "Lea", "Mia", "Noa", "Olaf")
_LAST = ("Abe", "Berg", "Cohen", "Diaz", "Evans", "Fuchs", "Garcia", "Haas", "Ito", "Jung", "Kaya", "Levi", "Meyer")


class Size(msgspec.Struct, frozen=True):
    """The first client has 4 of 10 conversations, the others share the rest. Ten messages a conversation, 1 to 19."""

    conversations: int = 100_000
    clients: int = 10


class Made(msgspec.Struct, frozen=True):
    """`large` has most conversations; `other` is the one with a word of its own. `talks` are public ids of some of the
    large client's."""

    large: int
    other: int
    conversations: int
    messages: int
    talks: list[str]


def fill(database_url: str, size: Size, client_ids: list[int]) -> Made:
    """Fills an empty installation that has these clients. Some minutes for 100,000 conversations."""
    with psycopg.connect(database_url, autocommit=True) as conn:
        # Nothing here can be wrong, and each row would look for its parents.
        conn.execute("set session_replication_role = replica")
        conn.execute("select setseed(0.4711)")
        _sentences(conn)
        indexes = conn.execute(
            "select indexname, indexdef from pg_indexes "
            "where indexname in ('messages_search_idx', 'visitors_search_idx')"
        ).fetchall()
        for name, _ in indexes:
            conn.execute(sql.SQL("drop index {}").format(sql.Identifier(name)))
        given = {"n": size.conversations, "clients": client_ids, "first": list(_FIRST), "last": list(_LAST)}
        for statement in (_VISITORS, _CONVERSATIONS, _MESSAGES, _TURNS, _STEPS, _CALLS, _NOTES, _NOTIFICATIONS):
            conn.execute(statement.encode(), given)
        for _, definition in indexes:
            conn.execute(definition.encode())
        conn.execute("drop table bench_sentences")
        conn.execute("vacuum analyze")
        made = conn.execute("select count(*) from messages").fetchone()
        talks = conn.execute(
            "select public_id from conversations where client_id = %s and total_messages >= 10 "
            "order by id desc limit 500",
            [client_ids[0]],
        ).fetchall()
    assert made is not None
    return Made(client_ids[0], client_ids[1], size.conversations, made[0], [public_id for (public_id,) in talks])


def _sentences(conn: psycopg.Connection) -> None:
    conn.execute("create unlogged table bench_sentences (no int primary key, text text not null)")
    with conn.cursor().copy("copy bench_sentences (no, text) from stdin") as copy:
        for number, text in enumerate(_texts(random.Random(4711))):
            copy.write_row((number, text))


def _texts(chance: random.Random) -> Iterator[str]:
    """4 to 20 words each, the frequent ones far more often."""
    words = ["".join(chance.choices(_SYLLABLES, k=chance.randint(1, 4))) for _ in range(8_000)]
    weights = [1 / rank for rank in range(1, len(words) + 1)]
    for _ in range(SENTENCES):
        said = chance.choices(words, weights, k=chance.randint(4, 20))
        said += [word for word, often in KNOWN.items() if chance.random() < often]
        chance.shuffle(said)
        yield " ".join(said).capitalize() + "."


# Conversation `c` is the c-th of `n`; its client, its times and its number of messages follow from that.
_VISITORS = """
insert into visitors (client_id, external_id, name, email)
select (%(clients)s::bigint[])[case when c %% 10 < 4 then 1 else 2 + c %% (cardinality(%(clients)s::bigint[]) - 1) end],
       'person' || c,
       (%(first)s::text[])[1 + c %% cardinality(%(first)s::text[])] || ' '
           || (%(last)s::text[])[1 + c / 7 %% cardinality(%(last)s::text[])],
       lower((%(first)s::text[])[1 + c %% cardinality(%(first)s::text[])]) || c || '@mail.example'
from generate_series(1, %(n)s) c
where c %% 3 = 0
"""
_CONVERSATIONS = """
insert into conversations (
    public_id, client_id, session_id, session_token_hash, visitor_id, channel, locale, owner, epoch, last_seq,
    total_messages, rating, started_at, last_activity_at, ended_at, waiting_since
)
select 'cnv_' || lpad(d.c::text, 26, '0'), d.client_id, 'ses_' || lpad(d.c::text, 26, '0'),
       sha256(d.c::text::bytea), v.id, case when d.c %% 20 = 0 then 'api' else 'widget' end, 'en', d.owner, 'bench',
       d.said, d.said, case when d.rated < 0.10 then 'up' when d.rated < 0.15 then 'down' end,
       d.at - interval '10 minutes', d.at, case when d.owner = 'closed' then d.at end,
       case when d.owner = 'queued' or d.owner = 'human' and d.rated > 0.5 then d.at end
from (
    select c, 1 + c %% 19 as said, random() as rated,
           (%(clients)s::bigint[])[
               case when c %% 10 < 4 then 1 else 2 + c %% (cardinality(%(clients)s::bigint[]) - 1) end
           ] as client_id,
           (array['ai', 'closed', 'human', 'queued'])[
               case when s < 0.85 then 1 when s < 0.95 then 2 when s < 0.98 then 3 else 4 end
           ] as owner,
           now() - interval '90 days' * (1 - c::float8 / %(n)s) as at
    from (select c, random() as s from generate_series(1, %(n)s) c) r
) d
left join visitors v on v.client_id = d.client_id and v.external_id = 'person' || d.c
order by d.c
"""
_MESSAGES = """
insert into messages (
    public_id, client_id, conversation_id, role, content, model, tokens_input, tokens_output, cost, seq, created_at
)
select 'msg_' || lpad((d.c * 100 + d.s)::text, 26, '0'), d.client_id, d.id,
       case when d.s %% 2 = 1 then 'user' else 'assistant' end,
       case when d.s = 1 and d.c %% 3 = 1 then 'It is about A-' || (100000 + d.c) || '. ' else '' end
           || case when d.s = 1 and d.client_id = (%(clients)s::bigint[])[2] then 'Sushi! ' else '' end
           || case when d.s = 1 and d.c %% 5 = 0 and d.c < %(n)s / 2 then 'For christmas. ' else '' end
           || one.text || case when d.s %% 2 = 0 then ' ' || two.text || ' ' || three.text else '' end,
       case when d.s %% 2 = 0 then 'bench' end, case when d.s %% 2 = 0 then 900 else 0 end,
       case when d.s %% 2 = 0 then 60 else 0 end, case when d.s %% 2 = 0 then 0.0004 else 0 end, d.s, d.at
from (
    select substr(c.public_id, 5)::bigint as c, c.id, c.client_id, s,
           c.started_at + (c.last_activity_at - c.started_at) * s / c.total_messages as at,
           floor(random() * 20000)::int as one, floor(random() * 20000)::int as two,
           floor(random() * 20000)::int as three
    from conversations c cross join generate_series(1, c.total_messages) s
    offset 0
) d
join bench_sentences one on one.no = d.one
join bench_sentences two on two.no = d.two
join bench_sentences three on three.no = d.three
order by d.at
"""
_TURNS = """
insert into turns (
    public_id, client_id, conversation_id, message_id, answer_id, status, attempts, created_at, finished_at
)
select 'trn_' || substr(m.public_id, 5), m.client_id, m.conversation_id, m.id,
       'msg_' || lpad((substr(m.public_id, 5)::bigint + 1)::text, 26, '0'), 'done', 1, m.created_at,
       m.created_at + interval '3 seconds'
from messages m where m.role = 'user' order by m.id
"""
_STEPS = """
insert into turn_steps (client_id, turn_id, no, kind, state, request_hash, result, gen, created_at, finished_at)
select t.client_id, t.id, no, case when no = 1 then 'llm' else 'tool' end, 'done', '',
       case when no = 1 then jsonb_build_object(
           'text', 'Let me look.', 'tokens_input', 900,
           'calls', jsonb_build_array(
               jsonb_build_object('call_id', 'call_1', 'name', 'look_up', 'arguments', '{"item": "olives"}')
           )
       ) else '{"content": "{\\"stock\\": 3}", "ok": true}' end, 1, t.created_at, t.created_at
from turns t cross join generate_series(1, 2) no
where t.conversation_id %% 10 = 0
"""
_CALLS = """
insert into tool_executions (
    client_id, conversation_id, turn_id, call_id, tool_name, parameters, n8n_response, success, execution_time_ms,
    timestamp
)
select t.client_id, t.conversation_id, t.id, t.public_id || ':2', 'look_up', '{"item": "olives"}', '{"stock": 3}', true,
       120 + t.id %% 400, t.created_at
from turns t where t.conversation_id %% 10 = 0
"""
_NOTES = """
insert into notes (client_id, conversation_id, content)
select client_id, id, 'A note.' from conversations where id %% 5 = 0
"""
_NOTIFICATIONS = """
insert into notifications (client_id, conversation_id, kind, details, created_at, read_at)
select client_id, id, 'handoff_requested', '{"reason": "A person, please"}', last_activity_at,
       case when id %% 10 <> 0 then last_activity_at end
from conversations where id %% 2 = 0 order by id
"""
