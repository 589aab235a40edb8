alter table operators drop column version;

alter table clients drop column version;
