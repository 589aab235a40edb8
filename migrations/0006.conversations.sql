-- depends: 0005.visitors
-- The chat of one session. last_seq is the number of its newest event; summary covers messages up to summary_through.
create table conversations (
    id bigint generated always as identity primary key,
    public_id text not null constraint conversations_public_id_key unique,
    client_id bigint not null constraint conversations_client_id_fkey references clients (id) on delete cascade,
    session_id text not null,
    session_token_hash bytea not null constraint conversations_session_token_hash_key unique,
    visitor_id bigint,
    user_identifier text,
    channel text not null constraint conversations_channel_check check (channel in ('widget', 'api', 'console')),
    locale text not null,
    owner text not null default 'ai'
        constraint conversations_owner_check check (owner in ('ai', 'queued', 'human', 'closed')),
    -- No composite key: an owner or admin who belongs to no client may take a conversation too.
    owner_operator_id bigint
        constraint conversations_owner_operator_id_fkey references operators (id) on delete set null,
    epoch text not null,
    last_seq bigint not null default 0,
    total_messages integer not null default 0,
    summary text,
    summary_through bigint,
    rating text constraint conversations_rating_check check (rating in ('up', 'down')),
    started_at timestamptz not null default now(),
    last_activity_at timestamptz not null default now(),
    ended_at timestamptz,
    constraint conversations_client_id_session_id_key unique (client_id, session_id),
    constraint conversations_client_id_id_key unique (client_id, id),
    constraint conversations_visitor_fkey foreign key (client_id, visitor_id)
        references visitors (client_id, id) on delete set null (visitor_id)
);

create index conversations_visitor_idx on conversations (visitor_id) where visitor_id is not null;

create index conversations_owner_operator_id_idx on conversations (owner_operator_id)
    where owner_operator_id is not null;

create index conversations_client_id_last_activity_at_idx on conversations (client_id, last_activity_at desc, id desc);
