"""What one turn may spend on tools. A model that goes round in circles costs its client money, and a visitor time."""

from collections import Counter

import msgspec

# Calls of the model that may end in tool calls; after them it must answer with what it has.
STEPS = 8
# Calls of tools, in all and in one step. Ten lookups at once are a long shopping list.
CALLS = 32
STEP_CALLS = 16
# Tokens in and out, over all calls of the model: ten times what a long answer with tools takes.
TOKENS = 200_000
# How often a tool's arguments may be wrong and mended; after that it is not offered any more.
MENDS = 2


class Budget(msgspec.Struct):
    """What a turn has spent so far."""

    steps: int = 0
    calls: int = 0
    tokens: int = 0
    mends: Counter[str] = msgspec.field(default_factory=Counter)
    # Tools that the visitor did not approve: asked once, they are not worn down by asking again.
    declined: set[str] = set()

    def may_call(self) -> bool:
        """Whether the model may still call tools."""
        return self.steps < STEPS and self.calls < CALLS and self.tokens < TOKENS

    def take(self) -> bool:
        """One more call, if there is room."""
        if self.calls >= CALLS:
            return False
        self.calls += 1
        return True

    def wrong(self, tool: str) -> bool:
        """The arguments for `tool` were wrong. Whether the model may mend them."""
        self.mends[tool] += 1
        return self.mends[tool] <= MENDS

    def withheld(self) -> set[str]:
        """Tools that the model could not get right, or the visitor did not want."""
        return self.declined | {tool for tool, times in self.mends.items() if times > MENDS}
