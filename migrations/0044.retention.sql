-- depends: 0043.instances
-- By these retention finds what is old without reading what is not, and the log says when it last ran.
create index events_created_at_idx on events (created_at);

create index turn_steps_created_at_idx on turn_steps (created_at) where result is not null;

create index whispers_created_at_idx on whispers (created_at);

create index conversations_summary_through_idx on conversations (summary_through) where summary is not null;

create index audit_log_action_id_idx on audit_log (action, id);
