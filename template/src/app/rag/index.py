"""The generations of the index: chunks that one embedding model made, and that one search reads.

Vectors of two models cannot be compared, so what a model made is a generation of its own. Exactly
one is active. Another one is built beside it, and takes its place at once when it is whole.
"""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.engine import Database
from app.rag.embed import Embeddings

from app.errors import Unavailable


class OtherIndex(Unavailable):
    code = "index_mismatch"


@dataclass(frozen=True)
class Generation:
    """What its chunks have in common; `language` is a text search configuration of Postgres."""

    id: int
    model: str
    dimensions: int
    language: str

    @property
    def vector(self) -> str:
        """The type of its vectors in SQL."""
        return f"halfvec({self.dimensions})"

    @property
    def index(self) -> str:
        """The SQL that makes its index by meaning, which is no other generation's."""
        return (
            f"CREATE INDEX IF NOT EXISTS chunks_of_{self.id} ON rag.chunks USING hnsw"
            f" ((embedding::{self.vector}) halfvec_cosine_ops)"
            f" WITH (m = 16, ef_construction = 64) WHERE generation = {self.id}"
        )


class Index:
    """The active generation, which has to be of the configured model and language."""

    def __init__(self, database: Database, embeddings: Embeddings, language: str) -> None:
        self._database = database
        self._embeddings = embeddings
        self._language = language

    async def check(self, *, thorough: bool = False) -> str:
        """Say what the index was made with; raise where that is not what is configured."""
        async with self._database.begin() as connection:
            found = await self.find(connection)
        return f"{found.model}, {found.dimensions} dimensions" if found else "empty"

    async def find(self, connection: AsyncConnection) -> Generation | None:
        """Return the active generation, None before the first document; else as `current`."""
        found = await connection.execute(text(f"{_SELECT} WHERE is_active"))
        row = found.one_or_none()
        generation = Generation(*row) if row else None
        wanted = (self._embeddings.model, self._language)
        if generation and wanted != (generation.model, generation.language):
            raise OtherIndex(
                f"The index was made with {generation.model} ({generation.language}), and the"
                f" settings say {wanted[0]} ({wanted[1]}): set RAG__EMBEDDING_MODEL and"
                " RAG__LANGUAGE back, or make it again: poe ingest --rebuild."
            )
        return generation

    async def current(self) -> Generation:
        """Return the active generation, the first one where there is none.

        Raises `OtherIndex` where it was made with another model or language than is configured.
        """
        async with self._database.begin() as connection:
            if found := await self.find(connection):
                return found
        first = await self.add(first=True)
        async with self._database.begin() as connection:
            await connection.execute(text(_ACTIVATE), {"id": first.id})
        return await self.current()

    async def add(self, *, first: bool = False) -> Generation:
        """Return the generation of the configured model that waits to be active, or a new one.

        The `first` may have become active meanwhile. Raises `Unavailable` for settings of which no
        index can be made.
        """
        wanted: dict[str, Any] = {
            "model": self._embeddings.model,
            "dimensions": await self._embeddings.dimensions(),
            "language": self._language,
        }
        if wanted["dimensions"] > _MOST_DIMENSIONS:
            detail = (
                f"its vectors are longer than {_MOST_DIMENSIONS}, the most that an index holds."
            )
            raise Unavailable(f"RAG__EMBEDDING_MODEL cannot be {wanted['model']}: {detail}")
        async with self._database.begin() as connection:
            if not await connection.scalar(text(_IS_LANGUAGE), wanted):
                raise Unavailable(f"RAG__LANGUAGE: Postgres has no language {self._language!r}.")
            await connection.execute(text("LOCK TABLE rag.generations IN SHARE ROW EXCLUSIVE MODE"))
            waiting = f"{_SELECT} WHERE {_IS_WANTED}" + ("" if first else " AND NOT is_active")
            found = (await connection.execute(text(waiting), wanted)).first()
            found = found or (await connection.execute(text(_INSERT), wanted)).one()
            generation = Generation(*found)
            await connection.execute(text(generation.index))
        return generation

    async def activate(self, generation: Generation, splitter: str) -> bool:
        """Let searches read `generation` and delete all others, if no document is missing in it."""
        async with self._database.begin() as connection:
            await connection.execute(text("LOCK TABLE rag.versions IN SHARE MODE"))
            values = {"id": generation.id, "splitter": splitter}
            if await connection.scalar(text(_IS_MISSING), values):
                return False
            old = await connection.scalars(text(_DELETE_OTHERS), {"id": generation.id})
            for other in old.all():
                await connection.execute(text(f"DROP INDEX IF EXISTS rag.chunks_of_{other}"))
            await connection.execute(text(_ACTIVATE), {"id": generation.id})
        return True


_MOST_DIMENSIONS: Final = 4_000
_IS_LANGUAGE = "SELECT true FROM pg_ts_config WHERE cfgname = :language"
_SELECT = "SELECT id, model, dimensions, language FROM rag.generations"
_IS_WANTED = "model = :model AND dimensions = :dimensions AND language = :language"
_INSERT = """
    INSERT INTO rag.generations (model, dimensions, language)
    VALUES (:model, :dimensions, :language) RETURNING id, model, dimensions, language"""
_ACTIVATE = """
    UPDATE rag.generations SET is_active = true
    WHERE id = :id AND NOT EXISTS (SELECT FROM rag.generations WHERE is_active)"""
_DELETE_OTHERS = "DELETE FROM rag.generations WHERE id <> :id RETURNING id"
# Ready ones: whatever is on its way goes where the active generation is, once it is there.
MISSING = """
    SELECT v.document_id, v.version FROM rag.versions v
    WHERE v.status = 'ready' AND NOT EXISTS (
        SELECT FROM rag.chunks c WHERE c.document_id = v.document_id AND c.version = v.version
            AND c.generation = :id AND c.splitter = :splitter)"""
_IS_MISSING = f"SELECT EXISTS ({MISSING})"
