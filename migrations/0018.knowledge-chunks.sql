-- depends: 0017.knowledge-documents
-- A passage. Full text uses the 'simple' configuration: no stemming, and so no language favoured.
create table knowledge_chunks (
    id bigint generated always as identity primary key,
    client_id bigint not null,
    document_id bigint not null,
    position integer not null,
    content text not null,
    search tsvector not null generated always as (to_tsvector('simple', content)) stored,
    constraint knowledge_chunks_document_id_position_key unique (document_id, position),
    constraint knowledge_chunks_document_fkey foreign key (client_id, document_id)
        references knowledge_documents (client_id, id) on delete cascade
);

create index knowledge_chunks_client_id_idx on knowledge_chunks (client_id);

create index knowledge_chunks_search_idx on knowledge_chunks using gin (search);
