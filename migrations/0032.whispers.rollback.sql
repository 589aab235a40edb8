drop table whispers;
