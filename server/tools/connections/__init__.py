"""How to reach a client's own systems: typed configurations and their test."""
