"""The fixtures of turns with tools."""

from tests.turns.toolkit import toolshop, webhook

__all__ = ["toolshop", "webhook"]
