"""Knowledge: a client's documents, cut into passages that can be searched by words, and by meaning with pgvector."""

from datetime import datetime

import msgspec
from psycopg.rows import class_row

from server.repositories.pool import Conn


class Document(msgspec.Struct, frozen=True):
    """`content_hash` is SHA-256 of the source; `version` counts the times its passages were replaced."""

    id: int
    client_id: int
    title: str
    source_type: str
    source_url: str | None
    content_hash: bytes
    status: str
    error: str | None
    version: int
    tokens: int
    created_at: datetime
    updated_at: datetime


class Passage(msgspec.Struct, frozen=True):
    """A found passage. A greater `score` fits better; scores of the two searches do not compare."""

    id: int
    document_id: int
    title: str
    source_url: str | None
    position: int
    content: str
    score: float


async def create_document(
    conn: Conn, *, client_id: int, title: str, source_type: str, source_url: str | None, content_hash: bytes
) -> Document:
    """Pending until its passages are there. The same source twice raises Conflict `document_exists`."""
    async with conn.cursor(row_factory=class_row(Document)) as cursor:
        # A source to parse.
        await cursor.execute(
            """
            insert into knowledge_documents (client_id, title, source_type, source_url, content_hash)
            values (%(client_id)s, %(title)s, %(source_type)s, %(source_url)s, %(content_hash)s)
            returning id, client_id, title, source_type, source_url, content_hash, status, error, version, tokens,
                      created_at, updated_at
            """,
            {
                "client_id": client_id,
                "title": title,
                "source_type": source_type,
                "source_url": source_url,
                "content_hash": content_hash,
            },
        )
        row = await cursor.fetchone()
        assert row is not None
        return row


async def find_document(conn: Conn, *, client_id: int, document_id: int) -> Document | None:
    async with conn.cursor(row_factory=class_row(Document)) as cursor:
        # One document.
        await cursor.execute(
            """
            select id, client_id, title, source_type, source_url, content_hash, status, error, version, tokens,
                   created_at, updated_at
            from knowledge_documents
            where client_id = %(client_id)s and id = %(document_id)s
            """,
            {"client_id": client_id, "document_id": document_id},
        )
        return await cursor.fetchone()


async def list_documents(conn: Conn, *, client_id: int) -> list[Document]:
    """Oldest first."""
    async with conn.cursor(row_factory=class_row(Document)) as cursor:
        # What a client's AI may quote.
        await cursor.execute(
            """
            select id, client_id, title, source_type, source_url, content_hash, status, error, version, tokens,
                   created_at, updated_at
            from knowledge_documents
            where client_id = %(client_id)s
            order by id
            """,
            {"client_id": client_id},
        )
        return await cursor.fetchall()


async def fail_document(conn: Conn, *, client_id: int, document_id: int, error: str) -> None:
    """`error` says to people what was wrong with the source. Passages of an earlier version stay."""
    # Could not be read.
    await conn.execute(
        """
        update knowledge_documents set status = 'failed', error = %(error)s, updated_at = now()
        where client_id = %(client_id)s and id = %(document_id)s
        """,
        {"client_id": client_id, "document_id": document_id, "error": error},
    )


async def delete_document(conn: Conn, *, client_id: int, document_id: int) -> bool:
    """Its passages go too. False when there is no such document."""
    # Nothing of it stays.
    cursor = await conn.execute(
        "delete from knowledge_documents where client_id = %(client_id)s and id = %(document_id)s returning id",
        {"client_id": client_id, "document_id": document_id},
    )
    return await cursor.fetchone() is not None


