alter table integration_endpoints
    drop column effect, drop column proof, drop column confirm, drop column bound, drop column label;
