"""Searches and embeddings, of requests and of work."""

import json
import time

import pytest
from fastapi.testclient import TestClient
from pydantic_ai.exceptions import ModelServerError

from app.monitoring import names
from app.monitoring.budgets import OverBudget
from app.monitoring.retrieval import MeteredEmbedding, MonitoredEmbedding, MonitoredRetriever
from app.monitoring.traces import Monitor

from app.errors import Unavailable
from tests.monitoring.conftest import Noted, attributes
from tests.monitoring.ledgers import Books, Fragile, database
from tests.monitoring.watching import monitor, reading_monitor
from tests.monitoring.working import client
from tests.rag.conftest import Meanings, Rag, rag

__all__ = ["client", "database", "monitor", "rag", "reading_monitor"]

TEXT = "The canary is a dog."


class Paid(Meanings):
    """One that somebody takes money for."""

    system = "openai"


class Broken(Meanings):
    def vectors(self, texts: list[str]) -> list[list[float]]:
        raise ModelServerError("meanings", "canary")


def watching(rag: Rag, monitor: Monitor) -> MonitoredRetriever:
    """Watch the parts, as `open_resources` does."""
    rag.embeddings.put_around(lambda model: MonitoredEmbedding(model, monitor))
    return MonitoredRetriever(rag.retriever, monitor)


@pytest.mark.anyio
async def test_a_search_is_noted_with_its_embedding(
    rag: Rag, monitor: Monitor, noted: Noted
) -> None:
    await rag.ready(TEXT)
    await watching(rag, monitor).retrieve("alice", "canary", limit=3)
    search, embedding = noted.span("retrieval documents"), noted.span("embeddings meanings")
    assert noted.parent(embedding) == search.name
    assert attributes(search) == {
        names.OPERATION: names.RETRIEVAL,
        names.DATA_SOURCE: "documents",
        names.TOP_K: 3,
        names.FOUND: 1,
    }
    assert attributes(embedding)[names.REQUEST_MODEL] == "meanings"
    assert attributes(embedding)[names.DIMENSIONS] == 3
    counted = noted.counts(names.OPERATION_DURATION, names.OPERATION)
    assert counted == {names.RETRIEVAL: 1, names.EMBEDDINGS: 1}
    assert "canary" not in noted.everything()


@pytest.mark.anyio
async def test_a_search_beyond_a_budget_is_told_so(
    rag: Rag, monitor: Monitor, database: Fragile
) -> None:
    prices = {"meanings": {"input": 1_000_000, "output": 0}}
    books = Books(database, monitor, prices_usd_per_million=prices, daily_budget_usd="0.01")
    rag.embeddings.embedding_model = MeteredEmbedding(Paid(), books.metering)
    with pytest.raises(OverBudget):
        await rag.retriever.retrieve("alice", TEXT, limit=3)


@pytest.mark.anyio
async def test_captured_content_is_redacted(
    rag: Rag, reading_monitor: Monitor, noted: Noted
) -> None:
    await rag.ready(TEXT)
    await watching(rag, reading_monitor).retrieve("alice", "Where is the canary?")
    noticed = attributes(noted.span("retrieval documents"))
    assert json.loads(noticed[names.QUERY_TEXT]) == "Where is the [bird]?"
    (found,) = json.loads(noticed[names.DOCUMENTS])
    assert found["content"] == "The [bird] is a dog."
    assert "canary" not in noted.everything()


@pytest.mark.anyio
async def test_what_fails_is_noted_by_its_kind(rag: Rag, monitor: Monitor, noted: Noted) -> None:
    await rag.ready(TEXT)
    rag.embeddings.embedding_model = Broken()
    with pytest.raises(Unavailable):
        await watching(rag, monitor).retrieve("alice", "canary")
    errors = {span.name: attributes(span)[names.ERROR] for span in noted.spans}
    assert errors == {
        "embeddings meanings": "ModelServerError",
        "retrieval documents": "Unavailable",
    }
    assert "canary" not in noted.everything()


def test_a_document_is_taken_in_within_the_trace_of_its_request(
    client: TestClient, noted: Noted
) -> None:
    added = client.post("/v1/documents", json={"title": "Notes", "text": TEXT}).json()
    deadline = time.monotonic() + 20
    while client.get(f"/v1/documents/{added['id']}").json()["status"] != "ready":
        assert time.monotonic() < deadline
    client.post("/v1/search", json={"query": "canary"})
    by_feature = {
        attributes(span)[names.FEATURE]: noted.parent(span)
        for span in noted.spans
        if span.name.startswith("embeddings")
    }
    assert by_feature == {"ingest": "invoke_workflow ingest", "search": "retrieval documents"}
    assert noted.parent(noted.span("invoke_workflow ingest")) == "POST /v1/documents"
    assert noted.parent(noted.span("retrieval documents")) == "POST /v1/search"
    assert "canary" not in noted.everything()


def test_what_is_embedded_is_in_the_ledger(client: TestClient) -> None:
    added = client.post("/v1/documents", json={"title": "Notes", "text": TEXT}).json()
    deadline = time.monotonic() + 20
    while client.get(f"/v1/documents/{added['id']}").json()["status"] != "ready":
        assert time.monotonic() < deadline
    client.post("/v1/search", json={"query": "canary"})
    found = client.get("/v1/usage", params={"group_by": "feature"}).json()
    assert {row["feature"] for row in found["rows"]} == {"ingest", "search"}
    # Nobody says how many tokens they are, and nobody is paid for them.
    assert found["totals"]["estimated"]["calls"] == found["totals"]["calls"]
    assert found["totals"]["input_tokens"] > 0
    assert found["total_cost_usd"] == 0
