"""Sockets: `connection` is any socket of ours, `visitor` speaks the visitor's protocol over it."""
