-- depends: 0038.notes
-- Two people who edit the same thing: a row counts its edits, and whoever saw an older one is told.
alter table tools add column version integer not null default 1;

alter table client_tools add column version integer not null default 1;

alter table client_integrations add column version integer not null default 1;

alter table integration_endpoints add column version integer not null default 1;

-- Who changed a thing last.
create index audit_log_target_idx on audit_log (target_type, target_id, (coalesce(client_id, 0)), id);
