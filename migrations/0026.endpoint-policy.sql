-- depends: 0025.client-tool-policy
-- Live data is a tool like any other: what it does, who may use it, how people read its name.
alter table integration_endpoints
    add column effect text not null default 'read_only'
        constraint integration_endpoints_effect_check check (effect in ('read_only', 'idempotent', 'unsafe')),
    add column proof text not null default 'session'
        constraint integration_endpoints_proof_check check (proof in ('none', 'session', 'verified')),
    add column confirm boolean not null default false,
    add column bound jsonb not null default '{}',
    add column label jsonb not null default '{}';
