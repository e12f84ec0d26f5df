"""Documents are their owners', keep their ids, and leave nothing behind."""

import inspect
from typing import Any
from uuid import uuid4

import pytest

from app.rag.documents import Documents

from app.errors import NotFound
from tests.rag.conftest import Rag, newest

pytestmark = pytest.mark.anyio


async def test_a_document_that_is_given_in_waits_to_be_ingested(rag: Rag) -> None:
    added = await rag.add("A dog.", title="Dogs", metadata={"year": 2026})
    assert (added.title, added.status, added.chunks) == ("Dogs", "queued", 0)
    assert added.metadata == {"year": 2026}
    assert await rag.documents.get("alice", added.id) == added
    assert await rag.rows("dbos.workflow_status") == 1


@pytest.mark.parametrize("source_id", [None, "dogs"])
async def test_the_same_again_is_the_same_document_and_no_work(
    rag: Rag, source_id: str | None
) -> None:
    first = await rag.add("A dog.", source_id=source_id)
    assert await rag.add("A dog.", source_id=source_id) == first
    assert await rag.rows("dbos.workflow_status") == 1


@pytest.mark.parametrize("source_id", [None, "dogs"])
@pytest.mark.parametrize("change", [{"title": "Dogs"}, {"metadata": {"year": 2026}}])
async def test_another_title_or_other_metadata_are_a_new_version(
    rag: Rag, source_id: str | None, change: dict[str, Any]
) -> None:
    first = await rag.add("A dog.", source_id=source_id)
    second = await rag.add("A dog.", source_id=source_id, **change)
    assert (second.id, second.version) == (first.id, 2)
    assert await rag.rows("dbos.workflow_status") == 2


async def test_other_content_of_the_same_source_is_a_new_version(rag: Rag) -> None:
    first = await rag.add("A dog.", source_id="pets")
    second = await rag.add("A hound.", source_id="pets")
    assert (second.id, second.version, second.source_id) == (first.id, 2, "pets")


async def test_other_content_without_a_source_is_another_document(rag: Rag) -> None:
    assert (await rag.add("A dog.")).id != (await rag.add("A hound.")).id


async def test_the_same_content_of_another_principal_is_another_document(rag: Rag) -> None:
    hers, his = await rag.add("A dog.", "alice"), await rag.add("A dog.", "bob")
    assert hers.id != his.id


async def test_a_document_that_failed_is_tried_again_when_it_is_given_in_again(rag: Rag) -> None:
    failed = await rag.add("A dog.")
    await rag.store.fail(newest(failed), "The dog ran away.")
    again = await rag.add("A dog.")
    assert (again.id, again.version, again.status, again.error) == (failed.id, 2, "queued", None)


async def test_a_new_version_that_fails_leaves_the_old_one_to_be_found(rag: Rag) -> None:
    await rag.ready("A dog.", source_id="pets")
    second = await rag.add("A hound.", source_id="pets")
    await rag.store.fail(newest(second), "The hound ran away.")
    document = await rag.documents.get("alice", second.id)
    assert (document.status, document.error) == ("failed", "The hound ran away.")
    assert document.chunks == 1
    assert await rag.texts() == ["A dog."]


async def test_documents_are_listed_newest_first_page_by_page(rag: Rag) -> None:
    added = [(await rag.add(f"Dog {number}.")).id for number in range(5)]
    await rag.add("A dog.", "bob")
    pages, after = [], None
    while page := [d.id for d in await rag.documents.list("alice", limit=2, after=after)]:
        pages.append(page)
        after = page[-1]
    assert pages == [added[:2:-1], added[2:0:-1], added[:1]]


async def test_those_that_somebody_has_are_found_by_their_ids(rag: Rag) -> None:
    hers, his = await rag.add("A dog.", "alice"), await rag.add("A dog.", "bob")
    assert await rag.documents.find("alice", [hers.id, his.id, uuid4()]) == [hers]


async def test_what_is_anothers_is_not_there(rag: Rag) -> None:
    document = await rag.ready("A dog.", "alice")
    with pytest.raises(NotFound):
        await rag.documents.get("bob", document.id)
    with pytest.raises(NotFound):
        await rag.documents.delete("bob", document.id)
    assert await rag.documents.list("bob") == []
    with pytest.raises(NotFound):
        await rag.documents.list("bob", after=document.id)
    assert await rag.documents.get("alice", document.id) == document


async def test_a_deleted_document_leaves_no_trace(rag: Rag) -> None:
    kept = await rag.ready("Another dog.")
    document = await rag.ready("A dog.", source_id="pets")
    await rag.ready("A hound.", source_id="pets")
    await rag.prepare(newest(await rag.add("A puppy.", source_id="pets")))
    await rag.documents.delete("alice", document.id)
    tables = ("documents", "versions", "chunks", "staged_chunks")
    for table in (*(f"rag.{name}" for name in tables), "dbos.workflow_status"):
        assert await rag.rows(table, document.id) == 0
    with pytest.raises(NotFound):
        await rag.documents.get("alice", document.id)
    assert await rag.texts() == ["Another dog."]
    assert await rag.rows("rag.chunks", kept.id) == 1


async def test_what_is_not_there_cannot_be_deleted(rag: Rag) -> None:
    with pytest.raises(NotFound, match="There is no document"):
        await rag.documents.delete("alice", uuid4())


@pytest.mark.parametrize("name", [name for name in vars(Documents) if name[0] != "_"])
def test_no_document_can_be_reached_without_a_principal(name: str) -> None:
    first = list(inspect.signature(getattr(Documents, name)).parameters.values())[1]
    assert (first.name, first.default) == ("principal", inspect.Parameter.empty)
