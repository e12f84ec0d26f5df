"""The index belongs to one model; another one needs another, made while the first is searched."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from app.rag.embed import EmbeddingFailed
from app.rag.index import OtherIndex
from app.rag.ingest import Ingestion
from app.rag.split import Piece

from tests.rag.conftest import Meanings, Rag, newest, open_rag

pytestmark = pytest.mark.anyio


class OtherMeanings(Meanings):
    """Another model, of other dimensions, that can be told to stop after so many texts."""

    model_name = "other-meanings"
    dimensions = Meanings.dimensions + 1

    def __init__(self) -> None:
        super().__init__()
        self.left = 1000
        self.embedded: list[str] = []

    def vectors(self, texts: list[str]) -> list[list[float]]:
        self.left -= len(texts)
        if self.left < 0:
            raise ConnectionRefusedError
        self.embedded += texts
        return [[1.0, *vector] for vector in super().vectors(texts)]


@pytest.fixture
def model() -> OtherMeanings:
    return OtherMeanings()


@pytest.fixture
async def other(rag: Rag, fresh_database: str, model: OtherMeanings) -> AsyncIterator[Rag]:
    """The same database, in a service that is configured with another model."""
    async with open_rag(fresh_database, model) as other:
        yield other


async def rebuild(rag: Rag) -> list[int]:
    """Make the index again; return the progress."""
    progress: list[int] = []
    ingestion = Ingestion(rag.store, rag.index, rag.embeddings, rag.settings)
    await ingestion.rebuild(progress.append)
    return progress


async def test_the_first_document_makes_the_first_generation(rag: Rag) -> None:
    assert await rag.index.check() == "empty"
    assert await rag.texts() == []
    await rag.ready("A dog.")
    assert await rag.index.check() == "offline:meanings, 3 dimensions"


async def test_two_that_begin_at_once_make_one_generation(rag: Rag) -> None:
    first, second = await asyncio.gather(rag.index.current(), rag.index.current())
    assert first == second
    assert await rag.rows("rag.generations") == 1


async def test_another_model_neither_searches_nor_adds_to_the_index_and_says_what_to_do(
    rag: Rag, other: Rag
) -> None:
    await rag.ready("A dog.")
    for call in (other.index.check(), other.texts(), other.index.current()):
        with pytest.raises(OtherIndex, match=r"with offline:meanings .* --rebuild") as refused:
            await call
        assert refused.value.status == 503


async def test_another_language_is_another_index(rag: Rag, fresh_database: str) -> None:
    await rag.ready("A dog.")
    async with open_rag(fresh_database, language="german") as german:
        with pytest.raises(OtherIndex, match="RAG__LANGUAGE"):
            await german.index.check()


async def test_an_index_that_is_made_again_takes_the_place_of_the_old_one(
    rag: Rag, other: Rag
) -> None:
    await rag.ready("A dog.")
    await rag.ready("A car.")
    assert await rebuild(other) == [1, 1]
    assert sorted(await other.texts()) == ["A car.", "A dog."]
    assert await rag.rows("rag.chunks") == 2
    assert await rag.rows("rag.generations") == 1
    assert await rag.rows("(SELECT FROM pg_indexes WHERE starts_with(indexname, 'chunks_of'))") == 1
    with pytest.raises(OtherIndex):
        await rag.texts()


async def test_the_old_index_is_searched_while_the_new_one_is_made(
    rag: Rag, other: Rag, model: OtherMeanings
) -> None:
    await rag.ready("A dog.")
    await rag.ready("A car.")
    model.left = 1
    with pytest.raises(EmbeddingFailed):
        await rebuild(other)
    assert sorted(await rag.texts()) == ["A car.", "A dog."]
    assert (await rag.documents.list("alice"))[0].chunks == 1


async def test_making_the_index_again_goes_on_where_it_was_broken_off(
    rag: Rag, other: Rag, model: OtherMeanings
) -> None:
    for text in ("A dog.", "A car.", "A price."):
        await rag.ready(text)
    model.left = 2
    with pytest.raises(EmbeddingFailed):
        await rebuild(other)
    model.left = 1
    assert await rebuild(other) == [1]
    model.left = 1
    assert sorted(await other.texts()) == ["A car.", "A dog.", "A price."]


async def test_what_is_ingested_meanwhile_is_in_the_new_index_too(rag: Rag, other: Rag) -> None:
    await rag.ready("A dog.", source_id="pets")
    await rag.ready("A car.")
    generation = await other.index.add()
    await rag.ready("A hound.", source_id="pets")
    await rag.ready("A price.")
    assert not await other.index.activate(generation, rag.splitter)
    await rebuild(other)
    assert sorted(await other.texts()) == ["A car.", "A hound.", "A price."]


async def test_a_document_that_was_on_its_way_is_made_for_the_new_index(
    rag: Rag, other: Rag
) -> None:
    await rag.ready("A dog.")
    waiting = newest(await rag.add("A car."))
    await rebuild(other)
    await other.store.save_text(waiting, "A car.")
    await other.prepare(waiting)
    await other.store.publish(waiting, await other.index.current())
    assert sorted(await other.texts()) == ["A car.", "A dog."]


async def test_a_document_whose_index_was_replaced_on_its_way_is_made_again_and_not_lost(
    rag: Rag, other: Rag
) -> None:
    await rag.ready("A dog.")
    document = await rag.add("A car.")
    generation = await rag.index.current()
    await rag.store.save_text(newest(document), "A car.")
    await rag.prepare(newest(document))
    await rebuild(other)
    assert not await rag.store.publish(newest(document), generation)
    await rag.store.stage(newest(document), generation, [Piece(0, 6, "A car.", ())], "none")
    assert (await rag.documents.get("alice", document.id)).status == "queued"
    await other.prepare(newest(document))
    assert await other.store.publish(newest(document), await other.index.current())
    assert sorted(await other.texts()) == ["A car.", "A dog."]


async def test_an_index_can_be_made_again_with_the_same_model(rag: Rag) -> None:
    await rag.ready("A dog.")
    assert await rebuild(rag) == [1]
    assert await rag.texts() == ["A dog."]
    assert await rag.rows("rag.generations") == await rag.rows("rag.chunks") == 1
