-- depends: 0003.operators
-- A signed-in browser of the console. The token is kept as an HMAC.
create table operator_sessions (
    id bigint generated always as identity primary key,
    operator_id bigint not null
        constraint operator_sessions_operator_id_fkey references operators (id) on delete cascade,
    token_hash bytea not null constraint operator_sessions_token_hash_key unique,
    user_agent text,
    created_at timestamptz not null default now(),
    last_seen_at timestamptz not null default now(),
    expires_at timestamptz not null,
    revoked_at timestamptz
);

create index operator_sessions_operator_id_idx on operator_sessions (operator_id);

create index operator_sessions_expires_at_idx on operator_sessions (expires_at);
