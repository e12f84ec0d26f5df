"""`POST /v1/answers` over HTTP, whole and as events."""

import json
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace
from io import StringIO
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydantic_ai.exceptions import ModelHTTPError, ModelRateLimitError
from pydantic_ai.models import Model

from app.answers.offline import answer_from_sources
from app.llm.offline import offline_model

from app.errors import Unavailable
from app.main import create_app
from app.resources import Resources, open_resources
from app.settings import Settings
from app.telemetry import configure_logs
from tests.answers.conftest import RETURNS, FakeRetriever, answers_with, passages
from tests.conftest import KEY
from tests.llm.conftest import Scripted
from tests.llm.scripted import Turn

PATH = "/v1/answers"
ASKED: Any = {"question": "How long can goods be returned?"}
STREAMED: Any = {**ASKED, "stream": True}
GOOD = 'Within 30 days. <cite source="1">can be returned within 30 days</cite>'

Serve = Callable[..., TestClient]


@pytest.fixture
def serve(settings: Settings) -> Iterator[Serve]:
    """Runs the service with a model and a retriever, and gives a client that is Alice."""
    with ExitStack() as stack:

        def start(model: Model | None = None, retriever: FakeRetriever | None = None) -> TestClient:
            answers = answers_with(
                model or offline_model(answer_from_sources),
                retriever or FakeRetriever(passages(RETURNS)),
                max_input_tokens=10_000,
            )

            @asynccontextmanager
            async def open_own(settings: Settings) -> AsyncGenerator[Resources]:
                async with open_resources(settings) as resources:
                    yield replace(resources, answers=answers)

            app = create_app(settings, open_own)
            client = stack.enter_context(TestClient(app, raise_server_exceptions=False))
            client.headers["Authorization"] = f"Bearer {KEY}"
            return client

        yield start


def events(text: str) -> list[tuple[str, Any]]:
    """Return name and data of each event."""
    found = []
    for event in text.removesuffix("\n\n").split("\n\n"):
        name, data = event.split("\n")
        found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


def test_the_logs_know_an_answer_by_the_id_its_caller_got(serve: Serve) -> None:
    client, logs = serve(), StringIO()
    configure_logs("INFO", "json", logs)
    whole = client.post(PATH, json=ASKED).json()
    _, streamed = events(client.post(PATH, json=STREAMED).text)[-1]
    lines = [json.loads(line) for line in logs.getvalue().splitlines()]
    noted = [line["response_id"] for line in lines if line["event"] == "answer"]
    assert noted == [whole["id"], streamed["id"]]


def test_a_question_is_answered_with_citations(serve: Serve) -> None:
    answer = serve().post(PATH, json=ASKED)
    assert answer.status_code == 200
    body = answer.json()
    assert body.keys() == {
        "id",
        "model",
        "answer",
        "citations",
        "unsupported",
        "abstained",
        "detail",
        "usage",
    }
    (citation,) = body["citations"]
    assert citation.keys() == {"chunk_id", "document_id", "title", "quote"}
    assert citation["quote"] in RETURNS
    assert (body["model"], body["abstained"], body["unsupported"]) == ("offline", False, [])
    assert body["usage"]["cost_usd"] == "0"


def test_a_stream_has_the_sources_the_text_and_the_whole_answer(serve: Serve) -> None:
    answer = serve().post(PATH, json=STREAMED)
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    (first, sources), *deltas, (last, done) = events(answer.text)
    assert (first, last) == ("sources", "done")
    assert [source["text"] for source in sources["sources"]] == [RETURNS]
    assert len(deltas) > 3
    assert {name for name, _ in deltas} == {"delta"}
    assert "".join(data["text"] for _, data in deltas) == done["answer"]
    assert done["citations"][0]["chunk_id"] == "chunk-1"


def test_a_stream_without_an_answer_is_done_without_text(serve: Serve) -> None:
    answer = serve(retriever=FakeRetriever([])).post(PATH, json=STREAMED)
    (_, sources), (name, done) = events(answer.text)
    assert (sources, name, done["abstained"]) == ({"sources": []}, "done", True)


@pytest.mark.parametrize("body", [ASKED, STREAMED])
def test_the_documents_of_whoever_has_the_key_are_searched(serve: Serve, body: Any) -> None:
    retriever = FakeRetriever(passages(RETURNS))
    serve(retriever=retriever).post(PATH, json={**body, "filter": {"a": 1}, "limit": 2.0})
    assert retriever.asked == [("alice", ASKED["question"], 2, {"a": 1})]


@pytest.mark.parametrize(
    "turn",
    [Turn(["Within"], finish=None), Turn(["Within"], error=ModelHTTPError(500, "scripted"))],
    ids=["no finish reason", "error"],
)
def test_a_stream_that_fails_ends_with_an_error_event(
    serve: Serve, scripted: Scripted, turn: Turn
) -> None:
    answer = serve(scripted(turn)).post(PATH, json=STREAMED)
    assert answer.status_code == 200
    *_, (before, _), (name, data) = events(answer.text)
    assert (before, name) == ("delta", "error")
    assert data["error"].keys() >= {"message", "type", "code"}
    assert data["error"]["code"] == "provider_error"
    assert "event: done" not in answer.text


@pytest.mark.parametrize("body", [ASKED, STREAMED])
def test_a_failure_before_the_first_word_is_a_problem(
    serve: Serve, scripted: Scripted, body: Any
) -> None:
    limited = Turn(error=ModelRateLimitError("scripted", "Slow down."))
    down = FakeRetriever([], Unavailable("No database."))
    for client, status in ((serve(scripted(limited)), 429), (serve(retriever=down), 503)):
        answer = client.post(PATH, json=body)
        assert answer.status_code == status
        assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"question": " "}, 422),
        ({"question": "Hi", "limit": 0}, 422),
        ({"question": "Hi", "filter": "a"}, 422),
        ({"question": "Hi", "qestion": "Hi"}, 422),
        ({"question": "Hi", "model": "gpt-0"}, 404),
        ({"question": "word " * 30_000}, 400),
    ],
)
def test_a_request_that_is_wrong_is_a_problem(
    serve: Serve, body: dict[str, Any], status: int, stream: bool
) -> None:
    answer = serve().post(PATH, json={**body, "stream": stream})
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_without_a_key_nothing_is_answered(serve: Serve) -> None:
    client = serve()
    del client.headers["Authorization"]
    assert client.post(PATH, json=ASKED).status_code == 401


def test_openapi_has_the_answer_and_the_stream(serve: Serve) -> None:
    operation = serve().get("/openapi.json").json()["paths"][PATH]["post"]
    assert operation["security"] == [{"HTTPBearer": []}]
    assert set(operation["responses"]["200"]["content"]) == {
        "application/json",
        "text/event-stream",
    }
    assert list(operation["responses"]["400"]["content"]) == ["application/problem+json"]
