-- depends: 0029.conversation-identity
-- Secrets that work once and for a short time: `socket` opens the console's socket for a session, `link` signs an
-- operator in. Kept as HMACs; whoever deletes the row has used it.
create table operator_tickets (
    id bigint generated always as identity primary key,
    operator_id bigint not null
        constraint operator_tickets_operator_id_fkey references operators (id) on delete cascade,
    session_id bigint
        constraint operator_tickets_session_id_fkey references operator_sessions (id) on delete cascade,
    kind text not null constraint operator_tickets_kind_check check (kind in ('socket', 'link')),
    secret_hash bytea not null constraint operator_tickets_secret_hash_key unique,
    expires_at timestamptz not null,
    created_at timestamptz not null default now(),
    constraint operator_tickets_session_check check ((kind = 'socket') = (session_id is not null))
);

create index operator_tickets_operator_id_idx on operator_tickets (operator_id);

create index operator_tickets_session_id_idx on operator_tickets (session_id);

create index operator_tickets_expires_at_idx on operator_tickets (expires_at);
