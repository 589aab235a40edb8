-- depends: 0042.test-cases
-- What each server process last told of itself. Unlogged: it is told again every few seconds, so a crash loses nothing.
create unlogged table instances (
    id bigint generated always as identity primary key,
    instance text not null constraint instances_instance_key unique,
    version text not null,
    started_at timestamptz not null,
    seen_at timestamptz not null,
    figures jsonb not null,
    created_at timestamptz not null default now()
);
