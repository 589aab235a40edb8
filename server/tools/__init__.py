"""What the AI may do and look up: n8n webhooks, live data over HTTP and SQL."""
