-- depends: 0015.integration-endpoints
-- Every tool call, kept 90 days. success is null while it runs, and for good where the outcome is in doubt.
create table tool_executions (
    id bigint generated always as identity primary key,
    client_id bigint not null,
    conversation_id bigint not null,
    turn_id bigint not null,
    call_id text not null,
    tool_name text not null,
    parameters jsonb not null,
    n8n_response jsonb,
    success boolean,
    error text,
    execution_time_ms integer,
    attempt integer not null default 1,
    timestamp timestamptz not null default now(),
    constraint tool_executions_turn_id_call_id_key unique (turn_id, call_id),
    constraint tool_executions_conversation_fkey foreign key (client_id, conversation_id)
        references conversations (client_id, id) on delete cascade,
    constraint tool_executions_turn_fkey foreign key (client_id, turn_id)
        references turns (client_id, id) on delete cascade
);

create index tool_executions_conversation_id_id_idx on tool_executions (conversation_id, id);

create index tool_executions_client_id_timestamp_idx on tool_executions (client_id, timestamp desc);

-- Retention looks for old rows.
create index tool_executions_timestamp_idx on tool_executions (timestamp);
