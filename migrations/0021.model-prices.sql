-- depends: 0020.api-usage
-- US dollars per million tokens.
create table model_prices (
    id bigint generated always as identity primary key,
    provider text not null,
    model text not null,
    input_per_million numeric(20, 10) not null,
    cached_input_per_million numeric(20, 10),
    output_per_million numeric(20, 10) not null,
    valid_from date not null,
    created_at timestamptz not null default now(),
    constraint model_prices_provider_model_valid_from_key unique (provider, model, valid_from),
    constraint model_prices_check check (
        input_per_million >= 0 and cached_input_per_million >= 0 and output_per_million >= 0
    )
);
