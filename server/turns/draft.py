"""Drafts: a chat of the console is run with settings that nobody has saved yet, by the same engine as any other.

The draft takes the client's place where a turn reads the client: its prompt and its model in the row, its tools in the
catalogue. A visitor's turn asks for none of it.
"""

import msgspec

from server.errors import FrontdeskError
from server.repositories import drafts
from server.repositories.pool import Pool, reading
from server.tools.catalogue import Catalogue
from server.tools.recorded import Recording, recorded_toolbox
from server.tools.toolbox import Toolbox
from server.turns.job import Job, Played


class NoDraft(FrontdeskError):
    """A chat of the console without its draft: nobody knows what it may do. Internal."""

    code = "no_draft"


class Drafts:
    """Shared by all turns of an instance."""

    def __init__(self, pool: Pool, catalogue: Catalogue) -> None:
        self._pool = pool
        self._catalogue = catalogue

    async def applied(self, job: Job) -> Job:
        """A job of the console's with its draft, as that is now. Raises Unavailable, NoDraft."""
        async with reading(self._pool) as conn:
            draft = await drafts.of_turn(
                conn, client_id=job.client.id, conversation_id=job.conversation.id, turn_id=job.turn.id
            )
        if draft is None:
            raise NoDraft(f"turn {job.turn.public_id} of the console has no draft")
        client = job.client
        if draft.system_prompt is not None:
            client = msgspec.structs.replace(client, system_prompt=draft.system_prompt)
        if draft.model_config is not None:
            client = msgspec.structs.replace(client, model_config=draft.model_config)
        recording = None if draft.record is None else msgspec.convert(draft.record, Recording)
        return msgspec.structs.replace(job, client=client, played=Played(draft.tools, recording, draft.question))

    async def toolbox(self, job: Job) -> Toolbox:
        """What the model may use. With a recording nothing in it can reach anybody. Raises Unavailable."""
        played = job.played
        if played is None:
            return await self._catalogue.offered(job.client)
        if played.tools is None:
            toolbox = await self._catalogue.offered(job.client)
        else:
            toolbox = await self._catalogue.drafted(job.client, played.tools)
        if played.recording is None:
            return toolbox
        return recorded_toolbox(toolbox, played.recording, question=played.question)
