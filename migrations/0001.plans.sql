-- What a client pays for. monthly_messages is null where there is no limit; price is US dollars a month.
create table plans (
    id bigint generated always as identity primary key,
    name text not null constraint plans_name_key unique,
    monthly_messages integer constraint plans_monthly_messages_check check (monthly_messages > 0),
    requests_per_minute integer not null constraint plans_requests_per_minute_check check (requests_per_minute > 0),
    features jsonb not null default '{}',
    price numeric(20, 10) not null default 0 constraint plans_price_check check (price >= 0),
    created_at timestamptz not null default now()
);

insert into plans (name, monthly_messages, requests_per_minute, features, price) values
    ('free', 1000, 60, '{}', 0),
    ('starter', 10000, 120, '{}', 29),
    ('pro', 100000, 600, '{}', 149);
