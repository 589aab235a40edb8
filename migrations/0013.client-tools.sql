-- depends: 0012.tools
-- Which client has which tool, and which n8n webhook does it. signing_secret is ciphertext.
create table client_tools (
    id bigint generated always as identity primary key,
    client_id bigint not null constraint client_tools_client_id_fkey references clients (id) on delete cascade,
    tool_id bigint not null constraint client_tools_tool_id_fkey references tools (id) on delete cascade,
    enabled boolean not null default true,
    n8n_webhook_url text not null,
    custom_config jsonb not null default '{}',
    timeout_ms integer not null default 10000
        constraint client_tools_timeout_ms_check check (timeout_ms between 100 and 120000),
    signing_secret bytea,
    created_at timestamptz not null default now(),
    constraint client_tools_client_id_tool_id_key unique (client_id, tool_id)
);

create index client_tools_tool_id_idx on client_tools (tool_id);
