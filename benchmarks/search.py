"""How fast is what is found: `python search.py SIZE…` in the environment of a service.

A size is `chunks x dimensions`. A library goes into the service's tables and is asked by the
service's own `Retriever`, with one connection; the only thing that is not the service's own is the
embedding model, which knows the vectors of the questions already. Prints what it measured as JSON.

Beside each time stands the CPU time of the same search, of this process and its Postgres backend
together: it is what the search would take if nothing else wanted the cores.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from statistics import fmean, quantiles
from typing import Any

import numpy as np
from database import create, drop, ingest, postgres, resources
from fill import FILTER, cpu_seconds, fill
from library import CHUNKS_A_DOCUMENT, RARE, Library, Question
from pydantic_ai.embeddings import EmbeddingResult
from sqlalchemy import text

from app.db.engine import Database
from app.db.settings import DatabaseSettings
from app.rag.embed import Embeddings
from app.rag.index import Index
from app.rag.retrieve import Retriever
from app.rag.settings import RAGSettings

QUESTIONS, ROUNDS, DOCUMENTS, NEAREST = 100, 2, 100, 10
# It holds no lexeme, so that only meaning is searched.
NO_WORDS = "the"
Ask = Callable[[Question], Awaitable[list[Any]]]


class Known:
    """An embedding model that gives the vector of the question that is asked next."""

    model_name, system = "known", "benchmark"
    vector: Sequence[float] = ()

    async def embed(self, inputs: Sequence[str], *, input_type: str) -> Any:
        return EmbeddingResult(
            [self.vector],
            inputs=inputs,
            input_type=input_type,
            model_name=self.model_name,
            provider_name=self.system,
        )


def main(sizes: Sequence[str]) -> None:
    measured: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, postgres(Path(folder)) as server:
        documents_a_second = asyncio.run(through_the_queue(create(server, "queue")))
        for size in sizes:
            chunks, dimensions = map(int, size.split("x"))
            library = Library(chunks, dimensions)
            measured[size] = asyncio.run(measure(create(server, size), library, dimensions))
            drop(server, size)
    print(json.dumps({"documents_a_second": documents_a_second, "sizes": measured}))


async def through_the_queue(url: str) -> float:
    """Ingest small documents as a client gives them in; return how many a second."""
    library = Library(DOCUMENTS, 8)
    async with resources(url) as service:
        _, seconds = await ingest(service, [library.text(place) for place in range(DOCUMENTS)])
    return DOCUMENTS / seconds


async def measure(url: str, library: Library, dimensions: int) -> dict[str, Any]:
    # One connection, so that it is known whose CPU time counts.
    settings = DatabaseSettings(url=url, pool_size=1)
    database, model = Database(settings, wait_seconds=30), Known()
    model.vector = [1.0] * dimensions
    embeddings = Embeddings(model, timeout_seconds=30, attempts=1, batch_size=64)
    index = Index(database, embeddings, "english")
    retriever = Retriever(database, index, embeddings, RAGSettings())
    try:
        filled = fill(url, library, (await index.current()).id)
        async with database.begin() as connection:
            backend = await connection.scalar(text("SELECT pg_backend_pid()"))

        async def ask(question: Question, **options: Any) -> list[Any]:
            model.vector = question.vector
            asked = question.principal, question.text
            found: list[Any] = await retriever.retrieve(*asked, limit=NEAREST, **options)
            return found

        async def ask_filtered(question: Question) -> list[Any]:
            return await ask(question, filter=FILTER)

        questions = library.questions(QUESTIONS)
        asked = zip(questions, library.common(QUESTIONS), strict=True)
        common = [question._replace(text=words) for question, words in asked]
        return {
            "filled": filled,
            "search": await timing(ask, questions, backend),
            "common words": await timing(ask, common, backend),
            "filter": await timing(ask_filtered, questions, backend),
            "recall": await recall(ask, questions, library),
            "recall, filter": await recall(ask_filtered, questions, library, rare=True),
        }
    finally:
        await database.close()


async def timing(ask: Ask, questions: Sequence[Question], backend: int) -> dict[str, float]:
    """Return p50 and p95 in ms, of the time and the CPU time, after a round that warms up."""
    times: list[tuple[float, float]] = []
    for number in range(ROUNDS + 1):
        for question in questions:
            began = time.perf_counter(), cpu_seconds(os.getpid(), backend)
            await ask(question)
            ended = time.perf_counter(), cpu_seconds(os.getpid(), backend)
            if number:
                times.append((1000 * (ended[0] - began[0]), 1000 * (ended[1] - began[1])))
    names = ("ms", "cpu_ms")
    cuts = {n: quantiles(c, n=20) for n, c in zip(names, zip(*times, strict=True), strict=True)}
    return {f"p{p}_{n}": found[p // 5 - 1] for n, found in cuts.items() for p in (50, 95)}


async def recall(
    ask: Ask, questions: Sequence[Question], library: Library, *, rare: bool = False
) -> float:
    """Return the share of what is nearest that is found, beside all vectors as they are stored."""
    stored = library.vectors.astype(np.float16).astype(np.float32)
    numbers = np.arange(library.size)
    owners = np.repeat(library.owners, CHUNKS_A_DOCUMENT)[: library.size]
    kept = numbers // CHUNKS_A_DOCUMENT % RARE == 0 if rare else numbers >= 0
    shares = []
    for question in questions:
        own = numbers[(owners == question.principal) & kept]
        near = stored[own] @ np.array(question.vector, np.float32)
        nearest = set(own[np.argsort(-near)[:NEAREST]].tolist())
        found = await ask(question._replace(text=NO_WORDS))
        if nearest:
            missed = nearest - {passage.start for passage in found}
            shares.append(1 - len(missed) / len(nearest))
    return fmean(shares)


if __name__ == "__main__":
    main(sys.argv[1:])
