"""Fill a service's tables with a library: the rows by COPY, then the indexes."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from library import CHUNKS_A_DOCUMENT, RARE, Library

from app.rag import store

FILTER = {"shelf": "rare"}
# What a session may take to build an index.
MEMORY = "1GB"


def fill(url: str, library: Library, generation: int) -> dict[str, float]:
    """Return rows a second, a CPU second too, and how long the indexes took."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"SET maintenance_work_mem = '{MEMORY}'")
        definitions: dict[str, str] = dict(connection.execute(_INDEXES).fetchall())
        for name in definitions:
            connection.execute(f"DROP INDEX rag.{name}")
        ids = _documents(connection, library)
        rows = list(_rows(library, ids, generation))
        began = time.perf_counter()
        cpu = _stage(connection, rows)
        cpu += _move(url)
        seconds = time.perf_counter() - began
        connection.execute("TRUNCATE rag.staged_chunks")
        nearest = definitions.pop(f"chunks_of_{generation}")
        others_seconds = sum(_seconds(connection, other) for other in definitions.values())
        hnsw_seconds = _seconds(connection, nearest)
        connection.execute("VACUUM (ANALYZE) rag.documents, rag.versions, rag.chunks")
    return {
        "rows_a_second": library.size / seconds,
        "rows_a_cpu_second": library.size / cpu,
        "others_seconds": others_seconds,
        "hnsw_seconds": hnsw_seconds,
    }


def cpu_seconds(*pids: int) -> float:
    """Return the time that processes have had a core so far, to the nanosecond (Linux)."""
    return sum(int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) for pid in pids) / 1e9


def _documents(connection: psycopg.Connection[Any], library: Library) -> list[uuid.UUID]:
    ids = [uuid.uuid4() for _ in library.owners]
    with connection.cursor().copy(_DOCUMENTS) as copy:
        for id, owner in zip(ids, library.owners, strict=True):
            copy.write_row((id, owner, str(id), 1))
    with connection.cursor().copy(_VERSIONS) as copy:
        for place, id in enumerate(ids):
            shelf = "usual" if place % RARE else FILTER["shelf"]
            metadata = json.dumps({"shelf": shelf, "place": place})
            copy.write_row((id, 1, "", f"Volume {place}", "text/plain", metadata, "ready"))
    return ids


def _rows(library: Library, ids: list[uuid.UUID], generation: int) -> Iterator[tuple[Any, ...]]:
    halves = library.vectors.astype(">f2")
    head = np.array([halves.shape[1], 0], ">i2").tobytes()
    for chunk in range(library.size):
        document, position = divmod(chunk, CHUNKS_A_DOCUMENT)
        key, words = (ids[document], 1, generation, position), library.text(chunk)
        # It starts at its own number, by which it is known again.
        yield (*key, [], chunk, chunk, words, "", head + halves[chunk].tobytes())


def _stage(connection: psycopg.Connection[Any], rows: list[tuple[Any, ...]]) -> float:
    with connection.cursor().copy(_STAGED) as copy:
        copy.set_types(_TYPES)
        for row in rows:
            copy.write_row(row)
    return cpu_seconds(connection.info.backend_pid)


def _move(url: str) -> float:
    """Move the chunks with the statement that the service has for a document, on each core.

    It is finding their words that takes the time, and a statement that writes has one core only.
    """
    cores = len(os.sched_getaffinity(0))
    cuts = [uuid.UUID(int=2**128 * core // cores) for core in range(cores)]

    def move(part: tuple[uuid.UUID, uuid.UUID]) -> float:
        with psycopg.connect(url) as connection:
            connection.execute(f"{_MOVE} WHERE s.document_id BETWEEN %s AND %s", part)
            connection.commit()
            return cpu_seconds(connection.info.backend_pid)

    ends = [*(uuid.UUID(int=cut.int - 1) for cut in cuts[1:]), uuid.UUID(int=2**128 - 1)]
    with ThreadPoolExecutor(cores) as threads:
        return sum(threads.map(move, zip(cuts, ends, strict=True)))


def _seconds(connection: psycopg.Connection[Any], statement: str) -> float:
    began = time.perf_counter()
    connection.execute(statement)
    return time.perf_counter() - began


_MOVE = store._MOVE.rpartition("WHERE")[0]
_INDEXES = """
    SELECT indexname, indexdef FROM pg_indexes
    WHERE schemaname = 'rag' AND tablename = 'chunks' AND indexname <> 'chunks_pkey'"""
_DOCUMENTS = "COPY rag.documents (id, principal, source_id, version) FROM STDIN"
_VERSIONS = """
    COPY rag.versions (document_id, version, hash, title, media_type, metadata, status)
    FROM STDIN"""
_STAGED = """
    COPY rag.staged_chunks (document_id, version, generation, position, headings, starts_at,
        ends_at, text, splitter, embedding)
    FROM STDIN (FORMAT binary)"""
# A vector of halves has no type of its own here, and no conversion: its bytes are sent as they are.
_TYPES = ["uuid", "int4", "int4", "int4", "text[]", "int4", "int4", "text", "text", "bytea"]
