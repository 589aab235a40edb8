-- depends: 0035.edit-versions
-- From which origins pages have loaded a client's widget, to the minute. Some are not allowed: that is worth knowing.
create table script_sightings (
    id bigint generated always as identity primary key,
    client_id bigint not null
        constraint script_sightings_client_id_fkey references clients (id) on delete cascade,
    origin text not null,
    seen_at timestamptz not null default now(),
    created_at timestamptz not null default now(),
    constraint script_sightings_client_id_origin_key unique (client_id, origin)
);
