"""An agent finds the documents of whoever began the run, and nobody else's."""

import json
from collections.abc import AsyncIterator

import pytest

from app.agent.durable import UNTRUSTED
from app.agent.tools import search_documents

from tests.agent.conftest import Notes, Office, Scripted, call, calling, waiting
from tests.rag.conftest import Rag, open_rag

pytestmark = pytest.mark.anyio

SEARCH = calling(call("search_documents", query="Where is the dog?"))


@pytest.fixture
async def rag(fresh_database: str) -> AsyncIterator[Rag]:
    async with open_rag(fresh_database) as rag:
        await rag.ready("Alice's dog is in the garden.", title="Pets")
        await rag.ready("Bob's dog is in the cellar.", "bob", title="Secrets")
        yield rag


async def test_each_principal_finds_their_own(office: Office, scripted: Scripted, rag: Rag) -> None:
    tools = [search_documents.tool(rag.retriever)]
    for principal, found, others in (("alice", "garden", "cellar"), ("bob", "cellar", "garden")):
        model = scripted(SEARCH, "Found.")
        run = await office.given(model, tools).do(principal=principal)
        assert run.status == "completed"
        ((passage,),) = await office.results(run)
        assert passage.keys() == {"title", "text"}
        assert found in passage["text"]
        everything = f"{model.calls} {await office.events(run)} {run}"
        assert others not in everything


async def test_who_has_none_finds_nothing(office: Office, scripted: Scripted, rag: Rag) -> None:
    model = scripted(SEARCH, "Nothing.")
    run = await office.given(model, [search_documents.tool(rag.retriever)]).do(principal="carol")
    assert await office.results(run) == [[]]


async def test_what_it_finds_was_written_by_strangers(
    office: Office, notes: Notes, scripted: Scripted, rag: Rag
) -> None:
    tool = search_documents.tool(rag.retriever)
    assert tool.metadata == {UNTRUSTED: True}
    model = scripted(SEARCH, calling(call("note", what="a")))
    run = await office.given(model, [tool, notes.tool]).do()
    assert [asked.tool for asked in waiting(run)] == ["note"]
    assert notes.noted == []


async def test_the_model_is_shown_how_to_use_it(rag: Rag) -> None:
    tool = search_documents.tool(rag.retriever)
    assert "principal" not in json.dumps(tool.function_schema.json_schema)
