"""Models: one protocol, four providers."""
