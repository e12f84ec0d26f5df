"""What a question finds: by meaning, by words, and only among one's own documents."""

import asyncio
import inspect
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import make_url

from app.rag.retrieve import Passage, Retriever

from tests.db.plugin import create_database
from tests.rag.conftest import Rag, open_rag

pytestmark = pytest.mark.anyio

PETS = """# Pets

Whoever keeps one of them at home has to feed it.

## Dogs

The puppy sleeps in the kitchen at home, which costs 5 € 🐕.

## Cats

A cat sleeps wherever it wants to, also at home."""
CAR = "The automobile stands in the garage at home; it's red."
INVOICE = "Invoice E-4711 has to be paid at home within 30 days."


@pytest.fixture(scope="module")
def library(migrated_database: str, postgres: str) -> str:
    """The address of a database with documents of Alice's and one of Bob's."""
    url = create_database(postgres, "library", template=str(make_url(migrated_database).database))
    asyncio.run(fill(url))
    return url


async def fill(url: str) -> None:
    async with open_rag(url, chunk_tokens=32) as rag:
        await rag.ready(PETS, title="Pets", metadata={"kind": "animal", "tags": ["warm", "young"]})
        await rag.ready(
            CAR, title="Car", metadata={"kind": "thing", "tags": ["warm"], "year": 2020}
        )
        await rag.ready(INVOICE, title="Invoice", metadata={"kind": "thing", "paid": None})
        await rag.ready("The puppy of Bob sleeps in the garden.", "bob", title="Bob's")
        await rag.execute("ANALYZE rag.chunks")


@pytest.fixture
async def rag(library: str) -> AsyncIterator[Rag]:
    async with open_rag(library) as rag:
        yield rag


async def search(rag: Rag, query: str, principal: str = "alice", **how: Any) -> list[Passage]:
    return await rag.retriever.retrieve(principal, query, **how)


async def test_a_word_finds_the_passages_that_hold_it(rag: Rag) -> None:
    found = await search(rag, "garages")
    assert found[0].title == "Car"
    assert [passage.title for passage in found if passage.words] == ["Car"]


async def test_a_meaning_finds_passages_that_hold_none_of_the_words(rag: Rag) -> None:
    best = (await search(rag, "hound"))[0]
    assert "puppy" in best.text
    assert best.words is None
    assert best.meaning == pytest.approx(1, abs=0.01)


async def test_a_passage_that_both_ways_find_is_there_once_and_before_the_others(rag: Rag) -> None:
    found = await search(rag, "puppy in the kitchen")
    assert len({passage.chunk_id for passage in found}) == len(found)
    assert "puppy" in found[0].text
    assert None not in (found[0].meaning, found[0].words)
    assert [p.score for p in found] == sorted((p.score for p in found), reverse=True)


async def test_a_word_of_the_title_or_of_a_heading_finds_what_is_below_it(rag: Rag) -> None:
    assert [p.headings for p in await search(rag, "cats") if p.words] == [("Pets",)]
    assert {p.title for p in await search(rag, "pets") if p.words} == {"Pets"}


async def test_a_passage_says_where_in_the_text_of_its_document_it_stands(rag: Rag) -> None:
    found = [passage for passage in await search(rag, "home") if passage.title == "Pets"]
    assert len(found) > 1
    assert all(PETS[passage.start : passage.end] == passage.text for passage in found)


async def test_no_more_are_found_than_were_asked_for(rag: Rag) -> None:
    everything = await search(rag, "home", limit=50)
    assert await search(rag, "home", limit=2) == everything[:2]


@pytest.mark.parametrize(
    ("filter", "titles"),
    [
        ({"kind": "animal"}, {"Pets"}),
        ({"kind": "thing"}, {"Car", "Invoice"}),
        ({"kind": "thing", "year": 2020}, {"Car"}),
        ({"tags": ["warm"]}, {"Pets", "Car"}),
        ({"tags": ["young", "warm"]}, {"Pets"}),
        ({"paid": None}, {"Invoice"}),
        ({"year": "2020"}, set()),
        ({"kind": "' OR true --"}, set()),
        ({}, {"Pets", "Car", "Invoice"}),
    ],
)
async def test_a_filter_leaves_what_has_all_of_it(
    rag: Rag, filter: dict[str, Any], titles: set[str]
) -> None:
    found = await search(rag, "home", filter=filter, limit=50)
    assert {passage.title for passage in found} == titles


@pytest.mark.parametrize(
    "query",
    [
        "the and of",
        "?!",
        "🙂",
        "\0",
        "'; DROP TABLE rag.chunks; --",
        "a:*b & | ! <-> ( :* ",
        "\\' \\\\ \" '' $1 :query %s {language}",
        "\\",
        "'",
        "日本語 مرحبا",
        "x" * 4000,
        "https://example.com/a?b=c&d=%20 <b>bold</b> me@example.com",
    ],
)
async def test_any_text_is_a_question(rag: Rag, query: str) -> None:
    assert await search(rag, query)
    found = await search(rag, f"{query} garage")
    assert [passage.title for passage in found if passage.words] == ["Car"]


async def test_a_word_that_too_many_passages_hold_is_left_to_the_meaning(library: str) -> None:
    async with open_rag(library, ranked_chunks=2) as rag:
        found = await search(rag, "home garage")
        assert [passage.title for passage in found if passage.words] == ["Car"]
        assert len(found) > 1
        assert [passage for passage in await search(rag, "home") if passage.words] == []


async def test_a_word_that_nothing_is_known_of_counts_as_a_rare_one(library: str) -> None:
    async with open_rag(library, ranked_chunks=2) as rag:
        unheard = [f"unheard{number}" for number in range(12)]
        found = await search(rag, " ".join([*unheard[:4], "garage"]))
        assert [passage.title for passage in found if passage.words] == ["Car"]
        found = await search(rag, " ".join([*unheard, "garage"]))
        assert [passage for passage in found if passage.words] == []


async def test_everybody_finds_only_their_own(rag: Rag) -> None:
    assert {passage.title for passage in await search(rag, "puppy", "bob", limit=50)} == {"Bob's"}
    assert "Bob's" not in {passage.title for passage in await search(rag, "puppy", limit=50)}
    assert await search(rag, "puppy", "carol") == []
    assert await search(rag, "puppy", "alice' OR true --") == []


async def test_many_documents_of_others_do_not_hide_ones_own(fresh_database: str) -> None:
    async with open_rag(fresh_database, candidates=10, ef_search=10) as rag:
        for number in range(30):
            await rag.ready(f"The puppy {number}.", "alice")
        await rag.ready("A car.", "bob")
        await rag.execute("ANALYZE rag.chunks")
        assert await rag.texts("puppy", "bob") == ["A car."]


def test_there_is_no_search_without_a_principal() -> None:
    principal = inspect.signature(Retriever.retrieve).parameters["principal"]
    assert principal.default is inspect.Parameter.empty
    assert principal.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
