-- depends: 0010.turn-steps
-- A conversation's durable facts, numbered without gaps. payload is the frame as sent: type json keeps its text to the byte.
create table events (
    conversation_id bigint not null,
    seq bigint not null constraint events_seq_check check (seq > 0),
    client_id bigint not null,
    turn_id bigint,
    gen integer,
    type text not null,
    payload json not null,
    created_at timestamptz not null default now(),
    constraint events_pkey primary key (conversation_id, seq),
    constraint events_conversation_fkey foreign key (client_id, conversation_id)
        references conversations (client_id, id) on delete cascade,
    constraint events_turn_fkey foreign key (client_id, turn_id)
        references turns (client_id, id) on delete set null (turn_id)
);

create index events_turn_id_idx on events (turn_id) where turn_id is not null;
