"""The fixtures over real sockets."""

from tests.flows.fixtures import desk, two

__all__ = ["desk", "two"]
