alter table conversations drop column verified_until;
