"""A worker makes documents findable, stage by stage, whatever comes between."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from dbos import StepOptions
from pydantic_ai.embeddings import EmbeddingResult
from pydantic_ai.embeddings.result import EmbedInputType
from pydantic_ai.exceptions import ModelAuthenticationError, ModelConnectionError
from sqlalchemy import text

from app.rag.documents import StoredDocument
from app.rag.ingest import PATIENT, Ingestion
from app.workflows.worker import Worker

from tests.rag.conftest import Meanings, Rag, open_rag
from tests.workflows.conftest import EAGER, until

pytestmark = pytest.mark.anyio

IMPATIENT = StepOptions(**{**PATIENT, "interval_seconds": 0.01, "max_attempts": 3})


class Scripted(Meanings):
    """Raises what it is given before it answers, and holds its answers back while told to."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[Exception] = []
        self.asked: list[list[str]] = []
        self.begun = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def embed(
        self, inputs: str | Sequence[str], *, input_type: EmbedInputType, settings: Any = None
    ) -> EmbeddingResult:
        if input_type == "document":
            self.asked.append([inputs] if isinstance(inputs, str) else list(inputs))
            self.begun.set()
            await self.may_answer.wait()
            if self.errors:
                raise self.errors.pop(0)
        return await super().embed(inputs, input_type=input_type, settings=settings)


@pytest.fixture
def model() -> Scripted:
    return Scripted()


@pytest.fixture
async def rag(fresh_database: str, model: Scripted) -> AsyncIterator[Rag]:
    async with open_rag(fresh_database, model, embedding_batch_size=2, chunk_tokens=32) as rag:
        yield rag


@asynccontextmanager
async def working(rag: Rag) -> AsyncIterator[None]:
    """Work as a service does, but without its pauses."""
    ingestion = Ingestion(rag.store, rag.index, rag.embeddings, rag.settings, IMPATIENT)
    async with Worker(rag.database, EAGER, [ingestion.workflow]).working():
        yield


async def ended(rag: Rag, document: StoredDocument) -> StoredDocument:
    """Wait until a document is ready or has failed."""

    async def has_ended() -> bool:
        return (await rag.documents.get("alice", document.id)).status in ("ready", "failed")

    await until(has_ended)
    return await rag.documents.get("alice", document.id)


async def steps(rag: Rag) -> list[str]:
    """Return the steps that have been done, in their order."""
    query = "SELECT function_name FROM dbos.operation_outputs ORDER BY workflow_uuid, function_id"
    async with rag.database.begin() as connection:
        return list(await connection.scalars(text(query)))


async def idle(rag: Rag) -> bool:
    """Tell whether all that was queued has been done."""
    async with rag.database.begin() as connection:
        found = await connection.scalars(text("SELECT status FROM dbos.workflow_status"))
    return set(found) == {"SUCCESS"}


async def test_a_document_is_parsed_split_embedded_and_stored(rag: Rag, model: Scripted) -> None:
    sentences = [f"Sentence {number} of this document is about a dog." for number in range(9)]
    document = await rag.add("\n\n".join(sentences), title="Dogs")
    async with working(rag):
        done = await ended(rag, document)
    assert (done.status, done.stage, done.error) == ("ready", "ready", None)
    assert done.chunks == sum(map(len, model.asked)) > 2
    assert max(map(len, model.asked)) == 2
    assert await steps(rag) == ["parse", "split", *["embed"] * len(model.asked), "store"]
    assert model.asked[0][0].startswith("Dogs\n")
    assert await rag.rows("rag.staged_chunks") == 0


async def test_a_document_that_cannot_be_read_fails_with_the_reason_and_is_not_tried_again(
    rag: Rag,
) -> None:
    empty = await rag.add(" \n")
    broken = await rag.add("%PDF-1.7", media_type="application/pdf")
    async with working(rag):
        assert (await ended(rag, empty)).error == "The document has no text; upload one that has."
        failed = await ended(rag, broken)
    assert (failed.status, failed.stage, failed.chunks) == ("failed", "parse", 0)
    assert str(failed.error).startswith("The PDF is broken: save it again")


async def test_a_provider_that_is_away_for_a_while_is_asked_again(
    rag: Rag, model: Scripted
) -> None:
    model.errors = [ModelConnectionError("meanings", "away")] * 2
    document = await rag.add("A dog.")
    async with working(rag):
        assert (await ended(rag, document)).status == "ready"
    assert len(model.asked) == 3
    assert await steps(rag) == ["parse", "split", "embed", "store"]


