"""The documents that evals ask about: `evals/corpus`."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from uuid import UUID

from app.rag.documents import NewDocument

from app.resources import Resources
from evals.engine.database import PRINCIPAL
from evals.engine.running import Unanswered

FOLDER: Final = Path(__file__).parents[1] / "corpus"
# Longer than a provider that is away is asked again.
_MOST_SECONDS: Final = 180


def read(folder: Path) -> list[NewDocument]:
    """Return the documents in `folder`."""
    return [
        NewDocument(
            title=path.name,
            content=path.read_bytes(),
            media_type="text/markdown",
            source_id=path.name,
        )
        for path in sorted(folder.glob("*.md"))
    ]


async def fill(resources: Resources, wanted: Sequence[NewDocument]) -> None:
    """Take the documents in, anew each time: by the parser, splitter and model of today."""
    documents = resources.documents
    for old in await documents.list(PRINCIPAL, limit=1_000):
        await documents.delete(PRINCIPAL, old.id)
    await resources.ingestion.rebuild(lambda done: None)
    ids = [(await documents.add(PRINCIPAL, new)).id for new in wanted]
    try:
        async with asyncio.timeout(_MOST_SECONDS), resources.worker.working():
            await _wait(resources, ids)
    except TimeoutError as error:
        raise Unanswered("The documents of the evals were not ready in time.") from error


async def _wait(resources: Resources, ids: Sequence[UUID]) -> None:
    found = resources.documents.find
    while waiting := [d for d in await found(PRINCIPAL, ids) if d.status != "ready"]:
        for document in waiting:
            if document.status == "failed":
                raise Unanswered(f"evals/corpus/{document.title}: {document.error}")
        await resources.worker.check()
        await asyncio.sleep(0.05)