async def replace_chunks(conn: Conn, *, client_id: int, document_id: int, contents: list[str], tokens: int) -> None:
    """The passages of a document, in order, in place of any before; the document is ready then.

    Changes nothing when the document is not this client's.
    """
    # Old passages first: their positions are taken.
    await conn.execute(
        "delete from knowledge_chunks where client_id = %(client_id)s and document_id = %(document_id)s",
        {"client_id": client_id, "document_id": document_id},
    )
    # One statement for any number; positions from 1.
    await conn.execute(
        """
        insert into knowledge_chunks (client_id, document_id, position, content)
        select d.client_id, d.id, c.position, c.content
        from knowledge_documents d, unnest(%(contents)s::text[]) with ordinality as c (content, position)
        where d.client_id = %(client_id)s and d.id = %(document_id)s
        """,
        {"client_id": client_id, "document_id": document_id, "contents": contents},
    )
    # A new version, whole.
    await conn.execute(
        """
        update knowledge_documents
        set status = 'ready', error = null, version = version + case when status = 'pending' then 0 else 1 end,
            tokens = %(tokens)s, updated_at = now()
        where client_id = %(client_id)s and id = %(document_id)s
        """,
        {"client_id": client_id, "document_id": document_id, "tokens": tokens},
    )


async def search_words(conn: Conn, *, client_id: int, query: str, limit: int) -> list[Passage]:
    """The best passages that hold any of the query's words. `query` may be any text at all."""
    async with conn.cursor(row_factory=class_row(Passage)) as cursor:
        # plainto_tsquery takes hostile text and joins words by "and"; a question seldom has all of them, so "or".
        await cursor.execute(
            """
            select c.id, c.document_id, d.title, d.source_url, c.position, c.content,
                   ts_rank_cd(c.search, q.words)::float8 as score
            from (
                select replace(plainto_tsquery('simple', %(query)s)::text, ' & ', ' | ')::tsquery as words
            ) q
            join knowledge_chunks c on c.search @@ q.words
            join knowledge_documents d on d.client_id = c.client_id and d.id = c.document_id
            where c.client_id = %(client_id)s
            order by score desc, c.id
            limit %(limit)s
            """,
            {"client_id": client_id, "query": query, "limit": limit},
        )
        return await cursor.fetchall()


async def has_embeddings(conn: Conn) -> bool:
    """System-wide: whether this database can search by meaning, that is, has pgvector."""
    # The column is there only with the extension.
    cursor = await conn.execute(
        """
        select exists (
            select from pg_attribute
            where attrelid = to_regclass('knowledge_chunks') and attname = 'embedding' and not attisdropped
        )
        """
    )
    row = await cursor.fetchone()
    return bool(row and row[0])


async def set_embeddings(conn: Conn, *, client_id: int, document_id: int, embeddings: list[list[float]]) -> None:
    """One embedding a passage, by position. Only where `has_embeddings`."""
    # pgvector reads the text of an array: [1,2,3].
    await conn.execute(
        """
        update knowledge_chunks c set embedding = e.embedding::vector
        from unnest(%(embeddings)s::text[]) with ordinality as e (embedding, position)
        where c.client_id = %(client_id)s and c.document_id = %(document_id)s and c.position = e.position
        """,
        {
            "client_id": client_id,
            "document_id": document_id,
            "embeddings": [msgspec.json.encode(embedding).decode() for embedding in embeddings],
        },
    )


async def search_meaning(conn: Conn, *, client_id: int, embedding: list[float], limit: int) -> list[Passage]:
    """The nearest passages; `score` is the cosine similarity, -1 to 1. Only where `has_embeddings`."""
    async with conn.cursor(row_factory=class_row(Passage)) as cursor:
        # Exact, over one client's passages alone; those of another embedder have another width and are left out.
        await cursor.execute(
            """
            select c.id, c.document_id, d.title, d.source_url, c.position, c.content,
                   1 - (c.embedding <=> q.embedding) as score
            from (select %(embedding)s::text::vector as embedding) q
            join knowledge_chunks c on vector_dims(c.embedding) = vector_dims(q.embedding)
            join knowledge_documents d on d.client_id = c.client_id and d.id = c.document_id
            where c.client_id = %(client_id)s
            order by score desc, c.id
            limit %(limit)s
            """,
            {"client_id": client_id, "embedding": msgspec.json.encode(embedding).decode(), "limit": limit},
        )
        return await cursor.fetchall()
