-- depends: 0039.setup-versions
-- What a chat of the console is run with: a part that is null is the client's saved one. record answers the calls of a
-- test run's tools; with it no tool is really called.
create table console_drafts (
    id bigint generated always as identity primary key,
    client_id bigint not null,
    conversation_id bigint not null constraint console_drafts_conversation_id_key unique,
    session_id text not null constraint console_drafts_session_id_key unique,
    system_prompt text,
    model_config jsonb,
    tools text[],
    record jsonb,
    updated_at timestamptz not null default now(),
    created_at timestamptz not null default now(),
    constraint console_drafts_conversation_fkey foreign key (client_id, conversation_id)
        references conversations (client_id, id) on delete cascade
);

-- What the console itself used of a client's models, by day: no plan counts it. Cost is US dollars.
create table console_usage (
    id bigint generated always as identity primary key,
    client_id bigint not null constraint console_usage_client_id_fkey references clients (id) on delete cascade,
    date date not null,
    conversation_count integer not null default 0,
    message_count integer not null default 0,
    tokens_input bigint not null default 0,
    tokens_output bigint not null default 0,
    tool_calls_count integer not null default 0,
    cost_estimate numeric(20, 10) not null default 0,
    created_at timestamptz not null default now(),
    constraint console_usage_client_id_date_key unique (client_id, date)
);
