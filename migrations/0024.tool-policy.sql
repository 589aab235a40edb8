-- depends: 0023.notifications
-- Who may use a tool and how: proof asked of the visitor, their yes before it runs, arguments that the server fills.
alter table tools
    add column proof text not null default 'session'
        constraint tools_proof_check check (proof in ('none', 'session', 'verified')),
    add column confirm boolean not null default false,
    -- {"customer_id": "visitor.id"}
    add column bound jsonb not null default '{}';
