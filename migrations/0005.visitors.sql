-- depends: 0004.operator-sessions
-- A person, once the client's backend vouches for them.
create table visitors (
    id bigint generated always as identity primary key,
    client_id bigint not null constraint visitors_client_id_fkey references clients (id) on delete cascade,
    external_id text not null,
    name text,
    email text,
    verified_at timestamptz not null default now(),
    created_at timestamptz not null default now(),
    constraint visitors_client_id_external_id_key unique (client_id, external_id),
    -- What composite foreign keys point at.
    constraint visitors_client_id_id_key unique (client_id, id)
);
