"""What ingestion reads and writes between its stages, a version of a document at a time.

Chunks are made in `staged_chunks` and move to `chunks`, where searches read, in one transaction
that also removes the version before: a search finds the old one or the new one, whole.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Row, text

from app.db.engine import Database
from app.rag.embed import Vector
from app.rag.index import MISSING, Generation
from app.rag.split import Piece


class Version(NamedTuple):
    """One version of one document."""

    document_id: str
    number: int

    @property
    def key(self) -> dict[str, Any]:
        return {"id": self.document_id, "version": self.number}


class Store:
    """Versions and their chunks in `database`, as workers need them: of all principals."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(self, version: Version) -> tuple[int, str] | None:
        """Note that work begins; return how often it has and for whom, None where for nobody."""
        row = await self._row(_BEGIN, version)
        return (row.attempts, row.principal) if row else None

    async def enter(self, version: Version, stage: str) -> None:
        """Note the stage that is worked on."""
        await self._scalar(f"UPDATE rag.versions SET stage = :stage {_IS_IT}", version, stage=stage)

    async def fail(self, version: Version, error: str) -> None:
        """Note why there will be nothing to find, and drop what has been made so far."""
        await self._scalar(_FAIL, version, error=error)

    async def content(self, version: Version) -> tuple[bytes, str] | None:
        """Return the document as it came, and its media type; None where it is text already."""
        row = await self._row(f"SELECT content, media_type FROM rag.versions {_IS_IT}", version)
        return (row.content, row.media_type) if row and row.content is not None else None

    async def save_text(self, version: Version, whole: str) -> None:
        """Keep the text in place of what it was read from."""
        await self._scalar(
            f"UPDATE rag.versions SET text = :text, content = NULL {_IS_IT}", version, text=whole
        )

    async def text(self, version: Version) -> str:
        """Return the text; empty where the version is gone."""
        return await self._scalar(f"SELECT text FROM rag.versions {_IS_IT}", version) or ""

    async def stage(
        self, version: Version, generation: Generation, pieces: list[Piece], splitter: str
    ) -> None:
        """Put the pieces that `splitter` made of the text down, in place of any that were."""
        columns = {
            "headings": ["\n".join(piece.headings) for piece in pieces],
            "starts": [piece.start for piece in pieces],
            "ends": [piece.end for piece in pieces],
            "texts": [piece.text for piece in pieces],
        }
        values = {**version.key, "generation": generation.id, "splitter": splitter, **columns}
        async with self._database.begin() as connection:
            is_there = await connection.scalar(text(_KEEP), values)
            wanted = text(f"SELECT true FROM rag.versions {_IS_IT}")
            if is_there and await connection.scalar(wanted, values):
                await connection.execute(text(_UNSTAGE), values)
                await connection.execute(text(_STAGE), values)

    async def staged(
        self, version: Version, generation: Generation, start: int, count: int
    ) -> Sequence[Row[Any]]:
        """Return `count` pieces from number `start` on: position, and text below its titles."""
        values = {"generation": generation.id, "start": start, "count": count, **version.key}
        async with self._database.begin() as connection:
            return (await connection.execute(text(_STAGED), values)).all()

    async def save_vectors(
        self,
        version: Version,
        generation: Generation,
        positions: Sequence[int],
        vectors: Sequence[Vector],
    ) -> None:
        """Keep the vectors of the pieces at `positions`."""
        values = {"positions": list(positions), "vectors": [vector_text(v) for v in vectors]}
        await self._scalar(_SAVE_VECTORS, version, generation=generation.id, **values)

    async def missing(self, generation: Generation, splitter: str) -> list[Version]:
        """Return what can be found, but not yet in `generation`, split so."""
        values = {"id": generation.id, "splitter": splitter}
        async with self._database.begin() as connection:
            rows = await connection.execute(text(MISSING), values)
        return [Version(str(row.document_id), row.version) for row in rows]

    async def publish(self, version: Version, generation: Generation) -> bool:
        """Let searches find the version, and no older one.

        False where another generation has taken the place of this one: make its chunks again.
        """
        values = {**version.key, "generation": generation.id}
        async with self._database.begin() as connection:
            # First what `Index.activate` locks first, else each could wait for the other.
            await connection.execute(text("LOCK TABLE rag.versions IN ROW EXCLUSIVE MODE"))
            if not await connection.scalar(text(_KEEP), values):
                return False
            # Holds off a deletion, or another version, until all of it is there.
            locked = "SELECT true FROM rag.documents WHERE id = :id FOR UPDATE"
            if await connection.scalar(text(locked), values):
                for statement in (_DROP_SAME, _MOVE, _UNSTAGE, _DROP_OLDER, _READY):
                    await connection.execute(text(statement), values)
        return True

    async def _scalar(self, statement: str, version: Version, **values: Any) -> Any:
        row = await self._row(statement, version, **values)
        return row[0] if row else None

    async def _row(self, statement: str, version: Version, **values: Any) -> Row[Any] | None:
        async with self._database.begin() as connection:
            result = await connection.execute(text(statement), {**version.key, **values})
            return result.first() if result.returns_rows else None


