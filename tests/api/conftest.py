"""The fixtures over real sockets."""

from tests.flows.fixtures import desk, two
from tests.flows.world import shared_world, world

__all__ = ["desk", "shared_world", "two", "world"]
