drop table client_tools;
