"""The newest seqs of conversations, for pings.

Ten thousand idle sockets ask five hundred times a second, and nobody waits for a pong: what is asked within a moment is
read from Postgres together.
"""

import asyncio
from collections.abc import Callable, Sequence

from server import log
from server.errors import FrontdeskError, NotFound
from server.repositories import conversations
from server.repositories.conversations import Conversation
from server.repositories.pool import Pool, reading

logger = log.get("heads")

# Seconds between two reads. A lone ping is answered at once, a crowd's fifty with one read.
GATHER_S = 0.1

# Is told the newest seq, or why there is none: NotFound once the conversation is erased, Unavailable without Postgres.
Told = Callable[[int | FrontdeskError], None]


class Heads:
    """Of one instance."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._asked: list[tuple[Conversation, Told]] = []
        self._read_at = float("-inf")
        self._reads: set[asyncio.Task[None]] = set()

    def ask(self, conversation: Conversation, told: Told) -> None:
        """`told` is called later, whoever may have gone meanwhile; it raises nothing."""
        if not self._asked:
            loop = asyncio.get_running_loop()
            loop.call_at(max(loop.time(), self._read_at + GATHER_S), self._begin)
        self._asked.append((conversation, told))

    async def read(self, wanted: Sequence[Conversation]) -> list[int | None]:
        """The newest seq of each; None of one that is no longer kept. Raises Unavailable."""
        if not wanted:
            return []
        keys = [(each.client_id, each.id) for each in wanted]
        async with reading(self._pool) as conn:
            found = await conversations.heads(conn, wanted=keys)
        return [found.get(key) for key in keys]

    def _begin(self) -> None:
        self._read_at = asyncio.get_running_loop().time()
        asked, self._asked = self._asked, []
        task = asyncio.create_task(self._answer(asked), name="heads")
        self._reads.add(task)
        task.add_done_callback(self._reads.discard)

    async def _answer(self, asked: list[tuple[Conversation, Told]]) -> None:
        try:
            found = await self.read([conversation for conversation, _ in asked])
        except FrontdeskError as error:
            for _, told in asked:
                told(error)
            return
        except Exception:
            # A bug must cost these pings, not those who ask, and be seen.
            logger.exception("heads not read")
            for _, told in asked:
                told(FrontdeskError("something went wrong"))
            return
        for head, (_, told) in zip(found, asked, strict=True):
            told(NotFound("this conversation is no longer kept", code="erased") if head is None else head)
