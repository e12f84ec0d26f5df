import json
import threading
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.monitoring.providers import open_monitoring
from app.monitoring.settings import MonitoringSettings

from app.about import DISTRIBUTION, version
from app.checks import Degraded
from app.main import create_app
from app.setting_names import unknown_settings
from app.settings import Settings
from app.telemetry import configure_logs
from tests.conftest import KEY
from tests.monitoring.collector import Collector, running_collector

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
SETTINGS = MonitoringSettings()


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with running_collector() as collector:
        monkeypatch.setenv(ENDPOINT, collector.address)
        yield collector


def resource_of(collector: Collector) -> dict[str, str]:
    (traces,) = collector.traces
    return {each.key: each.value.string_value for each in traces.resource.attributes}


async def exporting() -> str:
    """Open and close; return what it says of itself."""
    async with open_monitoring(SETTINGS) as monitoring:
        monitoring.tracers.get_tracer("test").start_span("something").end()
        monitoring.meters.get_meter("test").create_counter("something").add(1)
        return await monitoring.check()


@pytest.mark.anyio
async def test_nothing_is_sent_and_no_thread_runs_unless_there_is_an_address() -> None:
    threads = set(threading.enumerate())
    async with open_monitoring(SETTINGS) as monitoring:
        assert {t.name for t in set(threading.enumerate()) - threads} == set()
        assert await monitoring.check(thorough=True) == "/metrics"


@pytest.mark.anyio
async def test_spans_and_metrics_are_sent_to_the_standard_address(collector: Collector) -> None:
    assert await exporting() == "/metrics, traces by OTLP, metrics by OTLP"
    assert collector.paths == {"/v1/traces", "/v1/metrics"}
    assert collector.spans == ["something"]
    about = resource_of(collector)
    assert about["service.name"] == DISTRIBUTION
    assert about["service.version"] == version()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("variables", "paths"),
    [
        ({"OTEL_METRICS_EXPORTER": "none"}, {"/v1/traces"}),
        ({"OTEL_TRACES_EXPORTER": "none"}, {"/v1/metrics"}),
        ({"OTEL_SDK_DISABLED": "true"}, set()),
    ],
    ids=["no metrics", "no traces", "nothing"],
)
async def test_the_standard_variables_switch_off(
    collector: Collector,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    paths: set[str],
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    await exporting()
    sent = {path for path, body in collector.bodies if body}
    assert sent == paths


@pytest.mark.anyio
async def test_an_address_for_one_signal_sends_that_alone(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(ENDPOINT)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{collector.address}/own/traces")
    await exporting()
    assert collector.paths == {"/own/traces"}


@pytest.mark.anyio
async def test_the_variables_may_stand_in_the_env_file(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(ENDPOINT)
    # What opening sets is taken back with these.
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "")
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_HEADERS")
    lines = [f"{ENDPOINT}={collector.address}", "OTEL_EXPORTER_OTLP_HEADERS=x-key=k1"]
    (tmp_path / ".env").write_text("\n".join([*lines, "OTEL_SERVICE_NAME=other"]))
    await exporting()
    assert unknown_settings(Settings) == []
    assert resource_of(collector)["service.name"] == "shop"
    assert {headers["x-key"] for headers in collector.headers} == {"k1"}


def test_a_service_whose_collector_is_away_answers_stops_and_says_so(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.1")
    app, logs = create_app(settings), StringIO()
    with TestClient(app, headers={"Authorization": f"Bearer {KEY}"}) as client:
        configure_logs("INFO", "json", logs)
        assert client.get("/openapi.json").status_code == 200
        assert client.get("/health/ready").json() == {"status": "ready"}
        assert app.state.resources.monitoring.tracers.force_flush()
        told = client.get("/health/ready")
        assert told.status_code == 200
        assert told.json()["degraded"].startswith("monitoring: Nobody takes the traces")
    lines: list[dict[str, Any]] = [json.loads(line) for line in logs.getvalue().splitlines()]
    loud = [line["event"] for line in lines if line["level"] == "error"]
    assert any(event.startswith("Failed to export spans batch") for event in loud)


@pytest.mark.anyio
async def test_a_thorough_check_finds_out_that_nobody_takes_the_traces(
    collector: Collector,
) -> None:
    async with open_monitoring(SETTINGS) as monitoring:
        assert "traces by OTLP" in await monitoring.check(thorough=True)
        collector.status = 401
        assert "traces by OTLP" in await monitoring.check()
        with pytest.raises(Degraded, match=ENDPOINT):
            await monitoring.check(thorough=True)
        # It stays known, until somebody takes them again.
        with pytest.raises(Degraded, match="Nobody takes the traces"):
            await monitoring.check()
        collector.status = 200
        assert "traces by OTLP" in await monitoring.check(thorough=True)
        assert "traces by OTLP" in await monitoring.check()
