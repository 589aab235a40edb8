-- depends: 0024.tool-policy
-- A client may ask for more than the catalogue does, never for less. Without a URL of its own a tool is called at the
-- client's webhook_base_url. 15 s is what a visitor waits for a workflow.
alter table client_tools
    add column proof text
        constraint client_tools_proof_check check (proof in ('none', 'session', 'verified')),
    add column confirm boolean not null default false,
    alter column n8n_webhook_url drop not null,
    alter column timeout_ms set default 15000;
