-- depends: 0041.model-traffic
-- Conversations that a client's AI should still do well after a change. A case goes with the conversation that it was
-- saved from when a visitor is erased: it holds their words.
create table test_cases (
    id bigint generated always as identity primary key,
    client_id bigint not null constraint test_cases_client_id_fkey references clients (id) on delete cascade,
    conversation_id bigint not null,
    name text not null,
    locale text not null,
    -- Whether the visitor was signed in.
    verified boolean not null,
    -- [{text, answer, calls: [{tool, arguments, content, ok}]}]
    questions jsonb not null,
    -- {must_call, must_contain, must_not_contain}
    rules jsonb not null,
    version integer not null default 1,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint test_cases_client_id_id_key unique (client_id, id),
    constraint test_cases_conversation_fkey foreign key (client_id, conversation_id)
        references conversations (client_id, id) on delete cascade
);

create index test_cases_conversation_id_idx on test_cases (conversation_id);

-- Cases that are run again. beat_at says that somebody still runs them.
create table test_runs (
    id bigint generated always as identity primary key,
    client_id bigint not null constraint test_runs_client_id_fkey references clients (id) on delete cascade,
    operator_id bigint constraint test_runs_operator_id_fkey references operators (id) on delete set null,
    status text not null default 'running'
        constraint test_runs_status_check check (status in ('running', 'done', 'interrupted')),
    draft jsonb,
    total integer not null default 0,
    passed integer not null default 0,
    failed integer not null default 0,
    tokens_input bigint not null default 0,
    tokens_output bigint not null default 0,
    cost numeric(20, 10) not null default 0,
    beat_at timestamptz not null default now(),
    created_at timestamptz not null default now(),
    finished_at timestamptz,
    constraint test_runs_client_id_id_key unique (client_id, id)
);

-- One at a time for a client: the database decides.
create unique index test_runs_one_running on test_runs (client_id) where status = 'running';

create index test_runs_operator_id_idx on test_runs (operator_id) where operator_id is not null;

-- One case in one run: the new answers beside the former ones, and how each rule did.
create table test_results (
    id bigint generated always as identity primary key,
    client_id bigint not null,
    run_id bigint not null,
    case_id bigint not null,
    name text not null,
    status text not null default 'waiting'
        constraint test_results_status_check check (status in ('waiting', 'running', 'passed', 'failed')),
    answers jsonb not null default '[]',
    verdicts jsonb not null default '[]',
    tokens_input bigint not null default 0,
    tokens_output bigint not null default 0,
    cost numeric(20, 10) not null default 0,
    ms integer,
    created_at timestamptz not null default now(),
    constraint test_results_run_fkey foreign key (client_id, run_id)
        references test_runs (client_id, id) on delete cascade,
    constraint test_results_case_fkey foreign key (client_id, case_id)
        references test_cases (client_id, id) on delete cascade
);

create index test_results_run_id_id_idx on test_results (run_id, id);

create index test_results_case_id_id_idx on test_results (case_id, id desc);
