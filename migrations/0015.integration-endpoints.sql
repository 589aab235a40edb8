-- depends: 0014.client-integrations
-- What can be pulled through an integration. cache_ttl is seconds, 0 for never.
create table integration_endpoints (
    id bigint generated always as identity primary key,
    client_id bigint not null,
    integration_id bigint not null,
    endpoint_name text not null
        constraint integration_endpoints_endpoint_name_check check (endpoint_name ~ '^[a-zA-Z0-9_-]{1,64}$'),
    endpoint_url text not null,
    method text not null constraint integration_endpoints_method_check check (
        method in ('GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'SQL')
    ),
    description text not null,
    parameters_schema jsonb not null default '{}',
    response_path text,
    cache_ttl integer not null default 300
        constraint integration_endpoints_cache_ttl_check check (cache_ttl between 0 and 86400),
    created_at timestamptz not null default now(),
    -- The name is what a model calls it by, so it is the client's, not the integration's.
    constraint integration_endpoints_client_id_endpoint_name_key unique (client_id, endpoint_name),
    constraint integration_endpoints_integration_fkey foreign key (client_id, integration_id)
        references client_integrations (client_id, id) on delete cascade
);

create index integration_endpoints_integration_id_idx on integration_endpoints (integration_id);
