-- depends: 0013.client-tools
-- How to connect to a client's own systems, never their data. connection_config is ciphertext.
create table client_integrations (
    id bigint generated always as identity primary key,
    client_id bigint not null
        constraint client_integrations_client_id_fkey references clients (id) on delete cascade,
    integration_type text not null constraint client_integrations_integration_type_check check (
        integration_type in ('shopify', 'woocommerce', 'custom_api', 'mysql_database', 'postgres_database')
    ),
    connection_config bytea not null,
    enabled boolean not null default true,
    last_sync_test timestamptz,
    last_test_result jsonb,
    created_at timestamptz not null default now(),
    constraint client_integrations_client_id_id_key unique (client_id, id)
);
