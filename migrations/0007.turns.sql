-- depends: 0006.conversations
-- One run of the AI. gen is +1 whenever somebody else becomes entitled to write it; the lease runs by this database's clock.
create table turns (
    id bigint generated always as identity primary key,
    public_id text not null constraint turns_public_id_key unique,
    client_id bigint not null,
    conversation_id bigint not null,
    message_id bigint not null,
    answer_id text not null,
    status text not null
        constraint turns_status_check check (status in ('queued', 'running', 'done', 'failed', 'stopped')),
    gen integer not null default 1,
    owner text,
    lease_until timestamptz,
    attempts integer not null default 0,
    deadline timestamptz,
    error text,
    created_at timestamptz not null default now(),
    finished_at timestamptz,
    constraint turns_client_id_id_key unique (client_id, id),
    constraint turns_conversation_fkey foreign key (client_id, conversation_id)
        references conversations (client_id, id) on delete cascade,
    constraint turns_running_check check (
        status <> 'running' or (owner is not null and lease_until is not null and deadline is not null)
    )
);

-- One running turn per conversation: the database decides.
create unique index turns_one_running on turns (conversation_id) where status = 'running';

-- The sweep looks for expired leases, and for queued turns that nobody took.
create index turns_running_lease_until_idx on turns (lease_until) where status = 'running';

create index turns_queued_created_at_idx on turns (created_at) where status = 'queued';

create index turns_owner_idx on turns (owner) where status = 'running';

create index turns_conversation_id_id_idx on turns (conversation_id, id);
