alter table visitors drop column search;

alter table messages drop column search;

drop function words_of (text);

create index conversations_last_activity_at_idx on conversations (last_activity_at desc, id desc);

alter table conversations drop column inbox_state;
