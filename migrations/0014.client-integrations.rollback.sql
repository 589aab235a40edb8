drop table client_integrations;
