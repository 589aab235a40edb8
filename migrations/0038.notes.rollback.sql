drop index notifications_unread_of_all_idx;

drop index notifications_unread_idx;

drop table notes;
