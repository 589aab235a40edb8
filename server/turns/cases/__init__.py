"""Test cases: conversations that are saved with the record of their tools, and asked again after a change."""
