"""The playground: an operator talks as a visitor would, with a draft of what the client's AI is set up with."""

from typing import Any

import msgspec

from server.access import Access, Session
from server.errors import Invalid, NotFound
from server.llm.registry import Registry
from server.protocol.client_config import ModelConfig, check_model
from server.repositories import audit, clients, drafts
from server.repositories.conversations import CONSOLE
from server.repositories.drafts import OpenDraft
from server.repositories.pool import Conn, Pool, reading, unit_of_work
from server.tools.catalogue import Catalogue


class DraftSettings(msgspec.Struct, frozen=True):
    """What is not saved yet. Each is the client's saved one where it is None."""

    system_prompt: str | None = None
    model: ModelConfig | None = None
    tools: list[str] | None = None

    @property
    def model_config(self) -> dict[str, Any] | None:
        """As the client's row has it."""
        return None if self.model is None else msgspec.to_builtins(self.model)

    def parts(self) -> list[str]:
        """What of it differs from what is saved, for the audit log."""
        return [name for name in self.__struct_fields__ if getattr(self, name) is not None]


def settings_of(draft: drafts.Draft) -> DraftSettings:
    """What a stored draft says."""
    model = None if draft.model_config is None else msgspec.convert(draft.model_config, ModelConfig)
    return DraftSettings(draft.system_prompt, model, draft.tools)


class Playground:
    """The chats of one instance's console."""

    def __init__(self, *, pool: Pool, access: Access, catalogue: Catalogue, registry: Registry) -> None:
        self._pool = pool
        self._access = access
        self._catalogue = catalogue
        self._registry = registry

    async def begin(
        self, *, operator_id: int | None, client_id: int, settings: DraftSettings, locale: str | None
    ) -> Session:
        """A chat of its own. Raises Invalid with a field below `draft`, NotFound without the client."""
        settings = await self.checked(client_id, settings)
        async with unit_of_work(self._pool) as conn:
            session = await self.open(conn, client_id=client_id, settings=settings, locale=locale)
            await audit.record(
                conn,
                client_id=client_id,
                operator_id=operator_id,
                action="playground.begin",
                target_type="conversation",
                target_id=session.conversation.public_id,
                details={"draft": settings.parts()},
            )
        return session

    async def open(
        self,
        conn: Conn,
        *,
        client_id: int,
        settings: DraftSettings,
        locale: str | None,
        record: dict[str, Any] | None = None,
    ) -> Session:
        """A chat of the console with its draft, in the open transaction; with a `record` one of a test run, whose tools
        are answered from it. Raises NotFound without the client."""
        client = await clients.find(conn, client_id=client_id)
        if client is None:
            raise NotFound("there is no such client")
        if locale is None and client.locale == "auto":
            locale = "en"  # nobody's browser says which
        session = await self._access.begin_session(conn, client, channel=CONSOLE, locale=locale)
        await drafts.create(
            conn,
            client_id=client_id,
            conversation_id=session.conversation.id,
            session_id=session.conversation.session_id,
            system_prompt=settings.system_prompt,
            model_config=settings.model_config,
            tools=settings.tools,
            record=record,
        )
        return session

    async def find(self, session_id: str) -> OpenDraft | None:
        """A chat of the playground, of any client: check whom the operator serves."""
        async with reading(self._pool) as conn:
            return await drafts.find_session(conn, session_id=session_id)

    async def redraft(self, *, operator_id: int | None, found: OpenDraft, settings: DraftSettings) -> None:
        """Another draft, from the next turn on. Raises Invalid with a field below `draft`, NotFound."""
        settings = await self.checked(found.client_id, settings)
        async with unit_of_work(self._pool) as conn:
            changed = await drafts.replace(
                conn,
                client_id=found.client_id,
                conversation_id=found.conversation_id,
                system_prompt=settings.system_prompt,
                model_config=settings.model_config,
                tools=settings.tools,
            )
            if not changed:
                raise NotFound("there is no such session")
            await audit.record(
                conn,
                client_id=found.client_id,
                operator_id=operator_id,
                action="playground.draft",
                target_type="conversation",
                target_id=found.public_id,
                details={"draft": settings.parts()},
            )

    async def checked(self, client_id: int, settings: DraftSettings, *, at: str = "draft") -> DraftSettings:
        """As it is stored. Raises Invalid with a field below `at`: what could not be saved cannot be tried either."""
        if settings.system_prompt is not None and "\0" in settings.system_prompt:
            raise Invalid(f"`{at}.system_prompt` may not contain U+0000", field=f"{at}.system_prompt")
        model = settings.model
        if model is not None:
            model = check_model(model, at=f"{at}.model")
            self._registry.check(model, at=f"{at}.model")
        if settings.tools:
            known = await self._catalogue.names(client_id)
            for no, name in enumerate(settings.tools):
                if name not in known:
                    field, has = f"{at}.tools[{no}]", ", ".join(known) or "none"
                    raise Invalid(f"`{field}`: this client has no tool {name!r}; it has: {has}", field=field)
        return msgspec.structs.replace(settings, model=model)
