"""Documents as their owners see them: given in, looked at, deleted. Each belongs to a principal.

A document is known by what its owner calls it (`source_id`), or else by its content. Given in
again it keeps its id; a new version takes the place of the old one only once it can be found.
"""

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.engine import Database
from app.workflows.queue import Queue

from app.errors import NotFound

INGEST = "ingest"
Status = Literal["queued", "running", "ready", "failed"]


class NewDocument(BaseModel, frozen=True):
    """What is to be taken in: `content` as it came, of a type that `parse` reads."""

    title: str
    content: bytes
    media_type: str
    metadata: dict[str, Any] = {}
    source_id: str | None = None

    @property
    def hash(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


class StoredDocument(BaseModel):
    """The newest version of a document, and how many chunks of it can be found already."""

    id: UUID
    title: str
    status: Status
    stage: str
    error: str | None
    chunks: int
    version: int
    metadata: dict[str, Any]
    source_id: str
    created_at: datetime


class Documents:
    """All documents. There is no way to reach one without its principal."""

    def __init__(self, database: Database, queue: Queue) -> None:
        self._database = database
        self._queue = queue

    async def add(self, principal: str, new: NewDocument) -> StoredDocument:
        """Take a document in, unless it is there already; it is ingested later."""
        async with self._database.begin() as connection:
            key = {"principal": principal, "source": new.source_id or f"sha256:{new.hash}"}
            # Locks the document's row, so that two of its versions are added one by one.
            row = (await connection.execute(text(_FIND_OR_MAKE), key)).one()
            values = {
                "id": row.id,
                "version": row.version,
                "hash": new.hash,
                "title": new.title,
                "media_type": new.media_type,
                "metadata": json.dumps(new.metadata),
            }
            if not await connection.scalar(text(_IS_SAME), values):
                version = await connection.scalar(text(_NEXT_VERSION), values)
                await connection.execute(
                    text(_INSERT_VERSION), {**values, "content": new.content, "version": version}
                )
                workflow_id = _workflow_id(row.id, version)
                await self._queue.add(connection, INGEST, workflow_id, str(row.id), version)
            return await self._read(connection, principal, row.id)

    async def get(self, principal: str, document_id: UUID) -> StoredDocument:
        """Return a document; raise `NotFound` where the principal has none of this id."""
        async with self._database.begin() as connection:
            return await self._read(connection, principal, document_id)

    async def list(
        self, principal: str, *, limit: int = 50, after: UUID | None = None
    ) -> Sequence[StoredDocument]:
        """Return up to `limit` documents, the newest first, from behind the document `after`.

        Raises `NotFound` where there is no such document: nobody can tell what came behind it.
        """
        values = {"principal": principal, "limit": limit, "after": after}
        behind = f"AND (d.created_at, d.id) < {_PLACE}" if after else ""
        query = f"{_SELECT} {behind} ORDER BY d.created_at DESC, d.id DESC LIMIT :limit"
        async with self._database.begin() as connection:
            if after:
                await self._read(connection, principal, after)
            rows = await connection.execute(text(query), values)
        return [StoredDocument.model_validate(dict(row)) for row in rows.mappings()]

    async def find(self, principal: str, ids: Sequence[UUID]) -> Sequence[StoredDocument]:
        """Return those of the documents `ids` that the principal has."""
        values = {"principal": principal, "ids": list(ids)}
        async with self._database.begin() as connection:
            rows = await connection.execute(text(f"{_SELECT} AND d.id = ANY(:ids)"), values)
        return [StoredDocument.model_validate(dict(row)) for row in rows.mappings()]

    async def delete(self, principal: str, document_id: UUID) -> None:
        """Delete a document with all that was made of it; raise `NotFound` where there is none."""
        async with self._database.begin() as connection:
            values = {"principal": principal, "id": document_id}
            version = await connection.scalar(text(_DELETE), values)
            if version is None:
                raise _missing(document_id)
            # Where this fails nothing is deleted, and it can be tried again.
            await self._queue.remove(*(_workflow_id(document_id, n + 1) for n in range(version)))

    async def _read(self, connection: AsyncConnection, principal: str, id: UUID) -> StoredDocument:
        query = text(f"{_SELECT} AND d.id = :id")
        found = await connection.execute(query, {"principal": principal, "id": id})
        row = found.mappings().one_or_none()
        if row is None:
            raise _missing(id)
        return StoredDocument.model_validate(dict(row))


def _missing(document_id: UUID) -> NotFound:
    return NotFound(f"There is no document {document_id}.")


def _workflow_id(document_id: UUID, version: int) -> str:
    return f"{INGEST}-{document_id}-{version}"


_FIND_OR_MAKE = """
    INSERT INTO rag.documents (principal, source_id) VALUES (:principal, :source)
    ON CONFLICT (principal, source_id) DO UPDATE SET principal = excluded.principal
    RETURNING id, version"""
_IS_SAME = """
    SELECT true FROM rag.versions
    WHERE document_id = :id AND version = :version AND status <> 'failed' AND hash = :hash
        AND title = :title AND media_type = :media_type AND metadata = CAST(:metadata AS jsonb)"""
_NEXT_VERSION = "UPDATE rag.documents SET version = version + 1 WHERE id = :id RETURNING version"
_INSERT_VERSION = """
    INSERT INTO rag.versions (document_id, version, hash, title, media_type, metadata, content)
    VALUES (:id, :version, :hash, :title, :media_type, CAST(:metadata AS jsonb), :content)"""
_DELETE = "DELETE FROM rag.documents WHERE principal = :principal AND id = :id RETURNING version"
_SELECT = """
    SELECT d.id, v.title, v.status, v.stage, v.error, v.version, v.metadata, d.source_id,
        d.created_at, (
            SELECT count(*) FROM rag.chunks c JOIN rag.generations g ON g.id = c.generation
            WHERE c.document_id = d.id AND g.is_active
        ) AS chunks
    FROM rag.documents d
    JOIN rag.versions v ON v.document_id = d.id AND v.version = d.version
    WHERE d.principal = :principal"""
_PLACE = """(
    SELECT created_at, id FROM rag.documents WHERE principal = :principal AND id = :after)"""
