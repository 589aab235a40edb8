alter table knowledge_chunks drop column if exists embedding;

do $$
begin
    if exists (
        select from pg_extension
        where extname = 'vector' and obj_description(oid, 'pg_extension') = 'created by frontdesk'
    ) then
        drop extension vector;
    end if;
end
$$;
