-- depends: 0040.playground
-- The raw calls of models in the console's own turns, the beginning of each, without headers and credentials. Visitors'
-- turns leave none. first_ms is to the first byte of the answer, ms to its end.
create table model_traffic (
    id bigint generated always as identity primary key,
    client_id bigint not null,
    turn_id bigint not null,
    no integer not null,
    gen integer not null,
    provider text not null,
    model text not null,
    started_at timestamptz not null,
    first_ms integer,
    ms integer not null,
    tries jsonb not null,
    request text not null,
    request_bytes integer not null,
    response text not null,
    response_bytes integer not null,
    tokens_input integer,
    tokens_output integer,
    tokens_cached integer,
    error text,
    created_at timestamptz not null default now(),
    constraint model_traffic_turn_fkey foreign key (client_id, turn_id)
        references turns (client_id, id) on delete cascade
);

create index model_traffic_turn_id_id_idx on model_traffic (turn_id, id);

-- Retention looks for old rows.
create index model_traffic_created_at_idx on model_traffic (created_at);
