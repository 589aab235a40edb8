-- depends: 0030.operator-tickets
-- Failed sign-ins in a row, by whom they were for and by where they came from. All instances count here, so that none
-- is a way around another. The subject is an HMAC: people type passwords where an e-mail address belongs.
create table sign_in_attempts (
    id bigint generated always as identity primary key,
    subject bytea not null constraint sign_in_attempts_subject_key unique,
    attempts integer not null,
    locked_until timestamptz,
    last_at timestamptz not null default now(),
    created_at timestamptz not null default now()
);

create index sign_in_attempts_last_at_idx on sign_in_attempts (last_at);
