update client_tools set n8n_webhook_url = '' where n8n_webhook_url is null;

alter table client_tools
    drop column proof,
    drop column confirm,
    alter column n8n_webhook_url set not null,
    alter column timeout_ms set default 10000;
