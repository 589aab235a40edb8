"""Close codes. The range carries the verdict, so a new code needs no new widget.

4000 to 4399: reconnect. 4400 to 4499: do not.
"""

from enum import IntEnum


class Close(IntEnum):
    DRAINING = 4001
    GAP = 4002
    TOO_SLOW = 4008
    TOO_MANY = 4029
    PROTOCOL = 4400
    BAD_KEY = 4401
    ORIGIN = 4403
    REPLACED = 4409
    ERASED = 4410
    VERSION = 4426


def may_reconnect(code: int) -> bool:
    """The verdict of a code; anything outside our range (a lost link, 1006 and the like) may reconnect."""
    return not 4400 <= code <= 4499
