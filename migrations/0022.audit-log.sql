-- depends: 0021.model-prices
-- Who changed what in the console. It outlives the operator and the client.
create table audit_log (
    id bigint generated always as identity primary key,
    client_id bigint constraint audit_log_client_id_fkey references clients (id) on delete set null,
    operator_id bigint constraint audit_log_operator_id_fkey references operators (id) on delete set null,
    action text not null,
    target_type text not null,
    target_id text not null,
    details jsonb not null default '{}',
    created_at timestamptz not null default now()
);

create index audit_log_client_id_id_idx on audit_log (client_id, id);

create index audit_log_operator_id_id_idx on audit_log (operator_id, id);
