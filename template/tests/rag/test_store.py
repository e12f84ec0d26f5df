"""Versions are worked on apart, and take one another's place at once."""

import asyncio
from itertools import cycle

import pytest
from sqlalchemy.exc import IntegrityError

from app.rag.split import Piece

from tests.rag.conftest import Rag, newest

pytestmark = pytest.mark.anyio


async def test_each_beginning_of_work_is_counted(rag: Rag) -> None:
    version = newest(await rag.add("A dog."))
    begun = [await rag.store.begin(version) for _ in range(3)]
    assert begun == [(attempt, "alice") for attempt in (1, 2, 3)]
    assert (await rag.documents.list("alice"))[0].status == "running"


async def test_work_that_is_done_or_not_wanted_any_more_does_not_begin(rag: Rag) -> None:
    ready = newest(await rag.ready("A dog."))
    failed = newest(await rag.add("A hound."))
    await rag.store.fail(failed, "The hound ran away.")
    replaced = newest(await rag.add("A car.", source_id="cars"))
    await rag.add("A vehicle.", source_id="cars")
    deleted = newest(await rag.add("A puppy."))
    await rag.documents.delete("alice", (await rag.documents.list("alice"))[0].id)
    for version in (ready, failed, replaced, deleted):
        assert await rag.store.begin(version) is None


async def test_what_was_read_takes_the_place_of_what_it_was_read_from(rag: Rag) -> None:
    version = newest(await rag.add("A dog."))
    assert await rag.store.content(version) == (b"A dog.", "text/plain")
    await rag.store.save_text(version, "A dog, read.")
    assert await rag.store.content(version) is None
    assert await rag.store.text(version) == "A dog, read."


async def test_pieces_that_are_put_down_again_replace_those_before(rag: Rag) -> None:
    version, generation = newest(await rag.add("A dog.")), await rag.index.current()
    for text in ("A dog.", "A hound."):
        pieces = [Piece(0, len(text), text, ("Pets", "Mine"))]
        await rag.store.stage(version, generation, pieces, "none")
    (staged,) = await rag.store.staged(version, generation, 0, 10)
    assert staged.text == "Notes\nPets\nMine\nA hound."


async def test_nothing_is_put_down_of_a_version_that_is_gone(rag: Rag) -> None:
    document, generation = await rag.add("A dog."), await rag.index.current()
    await rag.documents.delete("alice", document.id)
    await rag.store.stage(newest(document), generation, [Piece(0, 6, "A dog.", ())], "none")
    await rag.store.publish(newest(document), generation)
    assert await rag.rows("rag.staged_chunks") == await rag.rows("rag.chunks") == 0


async def test_a_failure_drops_what_was_made_and_what_came_in(rag: Rag) -> None:
    version = newest(await rag.add("A dog."))
    await rag.prepare(version)
    await rag.store.fail(version, "The dog ran away.")
    assert await rag.store.content(version) is None
    assert await rag.rows("rag.staged_chunks") == 0


async def test_a_version_is_found_once_it_is_published_and_the_one_before_until_then(
    rag: Rag,
) -> None:
    await rag.ready("A dog.", source_id="pets")
    version = newest(await rag.add("A hound.", source_id="pets"))
    await rag.store.save_text(version, "A hound.")
    await rag.prepare(version)
    assert await rag.texts() == ["A dog."]
    await rag.store.publish(version, await rag.index.current())
    assert await rag.texts() == ["A hound."]
    assert await rag.rows("rag.versions") == await rag.rows("rag.chunks") == 1


async def test_publishing_that_fails_changes_nothing(rag: Rag) -> None:
    document = await rag.ready("A dog.", source_id="pets")
    version = newest(await rag.add("A hound.", source_id="pets"))
    generation = await rag.index.current()
    await rag.store.stage(version, generation, [Piece(0, 8, "A hound.", ())], "none")
    with pytest.raises(IntegrityError, match="embedding"):
        await rag.store.publish(version, generation)
    assert await rag.texts() == ["A dog."]
    assert (await rag.documents.get("alice", document.id)).status == "queued"


async def test_a_search_finds_the_old_version_or_the_new_one_and_never_both_or_none(
    rag: Rag,
) -> None:
    versions = ["A dog.", "A hound."]
    await rag.ready(versions[-1], source_id="pets")
    found: list[list[str]] = []
    published = asyncio.Event()

    # Not until it is cancelled: where the database has just answered, nobody would be told.
    async def search() -> None:
        while not published.is_set():
            found.append(await rag.texts())

    searching = asyncio.create_task(search())
    for number, text in enumerate(cycle(versions)):
        await rag.ready(text, source_id="pets")
        if number > 4 and len(found) > 4:
            break
    published.set()
    await searching
    assert all(len(texts) == 1 and texts[0] in versions for texts in found)


@pytest.mark.parametrize("anew", [True, False])
async def test_publishing_again_makes_no_second_copy_and_loses_none(rag: Rag, anew: bool) -> None:
    version = newest(await rag.ready("A dog."))
    if anew:
        await rag.prepare(version)
    await rag.store.publish(version, await rag.index.current())
    assert await rag.texts() == ["A dog."]
