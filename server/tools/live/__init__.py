"""Tools that look something up in a client's own systems, over HTTP or SQL."""
