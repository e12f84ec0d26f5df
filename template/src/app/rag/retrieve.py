"""Find the chunks that answer a question, among those of one principal.

One statement ranks the chunks by meaning and by words, and reciprocal rank fusion merges the two:
ranks are comparable across methods, scores are not.
"""

import json
from collections.abc import Mapping
from typing import Any, Final, Protocol

from pydantic import BaseModel
from sqlalchemy import text

from app.db.engine import Database
from app.rag.embed import Embeddings
from app.rag.index import Generation, Index
from app.rag.settings import RAGSettings
from app.rag.store import vector_text

from app.errors import ServiceError


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


class Retrieves(Protocol):
    """What searches, for whoever is given it."""

    async def retrieve(
        self,
        principal: str,
        query: str,
        *,
        limit: int = 8,
        filter: Mapping[str, Any] | None = None,
    ) -> list[Passage]: ...


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
        try:
            vector = await self._embeddings.query(query)
        except ServiceError:
            # That the index is of another model says more than that this one does not answer.
            await self._index.check()
            raise
        settings = self._settings
        values = {
            "principal": principal,
            "vector": vector_text(vector),
            "filter": json.dumps(filter) if filter else None,
            "limit": limit,
            "candidates": max(settings.candidates, limit),
        }
        # One state of the index, also where another generation takes its place meanwhile.
        async with self._database.begin(snapshot=True) as connection:
            generation = await self._index.find(connection)
            if generation is None:
                return []
            which = _which(generation, filtered=bool(filter))
            few = bool(filter) and await connection.scalar(text(_keeps_few(which)), values)
            prepare = {
                "query": query.replace("\0", " "),
                "language": generation.language,
                "ranked_chunks": settings.ranked_chunks,
                "ef_search": str(settings.ef_search),
                "indexed": "off" if few else "on",
            }
            words = (await connection.execute(text(_PREPARE), prepare)).one().wanted
            statement = text(search_sql(generation, which))
            rows = await connection.execute(statement, {**values, "words": words})
        return [Passage.model_validate(dict(row)) for row in rows.mappings()]


def _which(generation: Generation, *, filtered: bool) -> str:
    which = f"generation = {generation.id} AND principal = :principal"
    return f"{which} AND metadata @> CAST(:filter AS jsonb)" if filtered else which


def _keeps_few(which: str) -> str:
    kept = f"SELECT FROM rag.chunks WHERE {which} LIMIT {_FEW}"
    return f"SELECT count(*) < {_FEW} FROM ({kept}) AS kept"


def search_sql(generation: Generation, which: str) -> str:
    """Write the statement that searches `generation`: both of its constants pick the index."""
    vector = generation.vector
    return f"""
    WITH by_meaning AS (
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
            SELECT id, ts_rank(words, CAST(:words AS tsquery), 1) AS score
            FROM rag.chunks WHERE {which} AND words @@ CAST(:words AS tsquery)
            ORDER BY score DESC, id LIMIT :candidates
        ) AS best
    ),
    merged AS (
        SELECT id, by_meaning.score AS meaning, by_words.score AS words,
            coalesce(1.0 / (60 + by_meaning.rank), 0) + coalesce(1.0 / (60 + by_words.rank), 0)
                AS score
        FROM by_meaning FULL JOIN by_words USING (id)
        ORDER BY score DESC, meaning DESC NULLS LAST, id LIMIT :limit
    )
    SELECT CAST(c.id AS text) AS chunk_id, CAST(c.document_id AS text) AS document_id, v.title,
        c.headings, c.text, c.starts_at AS start, c.ends_at AS end, c.metadata,
        CAST(merged.score AS float), merged.meaning, merged.words
    FROM merged JOIN rag.chunks c USING (id)
    JOIN rag.versions v ON v.document_id = c.document_id AND v.version = c.version
    ORDER BY merged.score DESC, merged.meaning DESC NULLS LAST, c.id"""


# So many vectors are compared one by one as quickly as an index finds the nearest of them.
_FEW: Final = 4_000
# The question's lexemes, any of which may match. How many chunks hold one is known from the
# statistics that Postgres keeps; ranking all that hold a common one would cost most and say least.
# One that is missing there is rarer than the rarest: about a quarter of it, and never so many that
# four of them are too many. The plan is made for the values, as how many chunks a principal has
# decides it. Where pages are cheap the index by meaning is used, and else long vectors may all be
# read. It is read in order, which is forbidden where a filter keeps few: it would be searched in
# vain, and reading all that is kept is exact.
_PREPARE = """
    WITH statistics AS MATERIALIZED (
        SELECT CAST(CAST(most_common_elems AS text) AS text[]) AS common, shares,
            reltuples AS chunks,
            least(reltuples * shares[cardinality(shares) - 1], :ranked_chunks) / 4 AS missing
        FROM pg_class, pg_stats, LATERAL (SELECT most_common_elem_freqs) AS found (shares)
        WHERE pg_class.oid = CAST('rag.chunks' AS regclass) AND schemaname = 'rag'
            AND tablename = 'chunks' AND attname = 'words' AND most_common_elems IS NOT NULL
    ),
    lexemes AS (
        SELECT lexeme, coalesce(
            chunks * shares[array_position(common, lexeme)], missing, 0) AS chunks
        FROM unnest(tsvector_to_array(to_tsvector(CAST(:language AS regconfig), :query))) AS lexeme
        LEFT JOIN statistics ON true
    ),
    rarest AS (
        SELECT lexeme, sum(chunks) OVER (ORDER BY chunks, lexeme) AS chunks FROM lexemes
    )
    SELECT string_agg(quote_literal(lexeme), ' | ') AS wanted,
        set_config('hnsw.ef_search', :ef_search, true),
        set_config('hnsw.iterative_scan', 'strict_order', true),
        set_config('plan_cache_mode', 'force_custom_plan', true),
        set_config('random_page_cost', '1.1', true),
        set_config('enable_indexscan', :indexed, true)
    FROM rarest WHERE chunks <= :ranked_chunks"""
