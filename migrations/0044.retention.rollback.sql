drop index audit_log_action_id_idx;

drop index conversations_summary_through_idx;

drop index whispers_created_at_idx;

drop index turn_steps_created_at_idx;

drop index events_created_at_idx;
