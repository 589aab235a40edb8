-- depends: 0007.turns
-- What was said. seq is the event that reported it. content is removed by retention, the counts stay.
create table messages (
    id bigint generated always as identity primary key,
    public_id text not null constraint messages_public_id_key unique,
    client_id bigint not null,
    conversation_id bigint not null,
    role text not null
        constraint messages_role_check check (role in ('user', 'assistant', 'operator', 'system')),
    content text,
    parts jsonb,
    cid text,
    turn_id bigint,
    -- No composite key: an owner or admin who belongs to no client may write too.
    author_operator_id bigint
        constraint messages_author_operator_id_fkey references operators (id) on delete set null,
    model text,
    tokens_input integer not null default 0,
    tokens_output integer not null default 0,
    tokens_used integer not null generated always as (tokens_input + tokens_output) stored,
    -- US dollars.
    cost numeric(20, 10) not null default 0,
    seq bigint not null,
    stopped boolean not null default false,
    cached boolean not null default false,
    rating text constraint messages_rating_check check (rating in ('up', 'down')),
    -- What a visitor wrote with the rating; removed by retention like content.
    rating_comment text,
    created_at timestamptz not null default now(),
    constraint messages_conversation_id_cid_key unique (conversation_id, cid),
    constraint messages_client_id_id_key unique (client_id, id),
    constraint messages_conversation_fkey foreign key (client_id, conversation_id)
        references conversations (client_id, id) on delete cascade,
    constraint messages_turn_fkey foreign key (client_id, turn_id)
        references turns (client_id, id) on delete set null (turn_id)
);

create index messages_conversation_id_id_idx on messages (conversation_id, id);

create index messages_turn_id_idx on messages (turn_id) where turn_id is not null;

create index messages_author_operator_id_idx on messages (author_operator_id) where author_operator_id is not null;

-- Retention looks for old content.
create index messages_created_at_idx on messages (created_at) where content is not null;
