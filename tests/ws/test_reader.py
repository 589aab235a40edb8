"""One reader of a conversation: told in order, and brought up to date."""

import asyncio

from msgspec.structs import replace

from server.fanout import channels
from server.protocol import codec
from server.protocol.visitor import FeedbackRecorded
from server.recovery import Recoverer, Recovery
from server.repositories.conversations import Conversation
from server.services import Services
from server.ws.connection import Dropped
from server.ws.reader import Reader
from tests.support import Shop, eventually, visit


class Slow(Recoverer):
    """What it has read reaches nobody before `gate` is open."""

    def __init__(self, services: Services) -> None:
        super().__init__(services.pool, services.journal, services.recoverer._live)
        self.gate = asyncio.Event()
        self.gate.set()
        self.reads = 0

    async def recover(self, conversation: Conversation, *, epoch: str | None, last_seq: int | None) -> Recovery:
        recovery = await super().recover(conversation, epoch=epoch, last_seq=last_seq)
        self.reads += 1
        await self.gate.wait()
        return recovery


class Sheet:
    """Keeps what a reader is told."""

    def __init__(self) -> None:
        self.seqs: list[int] = []

    def put(self, payload: bytes, dropped: Dropped | None = None) -> None:
        frame = codec.decode_to_visitor(payload)
        if isinstance(frame, FeedbackRecorded):
            self.seqs.append(frame.seq)


async def test_what_is_missed_while_it_catches_up_is_read_afterwards(services: Services, shop: Shop) -> None:
    """Redis comes back a second time while the journal is read: what was lost in between comes without a third."""
    slow, sheet = Slow(services), Sheet()
    session = await visit(services, shop)
    conversation = session.conversation
    gaps: list[str] = []
    reader = Reader(replace(services, recoverer=slow), sheet, gaps.append)

    async def rate() -> None:
        async with services.journal.write(client_id=shop.client.id, conversation_id=conversation.id) as entry:
            await entry.locked()
            entry.append(FeedbackRecorded(seq=entry.next_seq, message_id="msg_any", rating="up"))

    async def told() -> bool:
        return sheet.seqs == [1, 2]

    async def read() -> bool:
        return slow.reads == 2

    recovery = await reader.begin(conversation, epoch=conversation.epoch, last_seq=0)
    reader.release(conversation, recovery)
    await rate()
    slow.gate.clear()
    reader.resync()
    await eventually(read, "the journal is read")
    # Nobody hears of this one.
    await services.hub.leave(channels.conversation(conversation.public_id), reader)
    await rate()
    await services.hub.join(channels.conversation(conversation.public_id), reader)
    reader.resync()
    slow.gate.set()
    await eventually(told, "both are told")
    assert gaps == []
    await reader.leave()
