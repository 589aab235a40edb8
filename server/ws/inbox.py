"""The inbox of an operator's socket: its first page, then each row as it changes."""

import asyncio
from typing import TYPE_CHECKING

import msgspec

from server import log
from server.errors import Unavailable
from server.fanout import channels
from server.protocol import codec
from server.protocol.operator import Colleague, InboxPage, InboxRow
from server.protocol.parts import Owner
from server.repositories import inbox
from server.repositories.inbox import InboxEntry
from server.repositories.pool import reading
from server.ws.connection import Connection

if TYPE_CHECKING:
    from server.services import Services

logger = log.get("ws")

# Rows of the first page.
ROWS = 50


class Inbox:
    """Of one client, or of all of them where `client_id` is None. A subscriber of the hub."""

    def __init__(self, services: "Services", connection: Connection, client_id: int | None) -> None:
        self._services = services
        self._connection = connection
        self._client_id = client_id
        # Not None while the page is read: rows wait here, so that none is older than the page it follows.
        self._held: list[bytes] | None = None
        self._reading: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Subscribes and sends the first page. Raises Unavailable."""
        await self._services.hub.join(channels.inbox(self._client_id), self)
        await self._page()

    async def end(self) -> None:
        """Hears nothing any more."""
        if self._reading is not None:
            self._reading.cancel()
        await self._services.hub.leave(channels.inbox(self._client_id), self)

    def deliver(self, seq: int, payload: bytes) -> None:
        if self._held is None:
            self._connection.put(payload)
        else:
            self._held.append(payload)

    def resync(self) -> None:
        """Sends the page anew: rows may have been missed."""
        if self._held is None:
            self._held = []
            self._reading = asyncio.create_task(self._again(), name="inbox")

    async def _again(self) -> None:
        try:
            await self._page()
        except Unavailable as error:
            # Whoever watches asks again, as the instance does while it is without Redis.
            logger.warning("inbox not read", dependency=error.dependency, reason=error.message)
        except Exception:
            # A bug, which nobody waits for: it must be seen.
            logger.exception("inbox broke")

    async def _page(self) -> None:
        self._held = []
        try:
            async with reading(self._services.pool) as conn:
                if self._client_id is None:
                    found = await inbox.page_of_all(conn, limit=ROWS + 1)
                else:
                    found = await inbox.page(conn, client_id=self._client_id, limit=ROWS + 1)
            rows = [_row(entry) for entry in found[:ROWS]]
            self._connection.put(codec.encode(InboxPage(rows=rows, more=len(found) > ROWS, client_id=self._client_id)))
        finally:
            held, self._held = self._held or [], None
            for payload in held:
                self._connection.put(payload)


def _row(entry: InboxEntry) -> InboxRow:
    operator = None
    if entry.owner_operator_id is not None:
        operator = Colleague(
            id=entry.owner_operator_id, name=entry.operator_name or "", avatar_url=entry.operator_avatar_url
        )
    return InboxRow(
        conversation_id=entry.public_id,
        client_id=entry.client_id,
        seq=entry.last_seq,
        owner=msgspec.convert(entry.owner, Owner),
        last_activity_at=entry.last_activity_at,
        preview=entry.preview,
        operator=operator,
        waiting_since=entry.waiting_since,
    )
