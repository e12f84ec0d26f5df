"""What callers get, and what they say of it, in a running service."""

import json
import re
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from fastapi.testclient import TestClient
from psycopg.rows import dict_row

from app.monitoring import names

from app.main import create_app
from app.settings import Settings
from tests.conftest import KEY
from tests.db.callers import bob, problem, settings
from tests.monitoring.conftest import Noted, opening

__all__ = ["bob", "settings"]

HI = {"messages": [{"role": "user", "content": "Has the canary flown?"}]}
REFUSED = {"messages": [{"role": "user", "content": "[refuse]"}]}
MAIL = "ada@canary.example"


def chat(client: TestClient, *, stream: bool = False, **body: Any) -> str:
    """Return the id of an answer."""
    answer = client.post("/v1/chat/completions", json={**HI, "stream": stream, **body})
    assert answer.status_code == 200
    found = re.search(r'"id": ?"([^"]+)"', answer.text)
    assert found
    return found[1]


def rate(client: TestClient, id: str, rating: str = "up", **more: Any) -> Any:
    body = {"response_id": id, "rating": rating, **more}
    return client.post("/v1/feedback", json=body)


def row(url: str, id: str) -> dict[str, Any]:
    with psycopg.connect(url, row_factory=dict_row) as connection:
        found = connection.execute("SELECT * FROM monitoring.responses WHERE id = %s", [id])
        (only,) = found.fetchall()
        return only


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_chat_is_scored_and_rated(
    client: TestClient, noted: Noted, fresh_database: str, stream: bool
) -> None:
    id = chat(client, stream=stream)
    answer = rate(client, id)
    assert answer.status_code == 201
    assert answer.json() == {"response_id": id, "rating": "up", "comment": None}
    kept = row(fresh_database, id)
    assert kept["principal"] == "alice"
    assert kept["feature"] == kept["prompt"] == "chat"
    assert (kept["model"], kept["prompt_version"]) == ("offline", "1")
    assert kept["scores"] == {"refusal": 1, "length": 1}
    assert kept["input_chars"] == len("Has the canary flown?")
    assert kept["output_chars"] > 20
    assert (kept["refused"], kept["rating"]) == (False, "up")
    assert noted.counts(names.EVALUATION_SCORE, names.EVALUATION) == {"refusal": 1, "length": 1}
    (event, _) = noted.span("POST /v1/chat/completions").events
    assert event.name == names.EVALUATION_RESULT
    assert dict(event.attributes or {}) == {
        names.EVALUATION: "refusal",
        names.SCORE: 1.0,
        names.SCORE_LABEL: "pass",
        names.ANSWER_ID: id,
    }


@pytest.mark.parametrize(
    ("body", "failed"),
    [
        (REFUSED, {"refusal"}),
        ({"max_tokens": 2}, {"length"}),
        ({"max_tokens": 2, "response_format": {"type": "json_object"}}, {"length", "format"}),
    ],
    ids=["refused", "cut off", "no JSON"],
)
def test_what_is_wrong_is_scored(
    client: TestClient, fresh_database: str, body: dict[str, Any], failed: set[str]
) -> None:
    id = chat(client, **body)
    rate(client, id)
    scores = row(fresh_database, id)["scores"]
    assert {name for name, score in scores.items() if not score} == failed


@pytest.mark.parametrize("task", ["extract", "classify"])
def test_a_text_that_is_read_is_scored(client: TestClient, fresh_database: str, task: str) -> None:
    result = client.post(f"/v1/{task}", json={"text": "A canary was charged twice."}).json()
    assert rate(client, result["id"], "down").status_code == 201
    kept = row(fresh_database, result["id"])
    assert kept["feature"] == task
    assert kept["scores"]["format"] == (result["outcome"] == "ok")


def test_the_last_rating_counts(client: TestClient, noted: Noted, fresh_database: str) -> None:
    id = chat(client)
    for rating in ("up", "up", "down"):
        assert rate(client, id, rating).status_code == 201
    assert row(fresh_database, id)["rating"] == "down"
    assert noted.sums(names.FEEDBACK, names.RATING) == {"up": 1, "down": 1}
    assert noted.sums(names.FEEDBACK, names.FEATURE) == {"chat": 2}


def test_a_comment_is_kept_redacted(client: TestClient, noted: Noted, fresh_database: str) -> None:
    id = chat(client)
    answer = rate(client, id, "down", comment=f"Write to {MAIL} soon.")
    assert answer.json()["comment"] == "Write to [email] soon."
    assert row(fresh_database, id)["comment"] == "Write to [email] soon."
    assert "canary" not in noted.everything()


def test_nobody_rates_what_another_got(client: TestClient, bob: TestClient) -> None:
    id = chat(client)
    told = [problem(rate(bob, one), 404)["code"] for one in (id, "chatcmpl-none")]
    assert told == ["not_found"] * 2


@pytest.mark.parametrize(
    "body",
    [
        {"rating": "up"},
        {"response_id": "a", "rating": "good"},
        {"response_id": "a", "rating": "up", "comment": "x" * 2_001},
        {"response_id": "a\0", "rating": "up"},
        {"response_id": "a", "rating": "up", "more": 1},
    ],
)
def test_a_rating_has_a_form(client: TestClient, body: dict[str, Any]) -> None:
    problem(client.post("/v1/feedback", json=body), 422)


def test_nothing_of_what_was_said_is_kept(
    client: TestClient, noted: Noted, fresh_database: str, capfd: pytest.CaptureFixture[str]
) -> None:
    for stream in (False, True):
        id = chat(client, stream=stream)
        rate(client, id)
        assert "canary" not in str(row(fresh_database, id))
    assert "canary" not in noted.everything() + "".join(capfd.readouterr())


@pytest.fixture
def reading(
    settings: Settings, noted: Noted, monkeypatch: pytest.MonkeyPatch
) -> Iterator[TestClient]:
    """A service that captures content."""
    monkeypatch.setenv("MONITORING__CAPTURE_CONTENT", "true")
    app = create_app(Settings(security=settings.security), opening(noted))
    headers = {"Authorization": f"Bearer {KEY}"}
    with TestClient(app, headers=headers) as client:
        yield client


def test_captured_content_is_redacted(
    reading: TestClient, noted: Noted, fresh_database: str
) -> None:
    said = [f"I am\n{MAIL} here.", "My card:\n4111111111111111"]
    messages = [{"role": "user", "content": text} for text in said]
    id = chat(reading, messages=messages)
    rate(reading, id)
    kept = row(fresh_database, id)
    assert json.loads(kept["request"]) == ["I am\n[email] here.", "My card:\n[number]"]
    assert kept["response"].startswith("Offline model:")
    assert "canary" not in str(kept) + noted.everything()
