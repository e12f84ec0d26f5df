import json
from io import StringIO

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from app.about import DISTRIBUTION
from app.main import create_app
from app.settings import SecuritySettings, Settings
from app.telemetry import configure_logs
from tests.conftest import KEY
from tests.monitoring.conftest import Noted, attributes, opening, trace_of

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
DURATION = "http.server.request.duration"


def test_prometheus_reads_the_metrics(client: TestClient) -> None:
    client.get("/openapi.json")
    answer = client.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain")
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    (count,) = (
        sample
        for sample in families["http_server_request_duration_seconds"].samples
        if sample.name.endswith("_count")
    )
    assert count.value == 1
    assert count.labels["http_response_status_code"] == "200"
    assert families["target_info"].samples[0].labels["service_name"] == DISTRIBUTION


def test_openmetrics_is_spoken_where_it_is_asked_for(client: TestClient) -> None:
    answer = client.get("/metrics", headers={"Accept": "application/openmetrics-text"})
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


def test_a_stranger_reads_no_metrics(client: TestClient) -> None:
    for header in ("", "Bearer of-nobody"):
        assert client.get("/metrics", headers={"Authorization": header}).status_code == 401


def test_only_scrapers_read_metrics_where_some_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONITORING__SCRAPERS", '["prometheus"]')
    keys = {"alice": KEY, "prometheus": "another-key-for-tests"}
    settings = Settings(security=SecuritySettings(api_keys=keys))
    with TestClient(create_app(settings)) as client:
        statuses = {
            principal: client.get("/metrics", headers={"Authorization": f"Bearer {key}"})
            for principal, key in keys.items()
        }
    assert {who: answer.status_code for who, answer in statuses.items()} == {
        "alice": 403,
        "prometheus": 200,
    }


def test_requests_are_measured_by_route_and_status(
    app: FastAPI, client: TestClient, noted: Noted
) -> None:
    @app.get("/orders/{number}")
    async def order(number: int) -> int:
        return 1 // number

    for number in (1, 2, 0):
        client.get(f"/orders/{number}")
    client.get("/orders/1", headers={"Authorization": ""})
    counted = {
        (p.attributes.get("http.route"), p.attributes["http.response.status_code"]): p.count
        for p in noted.points(DURATION)
    }
    # Whoever has no key is turned away before a route is chosen.
    assert counted == {
        ("/orders/{number}", 200): 2,
        ("/orders/{number}", 500): 1,
        (None, 401): 1,
    }
    (failed,) = (s for s in noted.named("GET /orders/{number}") if not s.status.is_ok)
    assert attributes(failed)["error.type"] == "500"


def test_a_request_goes_on_with_the_trace_of_its_caller(client: TestClient, noted: Noted) -> None:
    client.get("/openapi.json", headers={"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"})
    (span,) = noted.spans
    assert trace_of(span) == TRACE


def test_logs_of_a_request_have_its_trace(client: TestClient, noted: Noted) -> None:
    logs = StringIO()
    configure_logs("INFO", "json", logs)
    client.get("/openapi.json", headers={"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"})
    (line,) = map(json.loads, logs.getvalue().splitlines())
    assert line["trace_id"] == TRACE


def test_metrics_are_read_also_where_all_places_are_taken(noted: Noted) -> None:
    security = SecuritySettings(api_keys={"alice": KEY}, max_concurrent_requests=1)
    app = create_app(Settings(security=security), opening(noted))
    with TestClient(app, headers={"Authorization": f"Bearer {KEY}"}) as client:
        assert client.portal
        with client.portal.wrap_async_context_manager(app.state.resources.limits.slot()):
            assert client.get("/openapi.json").status_code == 429
            assert client.get("/metrics").status_code == 200


def test_what_people_write_into_a_url_is_not_noted(client: TestClient, noted: Noted) -> None:
    client.get("/openapi.json?q=canary")
    assert len(noted.spans) == 1
    assert "canary" not in noted.everything()


def test_it_is_noted_and_redacted_where_content_is_captured(
    monkeypatch: pytest.MonkeyPatch, noted: Noted
) -> None:
    monkeypatch.setenv("MONITORING__CAPTURE_CONTENT", "true")
    settings = Settings(security=SecuritySettings(api_keys={"alice": KEY}))
    app = create_app(settings, opening(noted))
    with TestClient(app, headers={"Authorization": f"Bearer {KEY}"}) as client:
        client.get("/openapi.json?card=4111111111111111&q=ada%40canary.example&empty=")
    (span,) = noted.spans
    assert attributes(span)["url.query"] == "card=[number]&q=[email]&empty="


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/metrics"])
def test_what_machines_ask_all_the_time_is_not_measured(
    client: TestClient, noted: Noted, path: str
) -> None:
    assert client.get(path).status_code == 200
    assert noted.spans == []
    assert noted.points(DURATION) == []
