-- depends: 0031.sign-in-attempts
-- What operators tell the AI, unseen by the visitor. turn_id is the one turn that was told it; null while it waits.
create table whispers (
    id bigint generated always as identity primary key,
    client_id bigint not null,
    conversation_id bigint not null,
    -- Counts from 1 within a conversation.
    no integer not null,
    -- No composite key: an owner or admin who belongs to no client may whisper too.
    operator_id bigint constraint whispers_operator_id_fkey references operators (id) on delete set null,
    content text not null,
    turn_id bigint,
    created_at timestamptz not null default now(),
    constraint whispers_conversation_id_no_key unique (conversation_id, no),
    constraint whispers_conversation_fkey foreign key (client_id, conversation_id)
        references conversations (client_id, id) on delete cascade,
    constraint whispers_turn_fkey foreign key (client_id, turn_id)
        references turns (client_id, id) on delete cascade
);

create index whispers_turn_id_idx on whispers (turn_id) where turn_id is not null;

create index whispers_operator_id_idx on whispers (operator_id) where operator_id is not null;
