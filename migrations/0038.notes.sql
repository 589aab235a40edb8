-- depends: 0037.inbox-search
-- What operators note of a conversation for each other. Neither the visitor nor the AI sees it.
create table notes (
    id bigint generated always as identity primary key,
    client_id bigint not null,
    conversation_id bigint not null,
    -- No composite key: an owner or admin who belongs to no client may write too.
    operator_id bigint constraint notes_operator_id_fkey references operators (id) on delete set null,
    content text not null,
    created_at timestamptz not null default now(),
    constraint notes_conversation_fkey foreign key (client_id, conversation_id)
        references conversations (client_id, id) on delete cascade
);

create index notes_conversation_id_id_idx on notes (conversation_id, id);

create index notes_operator_id_idx on notes (operator_id) where operator_id is not null;

-- What nobody has read yet, of one client and of all.
create index notifications_unread_idx on notifications (client_id, id) where read_at is null;

create index notifications_unread_of_all_idx on notifications (id) where read_at is null;
