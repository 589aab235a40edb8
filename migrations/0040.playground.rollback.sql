drop table console_usage, console_drafts;
