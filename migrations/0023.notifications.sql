-- depends: 0022.audit-log
-- What the operators of a client should know. read_at is set by the first who reads it.
create table notifications (
    id bigint generated always as identity primary key,
    client_id bigint not null constraint notifications_client_id_fkey references clients (id) on delete cascade,
    conversation_id bigint,
    kind text not null constraint notifications_kind_check check (
        kind in ('handoff_requested', 'turn_failed', 'tool_in_doubt', 'limit_near', 'limit_reached', 'integration_failed')
    ),
    details jsonb not null default '{}',
    created_at timestamptz not null default now(),
    read_at timestamptz,
    constraint notifications_conversation_fkey foreign key (client_id, conversation_id)
        references conversations (client_id, id) on delete cascade
);

create index notifications_client_id_id_idx on notifications (client_id, id);

create index notifications_conversation_id_idx on notifications (conversation_id) where conversation_id is not null;