async def test_a_provider_that_stays_away_fails_the_document_with_the_reason(
    rag: Rag, model: Scripted
) -> None:
    model.errors = [ModelConnectionError("meanings", "away")] * 3
    document = await rag.add("A dog.")
    async with working(rag):
        failed = await ended(rag, document)
    assert (failed.status, failed.stage) == ("failed", "embed")
    assert failed.error == "The embedding model cannot answer at the moment."
    assert len(model.asked) == 3


async def test_a_provider_that_refuses_is_not_asked_again(rag: Rag, model: Scripted) -> None:
    model.errors = [ModelAuthenticationError("meanings", "no")]
    document = await rag.add("A dog.")
    async with working(rag):
        failed = await ended(rag, document)
    assert failed.error == "The embedding model's provider refuses this service's key."
    assert len(model.asked) == 1


async def test_a_document_that_ends_the_process_each_time_is_given_up(rag: Rag) -> None:
    document = await rag.add("A dog.")
    await rag.execute("UPDATE rag.versions SET attempts = 10")
    async with working(rag):
        failed = await ended(rag, document)
    assert str(failed.error).startswith("The service ended each time it worked on this")


async def test_what_was_broken_off_goes_on_after_its_last_stage(rag: Rag, model: Scripted) -> None:
    model.may_answer.clear()
    document = await rag.add("A dog.")
    async with working(rag), asyncio.timeout(20):
        await model.begun.wait()
    assert await steps(rag) == ["parse", "split"]
    # Whoever did these again would read another text.
    await rag.execute("UPDATE rag.versions SET text = 'Another text.', content = NULL")
    model.may_answer.set()
    async with working(rag):
        assert (await ended(rag, document)).chunks == 1
    assert await rag.texts() == ["A dog."]
    assert await steps(rag) == ["parse", "split", "embed", "store"]


async def test_a_document_may_be_deleted_while_it_is_ingested(rag: Rag, model: Scripted) -> None:
    model.may_answer.clear()
    document = await rag.add("A dog.")
    async with working(rag):
        async with asyncio.timeout(20):
            await model.begun.wait()
        await rag.documents.delete("alice", document.id)
        model.may_answer.set()
        assert (await ended(rag, await rag.add("A car."))).status == "ready"
    tables = ("documents", "versions", "chunks", "staged_chunks")
    engine = ("workflow_status", "operation_outputs")
    for table in (*(f"rag.{name}" for name in tables), *(f"dbos.{name}" for name in engine)):
        assert await rag.rows(table, document.id) == 0
    assert await rag.texts() == ["A car."]


async def test_a_new_version_takes_the_place_of_one_that_is_being_ingested(
    rag: Rag, model: Scripted
) -> None:
    model.may_answer.clear()
    await rag.add("A dog.", source_id="pets")
    async with working(rag):
        async with asyncio.timeout(20):
            await model.begun.wait()
        newer = await rag.add("A hound.", source_id="pets")
        model.may_answer.set()
        assert (await ended(rag, newer)).version == 2

        await until(lambda: idle(rag))
    assert await rag.texts() == ["A hound."]
    assert await rag.rows("rag.versions") == await rag.rows("rag.chunks") == 1


async def test_a_document_whose_index_is_made_again_meanwhile_is_in_the_new_one(
    rag: Rag, model: Scripted
) -> None:
    model.may_answer.clear()
    document = await rag.add("A dog.")
    ingestion = Ingestion(rag.store, rag.index, rag.embeddings, rag.settings)
    async with working(rag):
        async with asyncio.timeout(20):
            await model.begun.wait()
        await ingestion.rebuild(lambda done: None)
        model.may_answer.set()
        assert (await ended(rag, document)).chunks == 1
    assert await rag.texts() == ["A dog."]
    assert await steps(rag) == ["parse", *["split", "embed", "store"] * 2]


async def test_an_unforeseen_failure_ends_as_one_and_reveals_nothing(
    rag: Rag, model: Scripted
) -> None:
    document = await rag.add("A dog.")
    await rag.execute("ALTER TABLE rag.staged_chunks DROP COLUMN embedding")
    async with working(rag):
        failed = await ended(rag, document)
    assert failed.error == "Something failed here; the logs of the worker have it."
