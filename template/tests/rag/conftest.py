"""What the tests of documents share: all parts on a database, and a model that knows few words."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from pydantic import SecretStr
from pydantic_ai.embeddings import EmbeddingModel
from sqlalchemy import text as sql

from app.db.engine import Database, open_database
from app.db.settings import DatabaseSettings
from app.rag.documents import Documents, NewDocument, StoredDocument
from app.rag.embed import Embeddings
from app.rag.index import Index
from app.rag.ingest import Ingestion
from app.rag.offline import OfflineEmbedding
from app.rag.retrieve import Retriever
from app.rag.settings import RAGSettings
from app.rag.split import split
from app.rag.store import Store, Version
from app.workflows.queue import open_queue

MEANINGS = [
    {"dog", "hound", "puppy"},
    {"car", "automobile", "vehicle"},
    {"money", "refund", "price"},
]


class Meanings(OfflineEmbedding):
    """Counts the words of a text that mean the same; it knows those of `MEANINGS`."""

    model_name = "meanings"
    dimensions = len(MEANINGS)
    nature = "is for tests"

    def vectors(self, texts: list[str]) -> list[list[float]]:
        return [[float(sum(word in text for word in same)) for same in MEANINGS] for text in texts]


@dataclass
class Rag:
    """The parts, as `open_resources` puts them together, and a worker's work without one."""

    database: Database
    documents: Documents
    store: Store
    index: Index
    embeddings: Embeddings
    settings: RAGSettings
    retriever: Retriever

    @property
    def splitter(self) -> str:
        """What made the chunks, as ingestion calls it."""
        return Ingestion(self.store, self.index, self.embeddings, self.settings).splitter

    async def add(self, text: str, principal: str = "alice", **given: Any) -> StoredDocument:
        """Give a document in."""
        given = {"title": "Notes", "media_type": "text/plain", **given}
        return await self.documents.add(principal, NewDocument(content=text.encode(), **given))

    async def ready(self, text: str, principal: str = "alice", **given: Any) -> StoredDocument:
        """Give a document in, and ingest it."""
        document = await self.add(text, principal, **given)
        version = newest(document)
        await self.store.begin(version)
        await self.store.save_text(version, text)
        await self.prepare(version)
        await self.store.publish(version, await self.index.current())
        return await self.documents.get(principal, document.id)

    async def prepare(self, version: Version) -> None:
        """Split and embed, so that nothing is left but to publish."""
        generation = await self.index.current()
        pieces = split(await self.store.text(version), max_tokens=self.settings.chunk_tokens)
        await self.store.stage(version, generation, pieces, self.splitter)
        staged = await self.store.staged(version, generation, 0, len(pieces))
        vectors = await self.embeddings.documents([piece.text for piece in staged])
        positions = [piece.position for piece in staged]
        await self.store.save_vectors(version, generation, positions, vectors)

    async def texts(self, query: str = "words", principal: str = "alice") -> list[str]:
        """Return the texts that a search finds."""
        return [found.text for found in await self.retriever.retrieve(principal, query)]

    async def rows(self, table: str, document: UUID | None = None) -> int:
        """Count the rows of a table, of all documents or one."""
        which = f"WHERE t::text LIKE '%{document}%'" if document else ""
        async with self.database.begin() as connection:
            query = sql(f"SELECT count(*) FROM {table} t {which}")  # noqa: S608 - a test's own
            count: int = await connection.scalar(query)
            return count

    async def execute(self, statement: str, **values: Any) -> None:
        async with self.database.begin() as connection:
            await connection.execute(sql(statement), values)


def newest(document: StoredDocument) -> Version:
    return Version(str(document.id), document.version)


@asynccontextmanager
async def open_rag(
    url: str, model: EmbeddingModel | None = None, **settings: Any
) -> AsyncIterator[Rag]:
    """Put the parts together on the database at `url`; each request to `model` is tried once."""
    chosen = RAGSettings.model_validate(settings)
    embeddings = Embeddings(model or Meanings(), 5, 1, chosen.embedding_batch_size)
    async with open_database(DatabaseSettings(url=SecretStr(url))) as database:
        with open_queue(database) as queue:
            index = Index(database, embeddings, chosen.language)
            yield Rag(
                database,
                Documents(database, queue),
                Store(database),
                index,
                embeddings,
                chosen,
                Retriever(database, index, embeddings, chosen),
            )


@pytest.fixture
async def rag(fresh_database: str) -> AsyncIterator[Rag]:
    async with open_rag(fresh_database) as rag:
        yield rag
