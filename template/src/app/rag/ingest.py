"""Make a document findable: parse, split, embed, store.

Each stage is a step of a durable workflow, and what it made is in the database. Wherever a process
ends, the next one goes on after the last stage that was done.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import structlog
from dbos import DBOS, StepOptions
from dbos import error as dbos
from structlog.contextvars import bind_contextvars, bound_contextvars

from app.rag.documents import INGEST
from app.rag.embed import Embeddings
from app.rag.index import Generation, Index, OtherIndex
from app.rag.parse import UnreadableDocument, parse
from app.rag.settings import RAGSettings
from app.rag.split import SPLITTER, split
from app.rag.store import Store, Version
from app.workflows.patience import patiently
from app.workflows.worker import Workflow

from app.errors import ServiceError

T = TypeVar("T")
_log = structlog.stdlib.get_logger("app.rag")
# A process that ends while it works on a document may have ended because of it.
_MOST_ATTEMPTS: Final = 10
_ENDED: Final = "The service ended each time it worked on this: send it in parts, or as text."
_UNKNOWN: Final = "Something failed here; the logs of the worker have it."


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, ServiceError) and error.status in (429, 503)


# Waits for about two minutes in all where a provider or the database is away.
PATIENT: Final = StepOptions(
    retries_allowed=True,
    interval_seconds=2.0,
    backoff_rate=2.0,
    max_attempts=7,
    should_retry=_may_pass,
)


class Ingestion:
    """Works on versions of documents: as a workflow, or all of them again for a new index."""

    def __init__(
        self,
        store: Store,
        index: Index,
        embeddings: Embeddings,
        settings: RAGSettings,
        patience: StepOptions = PATIENT,
    ) -> None:
        self._store = store
        self._index = index
        self._embeddings = embeddings
        self._chunk_tokens = settings.chunk_tokens
        # What made a chunk: one of another size is another one.
        self.splitter = f"{SPLITTER}/{settings.chunk_tokens}"
        self._batch_size = settings.embedding_batch_size
        self._patience = patience
        self.workflow = Workflow(INGEST, self.run)

    async def run(self, document_id: str, number: int) -> None:
        """Ingest one version; note the reason where that cannot be done."""
        version = Version(document_id, number)
        begun = await patiently(lambda: self._store.begin(version))
        if begun is None:
            return
        attempts, principal = begun
        bind_contextvars(principal=principal)
        try:
            if attempts > _MOST_ATTEMPTS:
                raise UnreadableDocument(_ENDED)
            await self._step("parse", version, self._parse)
            stored = False
            while not stored:
                generation, count = await self._step("split", version, self._split)
                for start in range(0, count, self._batch_size):
                    await self._step("embed", version, self._embed, generation, start)
                stored = await self._step("store", version, self._store.publish, generation)
        except (UnreadableDocument, ServiceError, dbos.DBOSMaxStepRetriesExceeded) as error:
            reason = _reason(error)
            _log.warning("document failed", document_id=document_id, reason=reason)
            await patiently(lambda: self._store.fail(version, reason))
        except Exception:
            await patiently(lambda: self._store.fail(version, _UNKNOWN))
            raise

    async def rebuild(self, progress: Callable[[int], object]) -> Generation:
        """Make the index again, with the configured model, while searches read the old one.

        May be broken off, and goes on then. `progress` is called for each document with 1. A
        `ServiceError` of the model ends it.
        """
        generation = await self._index.add()
        while not await self._index.activate(generation, self.splitter):
            left = await self._store.missing(generation, self.splitter)
            for version in left:
                count = await self._stage(version, generation, await self._store.text(version))
                for start in range(0, count, self._batch_size):
                    await self._embed(version, generation, start)
                await self._store.publish(version, generation)
                progress(1)
        return generation

    async def _step(
        self, stage: str, version: Version, work: Callable[..., Awaitable[T]], *arguments: Any
    ) -> T:
        async def run_stage() -> T:
            await self._store.enter(version, stage)
            _log.info("stage", stage=stage, document_id=version.document_id, version=version.number)
            return await work(version, *arguments)

        return await DBOS.run_step_async({"name": stage, **self._patience}, run_stage)

    async def _parse(self, version: Version) -> None:
        if source := await self._store.content(version):
            await self._store.save_text(version, await parse(*source))

    async def _split(self, version: Version) -> tuple[Generation, int]:
        # With another model in the settings than in the index it waits until they fit again.
        generation = await patiently(self._index.current, OtherIndex)
        whole = await self._store.text(version)
        return generation, await self._stage(version, generation, whole)

    async def _stage(self, version: Version, generation: Generation, whole: str) -> int:
        pieces = await asyncio.to_thread(split, whole, max_tokens=self._chunk_tokens)
        if whole and not pieces:
            raise UnreadableDocument("The splitter made nothing of it.")
        await self._store.stage(version, generation, pieces, self.splitter)
        return len(pieces)

    async def _embed(self, version: Version, generation: Generation, start: int) -> None:
        pieces = await self._store.staged(version, generation, start, self._batch_size)
        with bound_contextvars(feature="ingest"):
            vectors = await self._embeddings.documents([piece.text for piece in pieces])
        positions = [piece.position for piece in pieces]
        await self._store.save_vectors(version, generation, positions, vectors)


def _reason(error: Exception) -> str:
    if isinstance(error, dbos.DBOSMaxStepRetriesExceeded):
        error = error.errors[-1]
    return error.detail if isinstance(error, ServiceError) else str(error)
