-- depends: 0001.plans
-- A tenant. The public key only names it; the secret key is kept as an HMAC-SHA256.
create table clients (
    id bigint generated always as identity primary key,
    name text not null constraint clients_name_check check (name <> ''),
    domain text not null,
    allowed_origins text[] not null default '{}',
    public_key text not null constraint clients_public_key_key unique,
    api_key_hash bytea not null constraint clients_api_key_hash_key unique,
    api_key_prefix text not null,
    webhook_base_url text,
    plan_type text not null default 'free'
        constraint clients_plan_type_fkey references plans (name) on update cascade,
    status text not null default 'active' constraint clients_status_check check (status in ('active', 'suspended')),
    system_prompt text not null default '',
    model_config jsonb not null default '{}',
    widget_config jsonb not null default '{}',
    locale text not null default 'en',
    timezone text not null default 'UTC',
    created_at timestamptz not null default now()
);

create index clients_plan_type_idx on clients (plan_type);
