drop table api_usage;
