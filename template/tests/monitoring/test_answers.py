"""An answer from documents: what was searched and what was asked are parts of one request."""

import pytest
from fastapi.testclient import TestClient

from app.monitoring import names

from tests.monitoring.conftest import Noted, attributes
from tests.monitoring.test_retrieval import TEXT, client

__all__ = ["client"]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_an_answer_is_noted_with_its_search(client: TestClient, noted: Noted, stream: bool) -> None:
    client.post("/v1/documents", json={"title": "Notes", "text": TEXT})
    body = {"question": "What is the canary?", "stream": stream}
    while not noted.named("chat offline"):
        assert client.post("/v1/answers", json=body).status_code == 200
    for name in ("retrieval documents", "chat offline"):
        span = noted.named(name)[-1]
        assert noted.parent(span) == "POST /v1/answers"
        assert attributes(span)[names.FEATURE] == "answer"
    assert "canary" not in noted.everything()
