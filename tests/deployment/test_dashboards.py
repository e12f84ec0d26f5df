"""Grafana is not there to import them, so what it needs of a dashboard is looked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from answers import FULL
from conftest import ROOT, Render

NAMES = sorted(path.stem for path in (ROOT / "template/deploy/monitoring").glob("*.toml"))


@pytest.fixture
def folder(render: Render) -> Path:
    return render(FULL) / "deploy/monitoring"


@pytest.mark.parametrize("name", NAMES)
def test_grafana_finds_what_it_needs(name: str, folder: Path) -> None:
    provisioned = yaml.safe_load((folder / "grafana/datasources/prometheus.yml").read_text())
    [source] = provisioned["datasources"]
    datasource = {"type": source["type"], "uid": source["uid"]}
    dashboard = json.loads((folder / f"dashboards/{name}.json").read_text())
    assert dashboard["uid"]
    assert dashboard["schemaVersion"] >= 39
    [variable] = dashboard["templating"]["list"]
    assert (variable["name"], variable["datasource"]) == ("job", datasource)
    panels = dashboard["panels"]
    assert [panel["id"] for panel in panels] == list(range(1, len(panels) + 1))
    for panel in panels:
        assert panel["title"]
        assert len(panel["description"].split("\n\n")) == 2
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["datasource"] == datasource
        assert panel["targets"]
        for target in panel["targets"]:
            assert target["datasource"] == datasource
            assert target["legendFormat"]
            assert '{job=~"$job"' in target["expr"]
    places = {(p["gridPos"]["x"], p["gridPos"]["y"]) for p in panels}
    assert len(places) == len(panels)


def test_no_two_dashboards_have_one_uid(folder: Path) -> None:
    found = [json.loads(path.read_text()) for path in (folder / "dashboards").glob("*.json")]
    assert len({dashboard["uid"] for dashboard in found}) == len(found) == len(NAMES)


def test_what_compose_mounts_is_there(folder: Path) -> None:
    compose = yaml.safe_load((folder.parents[1] / "compose.yaml").read_text())
    services = compose["services"].values()
    watching = [service for service in services if service.get("profiles") == ["monitoring"]]
    assert len(watching) == 3
    mounted = [m.split(":")[0] for service in watching for m in service["volumes"]]
    for path in (path for path in mounted if path.startswith("./")):
        assert (folder.parents[1] / path).exists(), path
    assert {path for path in mounted if "/" not in path} <= set(compose["volumes"])
    for service in watching:
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    key = folder / "scrape.key"
    assert (
        key.read_text().strip() in compose["services"]["app"]["environment"]["SECURITY__API_KEYS"]
    )


def test_prometheus_calls_the_service_as_the_rules_do(folder: Path) -> None:
    config = yaml.safe_load((folder / "prometheus.yml").read_text())
    [job] = config["scrape_configs"]
    rules = (folder / "rules/requests.json").read_text()
    assert json.dumps(f'up{{job="{job["job_name"]}"}}')[1:-1] in rules
