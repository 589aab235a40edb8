"""What is told over HTTP of the answer to one message: from a reader's position on, until the turn has ended."""

import asyncio
from collections.abc import AsyncGenerator

from server import log
from server.access import Session
from server.api.follow import Follower, Item, Position
from server.errors import FrontdeskError, Unavailable
from server.protocol.visitor import TURN_ENDS
from server.repositories import turns
from server.repositories.pool import reading
from server.repositories.turns import Turn as TurnRow
from server.services import Services
from server.turns.intake import Accepted

logger = log.get("api")

# Seconds of silence until the journal is asked whether something was missed, and a comment keeps proxies from closing.
SILENCE_S = 10.0
# Seconds until the journal is asked again while Postgres is away.
AWAY_S = 1.0

_OVER = frozenset({"done", "failed", "stopped"})
# Frames that end a turn, as they begin on the wire.
_ENDS = tuple(f'{{"type":"{kind}"'.encode() for kind in TURN_ENDS)


async def until_ended(
    services: Services, session: Session, accepted: Accepted, follower: Follower, stands: Position | None
) -> AsyncGenerator[list[Item], None]:
    """What a reader that stands there is told, part by part, until the message's turn has ended.

    From the message itself on for one that stands nowhere. An empty part is silence; no part at all: it has it all.
    Raises Unavailable, NotFound before the first part only.
    """
    follower.begin(stands or Position(session.conversation.epoch, accepted.seq - 1))
    first = True
    while True:
        try:
            # The turn before the journal: of one that had ended, the journal has the end.
            turn = await turn_of(services, session, accepted)
            items = await follower.catch_up()
        except FrontdeskError as error:
            if first:
                raise
            logger.warning("follower not brought up to date", reason=error.message)
            if not isinstance(error, Unavailable):
                return  # the conversation is no more, as whoever asks again hears
            yield []
            await asyncio.sleep(AWAY_S)
            continue
        over = turn is None or turn.status in _OVER
        items, ended = _to_the_end(items, accepted, turn)
        if first and over and not ended and not (items and items[-1].whole):
            return
        yield items
        if over or ended:
            return
        first = False
        while (item := await follower.next(within_s=SILENCE_S)) is not None:
            yield [item]
            if _ends(item, accepted, turn):
                return


def _to_the_end(items: list[Item], accepted: Accepted, turn: TurnRow | None) -> tuple[list[Item], bool]:
    """The items up to the turn's end, and whether it is among them."""
    for at, item in enumerate(items):
        if _ends(item, accepted, turn):
            return items[: at + 1], True
    return items, False


def _ends(item: Item, accepted: Accepted, turn: TurnRow | None) -> bool:
    """Whether this frame is the last of the message's turn; the message itself where it has no turn."""
    if turn is None:
        return item.seq == accepted.seq and not item.whole
    return item.payload.startswith(_ENDS) and f'"turn_id":"{turn.public_id}"'.encode() in item.payload


async def turn_of(services: Services, session: Session, accepted: Accepted) -> TurnRow | None:
    """The turn that answers a message; None while people do."""
    async with reading(services.pool) as conn:
        return await turns.find_by_message(
            conn,
            client_id=session.client.id,
            conversation_id=session.conversation.id,
            message_public_id=accepted.message_id,
        )
