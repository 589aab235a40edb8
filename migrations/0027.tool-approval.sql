-- depends: 0026.endpoint-policy
-- A tool that asks first: what the visitor answered, and until when they may.
alter table tool_executions
    add column approval text
        constraint tool_executions_approval_check check (approval in ('asked', 'approved', 'declined')),
    add column approval_until timestamptz;
