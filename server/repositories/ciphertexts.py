"""Everything the deployment keeps sealed, for sealing it anew: system-wide."""

import msgspec
from psycopg.rows import class_row

from server.repositories.pool import Conn


class Sealed(msgspec.Struct, frozen=True):
    """One ciphertext. `id` is its row's; `owner` says what it is of, in words for the owner of the deployment."""

    id: int
    client_id: int
    owner: str
    ciphertext: bytes


async def list_signing_secrets(conn: Conn, *, after_id: int, limit: int) -> list[Sealed]:
    """System-wide: one page of what tools' calls are signed with, by id."""
    async with conn.cursor(row_factory=class_row(Sealed)) as cursor:
        # Of enabled tools and of others.
        await cursor.execute(
            """
            select ct.id, ct.client_id, 'tool ' || t.tool_name as owner, ct.signing_secret as ciphertext
            from client_tools ct join tools t on t.id = ct.tool_id
            where ct.id > %(after_id)s and ct.signing_secret is not null
            order by ct.id
            limit %(limit)s
            """,
            {"after_id": after_id, "limit": limit},
        )
        return await cursor.fetchall()


async def list_connection_configs(conn: Conn, *, after_id: int, limit: int) -> list[Sealed]:
    """System-wide: one page of how integrations connect, by id."""
    async with conn.cursor(row_factory=class_row(Sealed)) as cursor:
        # Of enabled integrations and of others.
        await cursor.execute(
            """
            select id, client_id, 'integration ' || id || ' (' || integration_type || ')' as owner,
                   connection_config as ciphertext
            from client_integrations
            where id > %(after_id)s
            order by id
            limit %(limit)s
            """,
            {"after_id": after_id, "limit": limit},
        )
        return await cursor.fetchall()


async def list_identity_secrets(conn: Conn, *, after_id: int, limit: int) -> list[Sealed]:
    """System-wide: one page of what clients' backends vouch with, by id."""
    async with conn.cursor(row_factory=class_row(Sealed)) as cursor:
        # A client's row is its own.
        await cursor.execute(
            """
            select id, id as client_id, 'identity secret' as owner, identity_secret as ciphertext from clients
            where id > %(after_id)s and identity_secret is not null
            order by id
            limit %(limit)s
            """,
            {"after_id": after_id, "limit": limit},
        )
        return await cursor.fetchall()


async def replace_signing_secret(conn: Conn, *, client_id: int, row_id: int, old: bytes, new: bytes) -> bool:
    """False, and nothing changes, when it is not `old` any more."""
    # Whoever changed it meanwhile is right.
    cursor = await conn.execute(
        """
        update client_tools set signing_secret = %(new)s
        where client_id = %(client_id)s and id = %(row_id)s and signing_secret = %(old)s
        returning id
        """,
        {"client_id": client_id, "row_id": row_id, "old": old, "new": new},
    )
    return await cursor.fetchone() is not None


async def replace_connection_config(conn: Conn, *, client_id: int, row_id: int, old: bytes, new: bytes) -> bool:
    """False, and nothing changes, when it is not `old` any more."""
    # The same configuration as before, so that what its last test said stays.
    cursor = await conn.execute(
        """
        update client_integrations set connection_config = %(new)s
        where client_id = %(client_id)s and id = %(row_id)s and connection_config = %(old)s
        returning id
        """,
        {"client_id": client_id, "row_id": row_id, "old": old, "new": new},
    )
    return await cursor.fetchone() is not None


async def replace_identity_secret(conn: Conn, *, client_id: int, row_id: int, old: bytes, new: bytes) -> bool:
    """False, and nothing changes, when it is not `old` any more."""
    # The same secret as before, so that whom it vouched for stays verified.
    cursor = await conn.execute(
        """
        update clients set identity_secret = %(new)s
        where id = %(client_id)s and id = %(row_id)s and identity_secret = %(old)s
        returning id
        """,
        {"client_id": client_id, "row_id": row_id, "old": old, "new": new},
    )
    return await cursor.fetchone() is not None
