"""A real Prometheus reads a service for every panel, and a real Alertmanager passes an alert on.

Both are Debian's, and are set up as the project says, but for addresses and short intervals.
"""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any

import httpx2
import pytest
import yaml

from acceptance.databases import data_folder, migrated
from acceptance.services import KEY, running, service_with, wait
from answers import Answers, label
from conftest import Install, Render
from deployment.conftest import free_port, tool
from projects import environment, run

pytestmark = pytest.mark.system

SCRAPE_KEY = "a-key-for-prometheus-alone"
SERVICES = [service_with("openai", rag=True, agent=True), service_with(None)]


@pytest.fixture
def configured(answers: Answers, render: Render, tmp_path: Path) -> Path:
    """Return a copy of `deploy/monitoring` as it comes with containers, to be changed."""
    shipped = render({**answers, "docker": True}) / "deploy/monitoring"
    return shutil.copytree(shipped, tmp_path / "monitoring")


@contextmanager
def answered_before(project: Path) -> Iterator[dict[str, str]]:
    """Yield the settings of a service that has answered for some weeks, and has a budget."""
    with data_folder() as data, migrated(project, data) as database:
        database.rows(_ANSWERED)
        yield {"DATABASE__URL": database.url, "MONITORING__DAILY_BUDGET_USD": "5"}


_ANSWERED = """
    INSERT INTO monitoring.responses (
        id, feature, model, prompt, prompt_version, created_at, input_chars, output_chars, refused,
        scores, rating, topic)
    SELECT
        'response-' || n, 'chat', 'offline', 'chat', '1', now() - n * interval '1 hour',
        n % 97, n % 89, n % 10 = 0, '{}', CASE WHEN n % 2 = 0 THEN 'up' END,
        ARRAY[sin(n), cos(n), sin(2 * n), cos(3 * n)]
    FROM generate_series(1, 600) AS n
    RETURNING id"""


@contextmanager
def webhook() -> Iterator[tuple[str, Queue[dict[str, Any]]]]:
    """Take what Alertmanager sends."""
    received: Queue[dict[str, Any]] = Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", received
        server.shutdown()


@contextmanager
def started(name: str, folder: Path, *options: str) -> Iterator[httpx2.Client]:
    """Run a server that answers `/-/ready`; yield a client of it."""
    port = free_port()
    command = [tool(name), f"--web.listen-address=127.0.0.1:{port}", *options]
    log_path = folder / f"{name}.log"
    with log_path.open("wb") as log:
        server = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}") as client:

            def is_ready() -> bool:
                assert server.poll() is None, log_path.read_text()
                try:
                    return client.get("/-/ready").status_code == 200
                except httpx2.TransportError:
                    return False

            wait(is_ready, 30)
            yield client
    finally:
        server.terminate()
        server.wait(timeout=30)


def alertmanager_options(folder: Path, url: str) -> list[str]:
    """Have alerts sent to `url`, soon."""
    file = folder / "alertmanager.yml"
    config = yaml.safe_load(file.read_text())
    config["route"] |= {"group_wait": "1s", "group_interval": "1s"}
    config["receivers"][0]["webhook_configs"] = [{"url": url}]
    file.write_text(yaml.safe_dump(config))
    run(tool("amtool"), "check-config", file, cwd=folder)
    storage = f"--storage.path={folder / 'stored'}"
    return [f"--config.file={file}", storage, "--cluster.listen-address="]


