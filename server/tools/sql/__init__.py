"""Read-only statements in a client's own database."""
