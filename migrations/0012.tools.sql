-- depends: 0011.events
-- The catalogue, shared by all clients: no client_id.
create table tools (
    id bigint generated always as identity primary key,
    tool_name text not null
        constraint tools_tool_name_key unique
        constraint tools_tool_name_check check (tool_name ~ '^[a-zA-Z0-9_-]{1,64}$'),
    description text not null,
    parameters_schema jsonb not null,
    category text not null,
    effect text not null
        constraint tools_effect_check check (effect in ('read_only', 'idempotent', 'unsafe')),
    -- For people, by locale: {"en": "Looking up your order"}.
    label jsonb not null default '{}',
    created_at timestamptz not null default now()
);

create index tools_category_idx on tools (category);
