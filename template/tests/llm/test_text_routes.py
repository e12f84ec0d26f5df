"""`POST /v1/extract` and `POST /v1/classify`."""

import json
from io import StringIO

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.llm.classify import Label
from app.llm.extract import Document

from app.telemetry import configure_logs
from tests.llm.samples import LABEL, MESSAGE, UNREADABLE

JSON = {"Content-Type": "application/json"}
every_path = pytest.mark.parametrize("path", ["/v1/extract", "/v1/classify"])


def test_a_classification_has_its_label_and_its_reason(client: TestClient) -> None:
    answer = client.post("/v1/classify", json={"text": MESSAGE})
    assert answer.status_code == 200
    body = answer.json()
    assert body.keys() == {"id", "model", "outcome", "detail", "usage", "label", "rationale"}
    assert body["label"] == LABEL
    assert body["model"] == "offline"


@every_path
def test_the_logs_know_an_answer_by_the_id_its_caller_got(client: TestClient, path: str) -> None:
    logs = StringIO()
    configure_logs("INFO", "json", logs)
    answer = client.post(path, json={"text": MESSAGE}).json()
    lines = [json.loads(line) for line in logs.getvalue().splitlines()]
    noted = {line["event"]: line.get("response_id") for line in lines}
    assert noted == {"answer": answer["id"], "request": None}


@every_path
def test_what_cannot_be_read_is_no_error(client: TestClient, path: str) -> None:
    answer = client.post(path, json={"text": UNREADABLE})
    assert answer.status_code == 200
    assert answer.json()["outcome"] == "invalid"
    assert answer.json()["detail"]


@every_path
@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"text": ""}, 422),
        ({"text": 1}, 422),
        ({"text": "Hi", "txt": "Hi"}, 422),
        ({"text": "\ud800"}, 422),
        ({"text": "Hi", "model": "gpt-0"}, 404),
        ({"text": "word " * 30_000}, 400),
    ],
)
def test_a_request_that_is_wrong_is_a_problem(
    client: TestClient, path: str, body: dict[str, object], status: int
) -> None:
    answer = client.post(path, content=json.dumps(body), headers=JSON)
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["detail"]


def test_the_labels_and_the_fields_are_documented(app: FastAPI) -> None:
    schemas = app.openapi()["components"]["schemas"]
    assert schemas["Label"]["enum"] == list(Label)
    assert schemas["Document"]["properties"].keys() == Document.model_fields.keys()
