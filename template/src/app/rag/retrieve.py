"""Find the chunks that answer a question, among those of one principal.

One statement ranks the chunks by meaning and by words, and reciprocal rank fusion merges the two:
ranks are comparable across methods, scores are not.
"""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from sqlalchemy import text

from app.db.engine import Database
from app.rag.embed import Embeddings
from app.rag.index import Generation, Index
from app.rag.settings import RAGSettings
from app.rag.store import vector_text


class Passage(BaseModel, frozen=True):
    """A chunk that was found; `start` and `end` count characters of the document's text.

    `meaning` is the cosine similarity, from -1 to 1, and `words` the rank that Postgres gives; None
    where that method did not find it. `score` merges the two.
    """

    chunk_id: str
    document_id: str
    title: str
    headings: tuple[str, ...]
    text: str
    start: int
    end: int
    metadata: dict[str, Any]
    score: float
    meaning: float | None
    words: float | None


class Retriever:
    """Searches what each principal has given in."""

    def __init__(
        self, database: Database, index: Index, embeddings: Embeddings, settings: RAGSettings
    ) -> None:
        self._database = database
        self._index = index
        self._embeddings = embeddings
        self._settings = settings

    async def retrieve(
        self,
        principal: str,
        query: str,
        *,
        limit: int = 8,
        filter: Mapping[str, Any] | None = None,
    ) -> list[Passage]:
        """Return the `limit` best passages for `query`, best first.

        With `filter`, only of documents whose metadata contain it. Raises `ServiceError` where the
        embedding model or the database fails, or the index was made with another model.
        """
        vector = await self._embeddings.query(query)
        settings = self._settings
        values = {
            "principal": principal,
            "query": query.replace("\0", " "),
            "vector": vector_text(vector),
            "filter": json.dumps(filter) if filter else None,
            "limit": limit,
            "candidates": max(settings.candidates, limit),
            "ranked_chunks": settings.ranked_chunks,
        }
        async with self._database.begin() as connection:
            generation = await self._index.find(connection)
            if generation is None:
                return []
            await connection.execute(text(_TUNE), {"ef_search": str(settings.ef_search)})
            statement = text(search_sql(generation, filtered=bool(filter)))
            rows = await connection.execute(statement, values)
        return [Passage.model_validate(dict(row)) for row in rows.mappings()]


def search_sql(generation: Generation, *, filtered: bool) -> str:
    """Write the statement that searches `generation`: both of its constants pick the index."""
    which = f"generation = {generation.id} AND principal = :principal"
    if filtered:
        which += " AND metadata @> CAST(:filter AS jsonb)"
    vector, language = generation.vector, generation.language
    return f"""
    WITH {_WORDS.format(language=language)},
    by_meaning AS (
        SELECT id, 1 - distance AS score, row_number() OVER (ORDER BY distance) AS rank
        FROM (
            SELECT id, embedding::{vector} <=> CAST(:vector AS {vector}) AS distance
            FROM rag.chunks WHERE {which}
            ORDER BY embedding::{vector} <=> CAST(:vector AS {vector}) LIMIT :candidates
        ) AS nearest
    ),
    by_words AS (
        SELECT id, score, row_number() OVER (ORDER BY score DESC, id) AS rank
        FROM (
            SELECT id, ts_rank(words, (SELECT wanted FROM searched), 1) AS score
            FROM rag.chunks WHERE {which} AND words @@ (SELECT wanted FROM searched)
            ORDER BY score DESC, id LIMIT :candidates
        ) AS best
    ),
    merged AS (
        SELECT id, by_meaning.score AS meaning, by_words.score AS words,
            coalesce(1.0 / (60 + by_meaning.rank), 0) + coalesce(1.0 / (60 + by_words.rank), 0)
                AS score
        FROM by_meaning FULL JOIN by_words USING (id)
        ORDER BY score DESC, id LIMIT :limit
    )
    SELECT CAST(c.id AS text) AS chunk_id, CAST(c.document_id AS text) AS document_id, v.title,
        c.headings, c.text, c.starts_at AS start, c.ends_at AS end, c.metadata,
        CAST(merged.score AS float), merged.meaning, merged.words
    FROM merged JOIN rag.chunks c USING (id)
    JOIN rag.versions v ON v.document_id = c.document_id AND v.version = c.version
    ORDER BY merged.score DESC, c.id"""


_TUNE = """
    SELECT set_config('hnsw.ef_search', :ef_search, true),
        set_config('hnsw.iterative_scan', 'strict_order', true)"""
# The question's lexemes, any of which may match. How many chunks hold one is known from the
# statistics that Postgres keeps; ranking all that hold a common one would cost most and say least.
_WORDS = """
    statistics AS (
        SELECT lexeme, frequency * (
            SELECT reltuples FROM pg_class WHERE oid = CAST('rag.chunks' AS regclass)) AS chunks
        FROM pg_stats, unnest(CAST(CAST(most_common_elems AS text) AS text[]),
            most_common_elem_freqs) AS element (lexeme, frequency)
        WHERE schemaname = 'rag' AND tablename = 'chunks' AND attname = 'words'
    ),
    rarest AS (
        SELECT lexeme,
            sum(coalesce(chunks, 0)) OVER (ORDER BY coalesce(chunks, 0), lexeme) AS chunks
        FROM unnest(tsvector_to_array(to_tsvector('{language}', :query))) AS lexeme
        LEFT JOIN statistics USING (lexeme)
    ),
    searched AS (
        SELECT CAST(string_agg(quote_literal(lexeme), ' | ') AS tsquery) AS wanted
        FROM rarest WHERE chunks <= :ranked_chunks
    )"""
