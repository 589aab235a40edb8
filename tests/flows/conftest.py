"""The fixtures over real sockets."""

from tests.flows.fixtures import desk, two
from tests.turns.toolkit import webhook

__all__ = ["desk", "two", "webhook"]
