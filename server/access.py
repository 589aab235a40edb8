"""Who is asking: keys, origins, session tokens. The one place that says yes or no.

Answers to a wrong key, a wrong token and somebody else's session are the same, so that nothing can be probed.
"""

import time

import msgspec

from server import ids, log
from server.errors import Conflict, Forbidden, Invalid, NotFound, SecretUnreadable, Unauthorized
from server.net import identity
from server.net.identity import Identity
from server.net.signing import Keyring
from server.net.vault import IDENTITY_SECRET, Vault
from server.repositories import clients, conversations, visitors
from server.repositories.clients import Client
from server.repositories.conversations import Conversation
from server.repositories.pool import Conn, Pool, reading, unit_of_work

logger = log.get("access")

# Seconds a client's row may be old: revoking a key or suspending a client reaches everybody within 5 s.
CLIENT_AGE_S = 3.0
# Rows kept; past it the oldest goes. A client is about 2 KB.
CLIENTS_KEPT = 2_000


class Session(msgspec.Struct, frozen=True):
    """A browser's chat, proven by its token. `token` is the secret itself, to be given back to its owner only."""

    client: Client
    conversation: Conversation
    token: str


class Access:
    """Checks credentials against Postgres, clients through a cache of a few seconds."""

    def __init__(self, pool: Pool, keyring: Keyring, vault: Vault) -> None:
        self._pool = pool
        self._keyring = keyring
        self._vault = vault
        self._by_key: dict[str, tuple[float, Client]] = {}
        self._origins: tuple[float, frozenset[str]] = (float("-inf"), frozenset())

    async def client_by_public_key(self, public_key: str) -> Client:
        """An active client. Raises Unauthorized, or Forbidden when it is suspended."""
        kept = self._by_key.get(public_key)
        if kept and time.monotonic() - kept[0] < CLIENT_AGE_S:
            return _active(kept[1])
        async with reading(self._pool) as conn:
            client = await clients.find_by_public_key(conn, public_key=_storable(public_key))
        if client is None:
            self._by_key.pop(public_key, None)
            raise Unauthorized("no client has this key", code="bad_key")
        while len(self._by_key) >= CLIENTS_KEPT:
            del self._by_key[next(iter(self._by_key))]
        self._by_key[public_key] = (time.monotonic(), client)
        return _active(client)

    async def client_by_secret_key(self, secret_key: str) -> Client:
        """An active client. Raises Unauthorized, or Forbidden when it is suspended."""
        async with reading(self._pool) as conn:
            for digest in self._keyring.digests("api-key", secret_key):
                client = await clients.find_by_api_key_hash(conn, api_key_hash=digest)
                if client is not None:
                    return _active(client)
        raise Unauthorized("no client has this key", code="bad_key")

    async def origin_known(self, origin: str) -> bool:
        """Whether any active client allows this origin. The client's own list is checked once its key is known."""
        read_at, origins = self._origins
        if time.monotonic() - read_at >= CLIENT_AGE_S:
            async with reading(self._pool) as conn:
                origins = frozenset(await clients.origins(conn))
            self._origins = (time.monotonic(), origins)
        return origin in origins

    async def refresh(self, client: Client) -> Client:
        """The client as it is now. Raises as `client_by_public_key`."""
        return await self.client_by_public_key(client.public_key)

    async def session(self, client: Client, *, session_id: str, token: str) -> Session:
        """A session of this client. Raises Unauthorized: unknown, another client's and a wrong token look the same."""
        async with reading(self._pool) as conn:
            conversation = await conversations.find_by_session(
                conn, client_id=client.id, session_id=_storable(session_id)
            )
        if conversation is None or not self._keyring.matches("session-token", token, conversation.session_token_hash):
            raise Unauthorized("no session of this client has this token", code="bad_token")
        return Session(client, conversation, token)

    async def session_by_token(self, token: str, *, session_id: str) -> Session:
        """A session by its secret alone. Raises as `session`, and as `client_by_public_key`."""
        async with reading(self._pool) as conn:
            for digest in self._keyring.digests("session-token", token):
                conversation = await conversations.find_by_token(conn, session_token_hash=digest)
                if conversation is not None and conversation.session_id == session_id:
                    client = await clients.find(conn, client_id=conversation.client_id)
                    if client is not None:
                        return Session(_active(client), conversation, token)
        raise Unauthorized("no session has this token", code="bad_token")

    async def new_session(self, client: Client, *, channel: str, locale: str | None) -> Session:
        """Begins a conversation."""
        return await self._begin(client, ids.session_id(), channel=channel, locale=locale, user_identifier=None)

    async def session_for(
        self, client: Client, *, cid: str | None, locale: str | None, user_identifier: str | None
    ) -> tuple[Session, bool]:
        """A session for a first one-shot message, and whether it is new.

        The same `cid` of the same client finds the same session again, so that a retry that never saw the first
        answer does not begin a second conversation.
        """
        session_id = ids.session_id()
        if cid is not None:
            session_id = ids.from_digest("ses", self._keyring.digest("session-id", f"{client.id}:{cid}"))
            async with reading(self._pool) as conn:
                conversation = await conversations.find_by_session(conn, client_id=client.id, session_id=session_id)
            if conversation is not None:
                return Session(client, conversation, ""), False
        try:
            begun = await self._begin(client, session_id, channel="api", locale=locale, user_identifier=user_identifier)
        except Conflict:
            # The same first message at the same moment.
            return await self.adopt_session(client, session_id=session_id), False
        return begun, True

    async def begin_session(self, conn: Conn, client: Client, *, channel: str, locale: str | None) -> Session:
        """Begins a conversation in the open transaction, with what else belongs to it."""
        return await self._create(conn, client, ids.session_id(), channel=channel, locale=locale, user_identifier=None)

    async def _begin(
        self, client: Client, session_id: str, *, channel: str, locale: str | None, user_identifier: str | None
    ) -> Session:
        async with reading(self._pool) as conn:
            return await self._create(
                conn, client, session_id, channel=channel, locale=locale, user_identifier=user_identifier
            )

    async def _create(
        self,
        conn: Conn,
        client: Client,
        session_id: str,
        *,
        channel: str,
        locale: str | None,
        user_identifier: str | None,
    ) -> Session:
        token = ids.session_token()
        conversation = await conversations.create(
            conn,
            client_id=client.id,
            public_id=ids.conversation_id(),
            session_id=session_id,
            session_token_hash=self._keyring.digest("session-token", token),
            epoch=ids.epoch(),
            channel=channel,
            locale=locale or client.locale,
            user_identifier=user_identifier,
        )
        return Session(client, conversation, token)

    async def adopt_session(self, client: Client, *, session_id: str) -> Session:
        """A session of this client for a caller that proved to be the client. Raises NotFound."""
        async with reading(self._pool) as conn:
            conversation = await conversations.find_by_session(
                conn, client_id=client.id, session_id=_storable(session_id)
            )
        if conversation is None:
            raise NotFound("no session of this client has this id", field="session_id")
        return Session(client, conversation, "")

    async def vouched(self, client: Client, jwt: str) -> Identity:
        """Whom the client's backend vouches for. Raises Invalid `identity_off`, `identity_invalid`."""
        async with reading(self._pool) as conn:
            sealed = await clients.identity_secret(conn, client_id=client.id)
        if sealed is None:
            raise Invalid(
                "this client has no identity secret; `frontdesk client identity-secret` makes one",
                code="identity_off",
                field="identity",
            )
        try:
            secret = self._vault.open(sealed, client_id=client.id, field=IDENTITY_SECRET)
        except SecretUnreadable as error:
            # The visitor can chat all the same; whoever runs the deployment must see it.
            logger.exception("identity secret not readable", client=client.id)
            raise Invalid(
                "identities cannot be checked here at present", code="identity_off", field="identity"
            ) from error
        return identity.read(jwt, secret, now=time.time())

    async def identify(self, session: Session, jwt: str) -> Session:
        """The session with its verified visitor. Raises as `vouched` and `bind`; then nobody is verified by it."""
        return await self.bind(session, await self.vouched(session.client, jwt))

    async def bind(self, session: Session, vouched: Identity) -> Session:
        """Makes the conversation this person's. Raises Invalid `identity_other` when it is another's."""
        names = {"client_id": session.client.id, "conversation_id": session.conversation.id}
        async with unit_of_work(self._pool) as conn:
            visitor = await visitors.verify(
                conn,
                client_id=session.client.id,
                external_id=vouched.external_id,
                name=vouched.name,
                email=vouched.email,
            )
            theirs = await conversations.verify(conn, **names, visitor_id=visitor.id, verified_until=vouched.until)
            conversation = await conversations.find(conn, **names)
            if conversation is None:
                raise NotFound("this conversation was erased")
        if not theirs:
            raise Invalid(
                "this conversation belongs to another visitor; begin a new one",
                code="identity_other",
                field="identity",
            )
        return Session(session.client, conversation, session.token)


def check_origin(client: Client, origin: str | None) -> None:
    """Raises Forbidden unless the browser's `Origin` is one of the client's. Compared whole: scheme, host, port."""
    if origin is None or origin not in client.allowed_origins:
        raise Forbidden("this website is not among the client's allowed origins", code="origin_not_allowed")


def _active(client: Client) -> Client:
    if client.status != "active":
        raise Forbidden("this client is suspended", code="client_suspended")
    return client


def _storable(text: str) -> str:
    """Postgres takes no NUL and no half of a surrogate pair; no key or id of ours has one, and none may be dropped."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
