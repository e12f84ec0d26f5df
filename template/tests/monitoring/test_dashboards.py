"""What Grafana, Prometheus and people read is what `deploy/monitoring/*.toml` say."""

import json
import re
import runpy
import tomllib
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "deploy/monitoring"
SOURCES = {
    path.stem: tomllib.loads(path.read_text("utf-8")) for path in sorted(FOLDER.glob("*.toml"))
}
EACH = pytest.mark.parametrize("name", SOURCES)


def alerts(name: str) -> list[dict[str, Any]]:
    """Return the alerts as Prometheus reads them."""
    rules = json.loads((FOLDER / f"rules/{name}.json").read_text("utf-8"))
    return [rule for group in rules["groups"] for rule in group["rules"]]


def test_poe_dashboards_would_change_nothing() -> None:
    rendered = runpy.run_path(str(FOLDER / "render.py"))["rendered"]
    stale = [path.name for path, text in rendered().items() if path.read_text("utf-8") != text]
    assert stale == []


@EACH
def test_each_panel_and_each_alert_has_a_section(name: str) -> None:
    page = (FOLDER.parents[1] / f"docs/dashboard-{name}.md").read_text("utf-8")
    panels = [panel["title"] for panel in SOURCES[name]["panels"]]
    assert re.findall("^## (.+)$", page, re.M) == [*panels, *(a["alert"] for a in alerts(name))]


@EACH
def test_each_alert_links_to_its_section(name: str) -> None:
    for alert in alerts(name):
        link, _, section = alert["annotations"]["runbook_url"].partition("#")
        assert link.endswith(f"docs/dashboard-{name}.md")
        assert section == alert["alert"].lower()


@EACH
def test_each_alert_is_tested_to_fire_and_to_be_silent(name: str) -> None:
    for alert in SOURCES[name].get("alerts", []):
        assert {bool(test.get("fires")) for test in alert["tests"]} == {True, False}


def test_no_two_alerts_have_one_name() -> None:
    names = [alert["alert"] for name in SOURCES for alert in alerts(name)]
    assert len(names) == len(set(names))
