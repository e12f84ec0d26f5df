"""Answers from documents: scored by their citations, beside what every answer is scored by."""

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.answers.citations import Reading
from app.answers.settle import Answer
from app.llm.structured import Usage
from app.monitoring.quality.answers import scores_of

from tests.monitoring.conftest import Noted
from tests.monitoring.quality.test_routes import rate, row
from tests.monitoring.test_retrieval import TEXT, client

__all__ = ["client"]


def answered(**reading: int) -> Answer:
    return Answer(
        id="answer-1",
        model="m",
        answer="It is.",
        citations=[],
        unsupported=[],
        abstained=False,
        detail=None,
        usage=Usage(input_tokens=1, output_tokens=1, cost_usd=None),
        reading=Reading(**reading),
    )


@pytest.mark.parametrize(
    ("reading", "scores"),
    [
        ({"sentences": 4, "supported": 3, "citations": 4, "dropped": 1}, (0.75, 0.75)),
        ({"sentences": 2, "supported": 2, "citations": 3}, (1, 1)),
        ({"sentences": 1, "supported": 0}, (0, 0)),
    ],
    ids=["a citation fails", "all hold", "there is none"],
)
def test_citations_and_sentences_are_counted(
    reading: dict[str, int], scores: tuple[float, float]
) -> None:
    citations, groundedness = scores
    expected = {"citations": citations, "groundedness": groundedness}
    assert scores_of(answered(**reading)) == expected


def test_where_nothing_was_said_there_is_nothing_to_score() -> None:
    assert scores_of(answered()) == {}


def ask(client: TestClient, stream: bool) -> dict[str, Any]:
    body = {"question": "What is the canary?", "stream": stream}
    answer = client.post("/v1/answers", json=body)
    if not stream:
        whole: dict[str, Any] = answer.json()
        return whole
    data = answer.text.split("event: done\ndata: ")[1]
    found: dict[str, Any] = json.loads(data.split("\n")[0])
    return found


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_an_answer_is_scored_and_rated(
    client: TestClient, noted: Noted, fresh_database: str, stream: bool
) -> None:
    client.post("/v1/documents", json={"title": "Notes", "text": TEXT})
    answer = ask(client, stream)
    assert rate(client, answer["id"]).status_code == 201
    while not answer["citations"]:
        answer = ask(client, stream)
    assert "reading" not in answer
    rate(client, answer["id"])
    kept = row(fresh_database, answer["id"])
    assert kept["scores"] == {"refusal": 1, "length": 1, "citations": 1, "groundedness": 1}
    assert (kept["feature"], kept["prompt"], kept["principal"]) == ("answer", "answer", "alice")
    assert kept["input_chars"] == len("What is the canary?")
    assert kept["output_chars"] == len(answer["answer"])
    assert "canary" not in str(kept) + noted.everything()
