-- depends: 0002.clients
-- People of the console. The owner runs the installation and belongs to no client; an operator answers for one.
create table operators (
    id bigint generated always as identity primary key,
    client_id bigint constraint operators_client_id_fkey references clients (id) on delete cascade,
    email text not null,
    name text not null,
    avatar_url text,
    password_hash text not null,
    role text not null constraint operators_role_check check (role in ('owner', 'admin', 'operator')),
    status text not null default 'active' constraint operators_status_check check (status in ('active', 'disabled')),
    created_at timestamptz not null default now(),
    constraint operators_client_check check (case role
        when 'owner' then client_id is null
        when 'operator' then client_id is not null
        else true
    end)
);

create unique index operators_email_key on operators (lower(email));

create index operators_client_id_idx on operators (client_id);
