-- depends: 0034.inbox
-- Two people who edit the same client or operator: the row counts its edits, and whoever saw an older one is told.
alter table clients add column version integer not null default 1;

alter table operators add column version integer not null default 1;
