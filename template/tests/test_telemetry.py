import json
from io import StringIO
from typing import Any

import pytest
import structlog
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.telemetry import configure_logs


@pytest.fixture
def logs(client: TestClient) -> StringIO:
    """What the running service logs."""
    stream = StringIO()
    configure_logs("INFO", "json", stream)
    return stream


def logged(logs: StringIO, event: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in logs.getvalue().splitlines()]
    return [line for line in lines if line["event"] == event]


def test_each_request_is_one_json_line(client: TestClient, logs: StringIO) -> None:
    client.get("/openapi.json?secret=hunter2", headers={"X-Request-ID": "abc-1"})
    [line] = logged(logs, "request")
    assert line["method"] == "GET"
    assert line["path"] == "/openapi.json"
    assert line["status"] == 200
    assert line["request_id"] == "abc-1"
    assert line["principal"] == "alice"
    assert line["seconds"] >= 0
    assert "hunter2" not in json.dumps(line)


def test_a_request_id_is_kept_when_it_is_harmless_and_made_when_not(client: TestClient) -> None:
    assert (
        client.get("/health/live", headers={"X-Request-ID": "a.b-c_1"}).headers["X-Request-ID"]
        == "a.b-c_1"
    )
    made = [
        client.get("/health/live", headers={"X-Request-ID": given}).headers["X-Request-ID"]
        for given in ("", "x" * 65, 'a"b', "a b")
    ]
    assert all(len(request_id) == 32 for request_id in made)
    assert len(set(made)) == len(made)


def test_a_log_line_of_a_route_carries_the_request_id(
    app: FastAPI, client: TestClient, logs: StringIO
) -> None:
    @app.get("/logging")
    async def log_something() -> None:
        structlog.get_logger().info("something happened", count=3)

    answer = client.get("/logging")
    [line] = logged(logs, "something happened")
    assert line["request_id"] == answer.headers["X-Request-ID"]
    assert line["count"] == 3


def test_what_the_code_fails_at_is_logged_with_its_traceback(
    app: FastAPI, client: TestClient, logs: StringIO
) -> None:
    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("out of cheese")

    answer = client.get("/broken")
    [line] = logged(logs, "request failed")
    assert line["level"] == "error"
    assert line["request_id"] == answer.headers["X-Request-ID"]
    assert line["exception"][0]["exc_value"] == "out of cheese"


def test_no_local_variable_is_logged_with_a_traceback(
    app: FastAPI, client: TestClient, logs: StringIO
) -> None:
    @app.get("/broken")
    async def broken() -> None:
        password = "hunter2"
        raise RuntimeError(f"a password of {len(password)} characters")

    client.get("/broken")
    [line] = logged(logs, "request failed")
    assert "hunter2" not in json.dumps(line)
