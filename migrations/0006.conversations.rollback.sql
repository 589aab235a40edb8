drop table conversations;
