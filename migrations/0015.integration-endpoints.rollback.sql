drop table integration_endpoints;
