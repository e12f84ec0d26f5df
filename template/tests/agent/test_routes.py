"""Runs over HTTP: begun, watched, decided on and cancelled, by their principal alone."""

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx2 import Response

from app.agent.settings import AgentSettings
from app.agent.store import Run
from app.agent.tools import calculator, notify

from app.main import create_app
from app.settings import SecuritySettings, Settings
from tests.agent.conftest import open_office, waiting
from tests.conftest import KEY
from tests.db.callers import BOBS_KEY, bob, problem, settings

__all__ = ["bob", "settings"]
CAROLS_KEY = "a-third-key-that-is-for-tests-only"
SECRET = "OAK-7731"


@pytest.fixture
def asking(fresh_database: str) -> Run:
    """A run of Alice's that waits for an approval."""

    async def work() -> Run:
        async with open_office(fresh_database) as office:
            tools = [calculator.TOOL, notify.tool(AgentSettings())]
            return await office.given(tools=tools).do(f"Notify people of {SECRET}")

    return asyncio.run(work())


@contextmanager
def serving(**agent: Any) -> Iterator[TestClient]:
    """Serve with these settings of the agent."""
    settings = Settings(
        security=SecuritySettings(
            api_keys={"alice": KEY, "bob": BOBS_KEY, "carol": CAROLS_KEY},
        ),
        agent=AgentSettings(**agent),
    )
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        client.headers["Authorization"] = f"Bearer {KEY}"
        yield client


def begin(client: TestClient, key: str | None = None, **body: Any) -> Response:
    headers = {"Idempotency-Key": key} if key is not None else {}
    return client.post("/v1/runs", json={"input": "What is 1 + 1?", **body}, headers=headers)


def reaches(client: TestClient, run_id: str, *statuses: str) -> dict[str, Any]:
    """Ask until the run has one of the statuses."""
    deadline = time.monotonic() + 20
    while True:
        run: dict[str, Any] = client.get(f"/v1/runs/{run_id}").json()
        if run["status"] in statuses:
            return run
        assert time.monotonic() < deadline, run


def events(answer: Response) -> list[dict[str, Any]]:
    """Read a stream of events; each must be as the standard has it."""
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert answer.headers["Cache-Control"] == "no-store"
    found = []
    for block in answer.text.removesuffix("\n\n").split("\n\n"):
        if block.startswith(":"):
            continue
        id, kind, data = block.split("\n")
        assert (id[:4], kind[:7], data[:6]) == ("id: ", "event: ", "data: ")
        found.append({"id": int(id[4:]), "kind": kind[7:], "data": json.loads(data[6:])})
    return found


def test_a_run_is_begun_and_can_be_read(client: TestClient) -> None:
    answer = begin(client, conversation_id="c")
    assert answer.status_code == 202
    run = answer.json()
    assert run.keys() == {
        *("id", "agent", "status", "input", "conversation_id", "output", "error"),
        *("approvals", "usage", "created_at", "started_at", "ended_at"),
    }
    assert (run["status"], run["agent"], run["conversation_id"]) == ("queued", "assistant", "c")
    assert client.get(f"/v1/runs/{run['id']}").json() == run
    assert client.get("/v1/runs").json() == {"runs": [run]}


def test_the_same_key_gives_the_same_run(client: TestClient) -> None:
    first = begin(client, "a-key").json()
    again = begin(client, "a-key")
    assert (again.status_code, again.json()) == (202, first)
    described = problem(begin(client, "a-key", input="Another."), 422)
    assert "Idempotency-Key" in described["detail"]
    assert client.get("/v1/runs").json() == {"runs": [first]}


KEYS = ["", "a key", "x" * 201, "ü"]
BODIES: list[tuple[dict[str, Any], str]] = [
    ({"input": ""}, "input"),
    ({"input": " \n"}, "input"),
    ({"input": None}, "input"),
    ({"input": "a\0b"}, "input"),
    ({"input": "x" * 20_001}, "input"),
    ({"agent": "another"}, "agent"),
    ({"conversation_id": " "}, "conversation_id"),
    ({"conversation_id": "x" * 501}, "conversation_id"),
    ({"principal": "bob"}, "principal"),
]
NO_BODIES = [b"", b"no json", b"[]", b'"a"', b"null", b'{"input": "\\ud800"}']
PATHS = [
    ("/v1/runs?limit=0", "limit"),
    ("/v1/runs?limit=201", "limit"),
    ("/v1/runs?after=a", "after"),
    ("/v1/runs/a", "run_id"),
    ("/v1/runs/a/events", "run_id"),
]
LAST_IDS = ["", "a", "-1", "1.5", "99999999999"]


