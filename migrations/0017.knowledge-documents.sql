-- depends: 0016.tool-executions
-- What the AI may quote about a client. content_hash is SHA-256 of the source, so that the same file is not parsed twice.
create table knowledge_documents (
    id bigint generated always as identity primary key,
    client_id bigint not null
        constraint knowledge_documents_client_id_fkey references clients (id) on delete cascade,
    title text not null,
    source_type text not null
        constraint knowledge_documents_source_type_check check (source_type in ('text', 'file', 'url', 'faq')),
    source_url text,
    content_hash bytea not null,
    status text not null default 'pending' constraint knowledge_documents_status_check check (
        status in ('pending', 'ready', 'failed')
    ),
    error text,
    version integer not null default 1,
    tokens integer not null default 0,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint knowledge_documents_client_id_id_key unique (client_id, id),
    constraint knowledge_documents_client_id_content_hash_key unique (client_id, content_hash)
);