def prometheus_options(folder: Path, service: str, alertmanager: httpx2.Client) -> list[str]:
    """Have the service read each second, and have it down for a second before that is said."""
    file, key = folder / "prometheus.yml", folder / "key"
    key.write_text(f"{SCRAPE_KEY}\n")
    config = yaml.safe_load(file.read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    [managers] = config["alerting"]["alertmanagers"]
    managers["static_configs"] = [{"targets": [address_of(str(alertmanager.base_url))]}]
    [job] = config["scrape_configs"]
    job["authorization"]["credentials_file"] = str(key)
    job["static_configs"] = [{"targets": [address_of(service)]}]
    file.write_text(yaml.safe_dump(config))
    rules = folder / "rules/requests.json"
    text = rules.read_text()
    assert text.count('"for": "2m"') == 1
    rules.write_text(text.replace('"for": "2m"', '"for": "1s"'))
    run(tool("promtool"), "check", "config", file, cwd=folder)
    return [f"--config.file={file}", f"--storage.tsdb.path={folder / 'series'}"]


def address_of(url: str) -> str:
    return url.removeprefix("http://").rstrip("/")


def queries(folder: Path) -> dict[str, str]:
    """Return each query of each panel by where it stands, as Grafana would ask it."""
    return {
        f"{file.stem}: {panel['title']}: {target['legendFormat']}": target["expr"]
        .replace("$__rate_interval", "30s")
        .replace("$job", "ai-service")
        for file in sorted((folder / "dashboards").glob("*.json"))
        for panel in json.loads(file.read_text())["panels"]
        for target in panel["targets"]
    }


def has_data(prometheus: httpx2.Client, query: str) -> bool:
    answer = prometheus.get("/api/v1/query", params={"query": query}).json()
    assert answer["status"] == "success", answer
    return any(not math.isnan(float(sample["value"][1])) for sample in answer["data"]["result"])


@pytest.mark.parametrize("answers", SERVICES, ids=label)
def test_the_rules_are_valid_and_do_what_their_tests_say(configured: Path) -> None:
    rules, tests = (sorted((configured / name).glob("*.json")) for name in ("rules", "tests"))
    assert [file.name for file in rules] == [file.name for file in tests]
    run(tool("promtool"), "check", "rules", *rules, cwd=configured)
    run(tool("promtool"), "test", "rules", *tests, cwd=configured)


@pytest.mark.parametrize("answers", SERVICES, ids=label)
def test_every_panel_shows_something_and_an_alert_arrives(
    answers: Answers, install: Install, configured: Path, tmp_path: Path
) -> None:
    project = install(answers)
    settings = {
        "SECURITY__API_KEYS": json.dumps({"alice": KEY, "prometheus": SCRAPE_KEY}),
        "MONITORING__SCRAPERS": '["prometheus"]',
    }
    before: AbstractContextManager[dict[str, str]] = nullcontext({})
    if answers["llm"]:
        before = answered_before(project)
    with (
        before as more,
        webhook() as (url, received),
        started(
            "prometheus-alertmanager", tmp_path, *alertmanager_options(configured, url)
        ) as alertmanager,
        running(project, tmp_path / "service.log", **settings, **more) as service,
        started(
            "prometheus", tmp_path, *prometheus_options(configured, service.address, alertmanager)
        ) as prometheus,
    ):
        if answers["llm"]:
            # Drift of the weeks before is looked for behind all else, and takes some seconds.
            wait(lambda: has_data(prometheus, "app_drift_score"), 60)
        traffic = ("traffic", "--url", service.address, "--seconds", "15")
        run("uv", "run", "poe", *traffic, cwd=project, env=environment(TRAFFIC_KEY=KEY))
        for where, query in queries(configured).items():
            assert has_data(prometheus, query), f"{where} shows nothing: {query}"
        assert received.empty(), received.get()
        service.process.terminate()
        first = received.get(timeout=60)
    [alert] = first["alerts"]
    assert (alert["status"], alert["labels"]["alertname"]) == ("firing", "ServiceDown")
    assert alert["labels"]["severity"] == "critical"
    assert alert["annotations"]["runbook_url"] == "docs/dashboard-requests.md#servicedown"


def test_traffic_says_when_nobody_answers(install: Install) -> None:
    project = install(service_with(None))
    url = f"http://127.0.0.1:{free_port()}"
    command = ["uv", "run", "poe", "traffic", "--url", url]
    ran = subprocess.run(command, cwd=project, env=environment(), capture_output=True, text=True)
    assert ran.returncode == 1
    assert f"{url} does not answer" in ran.stderr
