alter table turns
    drop column cost,
    drop column tokens_output,
    drop column tokens_input,
    drop column model;
