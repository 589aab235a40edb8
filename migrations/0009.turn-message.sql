-- depends: 0008.messages
-- The visitor's message that caused the turn. Messages point at turns too, so one of the two keys comes afterwards.
alter table turns add constraint turns_message_fkey foreign key (client_id, message_id)
    references messages (client_id, id) on delete cascade;

create index turns_message_id_idx on turns (message_id);