def vector_text(vector: Vector) -> str:
    """Write a vector as Postgres reads it; a halfvec keeps about four digits."""
    return "[" + ",".join(f"{value:.5g}" for value in vector) + "]"


_IS_IT = "WHERE document_id = :id AND version = :version"
# Whether the generation is still there, which it then is until the transaction ends.
_KEEP = "SELECT true FROM rag.generations WHERE id = :generation FOR KEY SHARE"
_BEGIN = """
    UPDATE rag.versions v SET status = 'running', attempts = attempts + 1 FROM rag.documents d
    WHERE d.id = v.document_id AND d.version = v.version
        AND v.document_id = :id AND v.version = :version AND v.status IN ('queued', 'running')
    RETURNING attempts, principal"""
_FAIL = f"""
    WITH unstaged AS (DELETE FROM rag.staged_chunks {_IS_IT})
    UPDATE rag.versions SET status = 'failed', error = :error, content = NULL {_IS_IT}"""
_UNSTAGE = f"DELETE FROM rag.staged_chunks {_IS_IT} AND generation = :generation"
_STAGE = """
    INSERT INTO rag.staged_chunks
        (document_id, version, generation, position, headings, starts_at, ends_at, text, splitter)
    SELECT :id, :version, :generation, position - 1, string_to_array(headings, E'\\n'), starts_at,
        ends_at, text, :splitter
    FROM unnest(
        CAST(:headings AS text[]), CAST(:starts AS int[]), CAST(:ends AS int[]),
        CAST(:texts AS text[])
    ) WITH ORDINALITY AS piece (headings, starts_at, ends_at, text, position)"""
_STAGED = """
    SELECT s.position,
        concat_ws(E'\\n', v.title, array_to_string(s.headings, E'\\n'), s.text) AS text
    FROM rag.staged_chunks s JOIN rag.versions v USING (document_id, version)
    WHERE document_id = :id AND version = :version AND generation = :generation
        AND position >= :start AND position < :start + :count
    ORDER BY position"""
_SAVE_VECTORS = """
    UPDATE rag.staged_chunks s SET embedding = CAST(v.embedding AS halfvec)
    FROM unnest(CAST(:positions AS int[]), CAST(:vectors AS text[])) AS v (position, embedding)
    WHERE document_id = :id AND version = :version AND generation = :generation
        AND s.position = v.position"""
# Done twice, the second time finds nothing to move, and must not drop what the first has moved.
_DROP_SAME = f"""
    DELETE FROM rag.chunks {_IS_IT} AND generation = :generation AND EXISTS (
        SELECT FROM rag.staged_chunks {_IS_IT} AND generation = :generation)"""
_MOVE = """
    INSERT INTO rag.chunks (
        document_id, version, generation, principal, hash, splitter, metadata, position, headings,
        starts_at, ends_at, text, words, embedding)
    SELECT s.document_id, s.version, s.generation, d.principal, v.hash, s.splitter, v.metadata,
        s.position, s.headings, s.starts_at, s.ends_at, s.text,
        to_tsvector(
            CAST(g.language AS regconfig),
            concat_ws(' ', v.title, array_to_string(s.headings, ' '), s.text)),
        s.embedding
    FROM rag.staged_chunks s
    JOIN rag.versions v ON v.document_id = s.document_id AND v.version = s.version
    JOIN rag.documents d ON d.id = s.document_id
    JOIN rag.generations g ON g.id = s.generation
    WHERE s.document_id = :id AND s.version = :version AND s.generation = :generation"""
_DROP_OLDER = "DELETE FROM rag.versions WHERE document_id = :id AND version < :version"
_READY = f"UPDATE rag.versions SET status = 'ready', stage = 'ready', error = NULL {_IS_IT}"
