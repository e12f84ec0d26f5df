"""What is found, and how well: `python faq.py FAQ` in the environment of a service.

Every answer is a document without a title, ingested by the service's own worker with wordllama, and
every question looks for its answer. Words and meaning alone are the two scores that the service
gives for what it finds, when it is asked for everything.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import tempfile
from collections.abc import Sequence
from math import log2
from pathlib import Path
from statistics import fmean
from typing import Any

import bm25s
import psycopg
from database import create, ingest, postgres, resources

# The places of answers, the best first.
Ranking = list[int]
# So that nearly every answer is one chunk; what is in several counts where its first one is.
CHUNK_TOKENS = 2_000


def main(faq: Path) -> None:
    pairs = [json.loads(line) for line in faq.read_text("utf-8").splitlines()]
    questions, answers = zip(*((pair["question"], pair["answer"]) for pair in pairs), strict=True)
    with tempfile.TemporaryDirectory() as folder, postgres(Path(folder)) as server:
        url = create(server, "faq")
        seen = asyncio.run(by_service(url, answers, questions))
        rankings = {"BM25 (bm25s)": by_bm25(url, answers, questions), **seen["rankings"]}
    scores = {name: score(ranked) for name, ranked in rankings.items()}
    print(json.dumps({**seen, "pairs": len(pairs), "rankings": scores}))


async def by_service(url: str, answers: Sequence[str], questions: Sequence[str]) -> dict[str, Any]:
    """Rank by the service's own retrieval: both ways alone, and merged."""
    async with resources(url, chunk_tokens=CHUNK_TOKENS) as service:
        places, _ = await ingest(service, answers)
        search, rankings = service.retriever.retrieve, {}
        everything = [await search("ann", question, limit=400) for question in questions]
        for name, by in ("keyword", "words"), ("vector", "meaning"):
            rankings[name] = [ranked(passages, by, places) for passages in everything]
        merged = [await search("ann", question, limit=10) for question in questions]
        rankings["hybrid"] = [ranked(passages, "score", places) for passages in merged]
        return {"model": await service.embeddings.check(), "rankings": rankings}


def ranked(passages: Sequence[Any], by: str, places: dict[str, int]) -> Ranking:
    """Return the answers that passages are of by one of their scores, each answer once."""
    scored = [passage for passage in passages if getattr(passage, by) is not None]
    scored.sort(key=lambda passage: -getattr(passage, by))
    found = dict.fromkeys(passage.document_id for passage in scored)
    return [places[document] for document in found if document in places][:10]


def by_bm25(url: str, answers: Sequence[str], questions: Sequence[str]) -> list[Ranking]:
    """Rank by the lexemes that Postgres makes of a text, each as often as it stands there."""
    query = """
        SELECT lexeme
        FROM unnest(to_tsvector('english', %s)) AS entry (lexeme, positions), unnest(positions)"""
    with psycopg.connect(url) as connection:

        def lexemes(text: str) -> list[str]:
            return [row[0] for row in connection.execute(query, (text,))]

        logging.getLogger("bm25s").setLevel("WARNING")
        bm25 = bm25s.BM25()
        bm25.index([lexemes(text) for text in answers], show_progress=False)
        asked = [lexemes(question) for question in questions]
    found, _ = bm25.retrieve(asked, k=10, show_progress=False)
    return [[int(place) for place in row] for row in found]


def score(rankings: Sequence[Ranking]) -> dict[str, float]:
    ranks = [
        found.index(wanted) + 1 if wanted in found else None
        for wanted, found in enumerate(rankings)
    ]
    return {
        "hit@1": fmean(rank == 1 for rank in ranks),
        "nDCG@10": fmean(1 / log2(1 + rank) if rank else 0 for rank in ranks),
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
