drop index turns_message_id_idx;

alter table turns drop constraint turns_message_fkey;
