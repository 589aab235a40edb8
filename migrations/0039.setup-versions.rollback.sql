drop index audit_log_target_idx;

alter table integration_endpoints drop column version;

alter table client_integrations drop column version;

alter table client_tools drop column version;

alter table tools drop column version;
