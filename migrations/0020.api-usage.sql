-- depends: 0019.knowledge-embeddings
-- What a client used, by day, for ever. Written in the same transaction as what it counts. Cost is US dollars.
create table api_usage (
    id bigint generated always as identity primary key,
    client_id bigint not null constraint api_usage_client_id_fkey references clients (id) on delete cascade,
    date date not null,
    conversation_count integer not null default 0,
    message_count integer not null default 0,
    tokens_input bigint not null default 0,
    tokens_output bigint not null default 0,
    tool_calls_count integer not null default 0,
    cached_answers integer not null default 0,
    cost_estimate numeric(20, 10) not null default 0,
    created_at timestamptz not null default now(),
    constraint api_usage_client_id_date_key unique (client_id, date)
);

create index api_usage_date_idx on api_usage (date);
