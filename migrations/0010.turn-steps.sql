-- depends: 0009.turn-message
-- A committed decision of a turn: after a crash it is replayed, never asked again.
create table turn_steps (
    id bigint generated always as identity primary key,
    client_id bigint not null,
    turn_id bigint not null,
    no integer not null constraint turn_steps_no_check check (no > 0),
    kind text not null constraint turn_steps_kind_check check (kind in ('llm', 'tool')),
    state text not null
        constraint turn_steps_state_check check (state in ('started', 'done', 'failed', 'unknown')),
    request_hash bytea not null,
    result jsonb,
    gen integer not null,
    created_at timestamptz not null default now(),
    finished_at timestamptz,
    constraint turn_steps_turn_id_no_key unique (turn_id, no),
    constraint turn_steps_turn_fkey foreign key (client_id, turn_id)
        references turns (client_id, id) on delete cascade
);
