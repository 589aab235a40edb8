-- depends: 0036.script-sightings
-- What the console's inbox asks for, newest activity first: any combination of its filters, and words that were said.
-- All that it filters by in one word, 'human down waiting': a page of any combination is merged from the newest of at
-- most 24 states. One column and not three: Postgres takes columns for independent, and would sort what it should walk.
-- The console's own chats are in no state that is asked for: they are no visitors.
alter table conversations add column inbox_state text not null generated always as (
    case when channel = 'console' then channel
         else owner || ' ' || coalesce(rating, 'unrated') || case when waiting_since is null then '' else ' waiting' end
    end
) stored;

create index conversations_inbox_idx on conversations (client_id, inbox_state, last_activity_at desc, id desc)
    where total_messages > 0;

create index conversations_inbox_of_all_idx on conversations (inbox_state, last_activity_at desc, id desc)
    where total_messages > 0;

drop index conversations_last_activity_at_idx;

-- Words by the 'simple' configuration: no stemming, and so no language favoured. Punctuation goes first, or the parser
-- would see signed numbers, hosts and paths where people see words. Positions are not kept: half the size.
create function words_of(content text) returns tsvector language sql immutable strict parallel safe
return strip(to_tsvector('simple', translate(content, '!"#$%&''()*+,-./:;<=>?@[\]^_`{|}~', repeat(' ', 32))));

-- The word '@12' is the client's: within one client the index needs to look at nobody else's rows. No text can have it.
alter table messages add column search tsvector not null generated always as (
    words_of(coalesce(content, '')) || array_to_tsvector(array['@' || client_id::text])
) stored;

alter table visitors add column search tsvector not null generated always as (
    words_of(coalesce(name, '') || ' ' || coalesce(email, '')) || array_to_tsvector(array['@' || client_id::text])
) stored;

-- Without a list of what is pending: each message pays for itself, none for a thousand others.
create index messages_search_idx on messages using gin (search) with (fastupdate = off);

create index visitors_search_idx on visitors using gin (search) with (fastupdate = off);
