"""What the command line sets up: tools, integrations, endpoints. All validation stands here."""
