drop table visitors;
