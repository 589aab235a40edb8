"""One check: what it finds, how long it may take, and what becomes of it when it breaks itself."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import msgspec

from server import log
from server.errors import FrontdeskError
from server.protocol.admin.doctor import Finding, FindingStatus

logger = log.get("doctor")

# Seconds for one check. The slowest asks several hosts at once, 5 s each.
CHECK_S = 15.0


class Found(msgspec.Struct, frozen=True):
    """What a check has to say, and what to do about it."""

    status: FindingStatus
    says: str
    advice: str | None = None


class Check(msgspec.Struct, frozen=True):
    """`look` finds one thing or more; it may raise what our own errors say better."""

    name: str
    look: Callable[[], Awaitable[list[Found]]]


def counted(n: int, one: str, many: str) -> str:
    """A number with what it counts: "1 person may", "1,234 people may"."""
    return f"{n:,} {one if n == 1 else many}"


def fine(says: str) -> Found:
    """Nothing needs to be done."""
    return Found("ok", says)


def worth(says: str, advice: str) -> Found:
    """It works, and should be looked at."""
    return Found("warning", says, advice)


def wrong(says: str, advice: str) -> Found:
    """It does not work."""
    return Found("error", says, advice)


async def carry_out(checks: list[Check]) -> list[Finding]:
    """All of them at once; findings in the order of the checks. Raises nothing."""
    return [finding for each in await asyncio.gather(*map(_carry_out, checks)) for finding in each]


async def _carry_out(check: Check) -> list[Finding]:
    began = time.monotonic()
    try:
        async with asyncio.timeout(CHECK_S):
            found = await check.look()
    except FrontdeskError as error:
        found = [wrong(error.message, "See the line of what it needs, and run the doctor again.")]
    except TimeoutError:
        found = [wrong(f"not found out within {CHECK_S:.0f} s", "Something it asks hangs; run the doctor again.")]
    except Exception as error:
        # A doctor that dies of one check helps nobody; the log has the traceback.
        logger.exception("check broke", check=check.name)
        found = [wrong(f"this check broke: {type(error).__name__}", "This is a fault of Frontdesk; its log says more.")]
    ms = round((time.monotonic() - began) * 1000)
    return [Finding(check=check.name, status=each.status, says=each.says, advice=each.advice, ms=ms) for each in found]
