"""The traffic to try dashboards with: what it asks, and what it says of the answers."""

import json
import runpy
from pathlib import Path

import httpx2

TRAFFIC = runpy.run_path(str(Path(__file__).parents[2] / "deploy/monitoring/traffic.py"))
Ask, Traffic = TRAFFIC["Ask"], TRAFFIC["Traffic"]


def test_a_round_fills_in_its_number_and_the_last_id_and_sends_the_key() -> None:
    received: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        received.append(request)
        return httpx2.Response(200, json={"id": "one"})

    asks = [Ask(path="/", with_key=False), Ask(path="/things", body={"of": "$id", "in": "$round"})]
    with httpx2.Client(base_url="http://service", transport=httpx2.MockTransport(answer)) as client:
        Traffic(client, "a-key", asks).round(7)
    assert [(request.method, request.url.path) for request in received] == [
        ("GET", "/"),
        ("POST", "/things"),
    ]
    assert [request.headers.get("Authorization") for request in received] == [None, "Bearer a-key"]
    assert json.loads(received[1].content) == {"of": "one", "in": "7"}


def test_what_is_answered_otherwise_than_expected_is_counted_apart() -> None:
    refuse = httpx2.MockTransport(lambda request: httpx2.Response(404))
    with httpx2.Client(base_url="http://service", transport=refuse) as client:
        traffic = Traffic(client, None, [Ask(path="/gone", status=404), Ask(path="/", body={})])
        traffic.round(1)
    assert traffic.answers == {("GET /gone", 404): 1, ("POST /", 404): 1}
    assert traffic.unexpected == {("POST /", 404): 1}


def test_there_is_something_to_ask() -> None:
    assert {ask.path for ask in TRAFFIC["asks"]()} >= {"/nothing-here"}
