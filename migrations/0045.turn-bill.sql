-- depends: 0044.retention
-- What a turn's calls of models used, written when it ends: an answer tells its own, a failed or wordless turn has none.
alter table turns
    add column model text,
    add column tokens_input integer,
    add column tokens_output integer,
    add column cost numeric(20, 10);