def test_what_is_wrong_with_a_request_is_a_problem_that_names_it(client: TestClient) -> None:
    for key in KEYS:
        headers = {b"Idempotency-Key": key.encode("latin-1")}
        answer = client.post("/v1/runs", json={"input": "a"}, headers=headers)
        assert problem(answer, 422)["errors"][0]["field"] == "idempotency-key"
    for body, field in BODIES:
        assert problem(begin(client, **body), 422)["errors"][0]["field"] == field
    for content in NO_BODIES:
        problem(client.post("/v1/runs", content=content), 422)
    for path, field in PATHS:
        assert problem(client.get(path), 422)["errors"][0]["field"] == field
    assert client.get("/v1/runs").json() == {"runs": []}


def test_a_last_event_id_that_is_none_is_a_problem(client: TestClient) -> None:
    path = f"/v1/runs/{begin(client).json()['id']}/events"
    for last in LAST_IDS:
        answer = client.get(path, headers={"Last-Event-ID": last})
        assert problem(answer, 422)["errors"][0]["field"] == "Last-Event-ID"


def test_runs_are_listed_page_by_page(client: TestClient) -> None:
    ids = [begin(client, input=f"Number {number}.").json()["id"] for number in range(3)]
    first = client.get("/v1/runs", params={"limit": 2}).json()["runs"]
    after = {"limit": 2, "after": first[-1]["id"]}
    second = client.get("/v1/runs", params=after).json()["runs"]
    assert [run["id"] for run in (*first, *second)] == ids[::-1]
    problem(client.get("/v1/runs", params={"after": str(uuid4())}), 404)


def test_a_run_is_cancelled_and_its_events_end(client: TestClient) -> None:
    run = begin(client).json()
    cancelled = client.post(f"/v1/runs/{run['id']}/cancel")
    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
    assert client.post(f"/v1/runs/{run['id']}/cancel").json() == cancelled.json()
    found = events(client.get(f"/v1/runs/{run['id']}/events"))
    assert found == [{"id": 1, "kind": "run.cancelled", "data": {}}]


def test_a_conversation_with_an_open_run_is_a_409(client: TestClient) -> None:
    begin(client, conversation_id="c")
    assert problem(begin(client, conversation_id="c"), 409)["code"] == "conflict"


def test_too_many_runs_are_a_429_and_none_at_all_a_503(fresh_database: str) -> None:
    with serving(max_open_runs=1) as client:
        begin(client)
        answer = begin(client)
        assert problem(answer, 429)["detail"].startswith("1 of your runs")
        assert answer.headers["Retry-After"] == "5"
    with serving(enabled=False) as client:
        assert "switched off" in problem(begin(client), 503)["detail"]


def test_a_decision_has_to_fit(client: TestClient, asking: Run) -> None:
    (asked,) = waiting(asking)
    path = f"/v1/runs/{asking.id}/approvals/{asked.id}"
    wrong = {"approved": True, "digest": "another"}
    assert problem(client.post(path, json=wrong), 409)["code"] == "conflict"
    for body in ({}, {"approved": True}, {"approved": "perhaps", "digest": "a"}, {**wrong, "a": 1}):
        problem(client.post(path, json=body), 422)
    problem(client.post(f"/v1/runs/{asking.id}/approvals/{uuid4()}", json=wrong), 404)
    right = {"approved": False, "digest": asked.digest}
    decided = client.post(path, json=right)
    assert (decided.status_code, decided.json()["status"]) == (200, "queued")
    problem(client.post(path, json=right), 409)


