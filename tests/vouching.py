"""What a client's backend does to vouch for a visitor."""

import time
from typing import Any

import jwt

from server.net import identity
from server.net.vault import IDENTITY_SECRET, Vault
from server.repositories import clients, visitors
from server.repositories.pool import Pool, reading
from server.repositories.visitors import Visitor
from tests.support import SECRET_KEYS


async def new_identity_secret(pool: Pool, client_id: int) -> str:
    """Gives a client an identity secret, whether or not it had one; what its backend signs with."""
    secret = identity.new_secret()
    sealed = Vault(SECRET_KEYS).seal(secret, client_id=client_id, field=IDENTITY_SECRET)
    async with reading(pool) as conn:
        assert await clients.set_identity_secret(conn, client_id=client_id, identity_secret=sealed, replace=True)
    return secret


def signed(secret: str, sub: str, *, expires_s: float = 600, **claims: Any) -> str:
    """What the backend gives the page of a person."""
    return jwt.encode({"sub": sub, "exp": time.time() + expires_s, **claims}, secret, algorithm="HS256")


async def verified(pool: Pool, *, client_id: int, conversation_id: int) -> Visitor | None:
    """Who counts as verified in a conversation."""
    async with reading(pool) as conn:
        return await visitors.verified(conn, client_id=client_id, conversation_id=conversation_id)
