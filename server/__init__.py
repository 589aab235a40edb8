"""Frontdesk: a self-hosted, multi-tenant AI front desk for websites. ARCHITECTURE.md is the map."""

__version__ = "0.1.0"