def test_a_service_that_works_does_a_run_from_its_begin_to_its_end(
    fresh_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKER__IN_PROCESS", "true")
    monkeypatch.setenv("WORKER__POLL_SECONDS", "0.05")
    with serving(approvers=["carol"]) as client:
        run = begin(client, input="What is 2 * 3? Notify people").json()
        path = f"/v1/runs/{run['id']}"
        (asked,) = reaches(client, run["id"], "waiting_for_approval")["approvals"]
        assert (asked["tool"], asked["arguments"]) == ("notify", {"message": "Notify people"})
        decision = {"approved": True, "digest": asked["digest"]}
        decide = f"{path}/approvals/{asked['id']}"
        problem(client.post(decide, json=decision), 403)
        carol = {"Authorization": f"Bearer {CAROLS_KEY}"}
        assert client.get(path, headers=carol).json()["status"] == "waiting_for_approval"
        assert client.get("/v1/runs", headers=carol).json()["runs"] == []
        found = client.get("/v1/runs?waiting=true", headers=carol).json()["runs"]
        assert [each["id"] for each in found] == [run["id"]]
        assert client.post(decide, json=decision, headers=carol).status_code == 200

        # It goes on while it is watched, and the stream ends with it.
        found = events(client.get(f"{path}/events"))
        assert [event["id"] for event in found] == list(range(1, len(found) + 1))
        kinds = [event["kind"] for event in found]
        assert kinds[0] == "run.started"
        assert kinds[-1] == "run.completed"
        assert kinds.count("approval.requested") == 1
        assert kinds.count("tool.result") == 2
        assert found[-1]["data"]["output"] == client.get(path).json()["output"]

        for last in range(len(found) + 1):
            answer = client.get(f"{path}/events", headers={"Last-Event-ID": str(last)})
            assert events(answer) == found[last:]
        assert events(client.get(f"{path}/events", headers=carol)) == found


def test_a_stream_that_has_to_end_before_its_run_ends_clean_and_can_be_read_on(
    client: TestClient, app: FastAPI, asking: Run
) -> None:
    path = f"/v1/runs/{asking.id}/events"
    app.state.stopping = True
    found = events(client.get(path))
    assert [event["kind"] for event in found][-1] == "approval.requested"
    assert events(client.get(path, headers={"Last-Event-ID": "1"})) == found[1:]
    app.state.stopping = False
    app.state.resources.runs.stream_seconds = 0.1
    assert events(client.get(path)) == found


def operations(app: FastAPI) -> list[tuple[str, str]]:
    """Return every route of runs, method and path; what ends a run comes last."""
    paths = app.openapi()["paths"].items()
    found = [(m.upper(), path) for path, described in paths for m in described]
    own = [each for each in found if each[1].startswith("/v1/runs")]
    assert len(own) == 6
    return sorted(own, key=lambda each: "cancel" in each[1])


def ask_everything(client: TestClient, app: FastAPI, run: Run) -> Iterator[Response]:
    (asked,) = waiting(run)
    for method, path in operations(app):
        url = path.replace("{run_id}", str(run.id)).replace("{approval_id}", str(asked.id))
        if "approvals" in path:
            yield client.post(url, json={"approved": False, "digest": asked.digest})
        elif (method, path) == ("POST", "/v1/runs"):
            yield client.post(url, json={"input": "a", "conversation_id": "c"})
        elif not path.endswith("events") or client.get(f"/v1/runs/{run.id}").status_code == 404:
            yield client.request(method, url, params={"after": str(run.id)})


def test_what_is_anothers_is_not_found_by_any_route(
    app: FastAPI, client: TestClient, bob: TestClient, asking: Run
) -> None:
    before = client.get(f"/v1/runs/{asking.id}").json()
    answers = list(ask_everything(bob, app, asking))
    of_the_run = [answer for answer in answers if str(asking.id) in str(answer.url)]
    assert len(of_the_run) == 5
    for answer in of_the_run:
        problem(answer, 404)
    assert [answer for answer in answers if SECRET in answer.text] == []
    assert bob.get("/v1/runs").json()["runs"][0]["input"] == "a"
    assert client.get(f"/v1/runs/{asking.id}").json() == before


def test_the_same_requests_show_their_owner_what_they_must_not_show_others(
    app: FastAPI, client: TestClient, asking: Run
) -> None:
    """So the test above would see a leak."""
    shown = [answer for answer in ask_everything(client, app, asking) if SECRET in answer.text]
    assert len(shown) >= 3


def test_every_route_needs_a_key(app: FastAPI, client: TestClient) -> None:
    del client.headers["Authorization"]
    for method, path in operations(app):
        problem(client.request(method, path), 401)


def test_without_any_keys_only_this_machine_is_served(shared_database: str) -> None:
    with TestClient(create_app(Settings()), client=("192.0.2.1", 1)) as client:
        problem(client.get("/v1/runs"), 403)


def test_the_description_names_what_a_route_may_answer(app: FastAPI) -> None:
    paths = app.openapi()["paths"]
    assert {"202", "409", "422", "429", "503"} <= paths["/v1/runs"]["post"]["responses"].keys()
    stream = paths["/v1/runs/{run_id}/events"]["get"]["responses"]
    assert {"200", "404"} <= stream.keys()
    assert list(stream["200"]["content"]) == ["text/event-stream"]
