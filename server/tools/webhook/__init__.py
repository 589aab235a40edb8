"""Tools that an n8n workflow does: one signed call, an answer now or by callback."""
