-- depends: 0033.conversation-handover
-- The inbox of those who serve all clients; one client's has conversations_client_id_last_activity_at_idx.
create index conversations_last_activity_at_idx on conversations (last_activity_at desc, id desc);
