"""The public HTTP API. One module a noun; `errors` says every refusal in one shape."""
