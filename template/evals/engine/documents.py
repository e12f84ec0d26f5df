"""The documents that evals ask about: `evals/corpus`, in a database that is theirs alone."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from app.db.settings import DatabaseSettings
from app.rag.documents import NewDocument

from app.resources import Resources
from app.settings import Settings
from evals.engine.running import Unanswered

PRINCIPAL: Final = "evals"
FOLDER: Final = Path(__file__).parents[1] / "corpus"
_DATABASE: Final = DatabaseSettings(folder=Path(".data/evals"))
_MOST_SECONDS: Final = 120


def apart(settings: Settings) -> Settings:
    """Return the settings with a database that no document of the service's is in."""
    return settings.model_copy(update={"database": _DATABASE})


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
    """Take the documents in; what is there already stays, and what is not wanted goes."""
    documents = resources.documents
    for old in await documents.list(PRINCIPAL, limit=1_000):
        if old.source_id not in {new.source_id for new in wanted}:
            await documents.delete(PRINCIPAL, old.id)
    ids = [(await documents.add(PRINCIPAL, new)).id for new in wanted]
    async with asyncio.timeout(_MOST_SECONDS), resources.worker.working():
        while waiting := [d for d in await documents.find(PRINCIPAL, ids) if d.status != "ready"]:
            for document in waiting:
                if document.status == "failed":
                    raise Unanswered(f"evals/corpus/{document.title}: {document.error}")
            await resources.worker.check()
            await asyncio.sleep(0.05)
