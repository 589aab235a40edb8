"""The fixtures over real sockets."""

from tests.flows.fixtures import desk, two
from tests.flows.world import shared_world, world
from tests.turns.toolkit import webhook

__all__ = ["desk", "shared_world", "two", "webhook", "world"]
