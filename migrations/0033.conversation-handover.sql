-- depends: 0032.whispers
-- Since when a visitor has waited for a person, and whether whispers wait for the AI's next turn.
alter table conversations
    add column waiting_since timestamptz,
    add column whispered boolean not null default false;
