drop table operator_sessions;
