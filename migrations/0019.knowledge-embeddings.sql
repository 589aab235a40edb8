-- depends: 0018.knowledge-chunks
-- Vectors where pgvector can be had, full text alone where not. The column has no fixed width: embedders differ.
-- The comment marks an extension that this migration made, so that its rollback takes no other.
do $$
begin
    if not exists (select from pg_extension where extname = 'vector') then
        if not exists (select from pg_available_extensions where name = 'vector') then
            return;
        end if;
        begin
            create extension vector;
            comment on extension vector is 'created by frontdesk';
        exception when insufficient_privilege then
            raise notice 'pgvector is there but may not be installed by this role; search uses full text alone';
            return;
        end;
    end if;
    alter table knowledge_chunks add column embedding vector;
end
$$;
