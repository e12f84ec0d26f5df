"""`poe dashboards`: write what Grafana and Prometheus read, and a page for people.

`requests.toml`, say, has all there is to say of one dashboard: its panels and alerts, what each
means, what to do, and how the alerts are tested. What is written from it is never edited by hand.
Prometheus reads the rules and their tests as YAML, which all JSON is.
"""

import argparse
import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

# Where people read this repository, such as https://example.com/team/service/blob/main/
REPOSITORY: Final = ""
# What Prometheus calls the service. Stands for `$job` in alerts; in panels, Grafana has a menu.
JOB: Final = "ai-service"

FOLDER: Final = Path(__file__).parent
PROJECT: Final = FOLDER.parents[1]
_PROMETHEUS: Final = {"type": "prometheus", "uid": "prometheus"}
_WIDTH, _HEIGHT, _COLUMNS = 12, 8, 2


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Panel(_Strict):
    title: str
    # As Grafana calls it: reqps, s, percentunit, short, …
    unit: str
    about: str
    # What to do when it moves.
    moves: str
    # Legend -> PromQL.
    queries: dict[str, str] = Field(min_length=1)
    type: Literal["timeseries", "stat"] = "timeseries"


class AlertTest(_Strict):
    """Series as promtool writes them, and the labels of what fires at that time."""

    at: str
    series: dict[str, str]
    fires: list[dict[str, str]] = []


class Alert(_Strict):
    name: str
    severity: Literal["critical", "warning"]
    summary: str
    expr: str
    lasts: str
    # What to do.
    runbook: str
    tests: list[AlertTest] = Field(min_length=2)


class Dashboard(_Strict):
    title: str
    about: str
    panels: list[Panel] = Field(min_length=1)
    alerts: list[Alert] = []


def main(arguments: Sequence[str] | None = None) -> None:
    """Write all files, or say which are not as they would be written."""
    parser = argparse.ArgumentParser(prog="poe dashboards")
    parser.add_argument("--check", action="store_true", help="write nothing; fail where it would")
    options = parser.parse_args(arguments)
    try:
        files = rendered()
    except (ValidationError, tomllib.TOMLDecodeError) as error:
        parser.exit(1, f"{error}\n")
    changed = [p for p, text in files.items() if not p.exists() or p.read_text("utf-8") != text]
    for path in changed:
        print(path.relative_to(PROJECT).as_posix())
        if not options.check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(files[path], "utf-8")
    if changed and options.check:
        parser.exit(1, "These are not what the TOML says: run poe dashboards.\n")


def rendered() -> dict[Path, str]:
    """Return each file that is written, and its text."""
    files: dict[Path, str] = {}
    for source in sorted(FOLDER.glob("*.toml")):
        name = source.stem
        dashboard = Dashboard.model_validate(tomllib.loads(source.read_text("utf-8")))
        files[FOLDER / f"dashboards/{name}.json"] = _json(grafana(name, dashboard))
        files[FOLDER / f"rules/{name}.json"] = _json(rules(name, dashboard))
        files[FOLDER / f"tests/{name}.json"] = _json(rule_tests(name, dashboard))
        files[PROJECT / f"docs/dashboard-{name}.md"] = page(name, dashboard)
    return files


def _json(content: Any) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def grafana(name: str, dashboard: Dashboard) -> dict[str, Any]:
    """Return a dashboard as Grafana imports it."""
    return {
        "uid": f"{JOB}-{name}",
        "title": dashboard.title,
        "description": dashboard.about,
        "tags": [JOB],
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "links": [{"type": "dashboards", "title": "", "tags": [JOB], "keepTime": True}],
        "templating": {
            "list": [
                {
                    "name": "job",
                    "label": "Service",
                    "type": "query",
                    "datasource": _PROMETHEUS,
                    "query": "label_values(up, job)",
                    "refresh": 2,
                    "current": {"text": JOB, "value": JOB},
                }
            ]
        },
        "panels": [_panel(number, panel) for number, panel in enumerate(dashboard.panels)],
    }


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    row, column = divmod(number, _COLUMNS)
    return {
        "id": number + 1,
        "type": panel.type,
        "title": panel.title,
        "description": f"{panel.about}\n\n{panel.moves}",
        "datasource": _PROMETHEUS,
        "gridPos": {"x": column * _WIDTH, "y": row * _HEIGHT, "w": _WIDTH, "h": _HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": _PROMETHEUS,
                "expr": expr.strip(),
                "legendFormat": legend,
            }
            for index, (legend, expr) in enumerate(panel.queries.items())
        ],
    }


def rules(name: str, dashboard: Dashboard) -> dict[str, Any]:
    """Return the alerts as Prometheus reads them."""
    alerts = [
        {
            "alert": alert.name,
            "expr": _filled(alert.expr.strip()),
            "for": alert.lasts,
            "labels": {"severity": alert.severity},
            "annotations": _annotations(name, alert),
        }
        for alert in dashboard.alerts
    ]
    return {"groups": [{"name": name, "rules": alerts}]}


def rule_tests(name: str, dashboard: Dashboard) -> dict[str, Any]:
    """Return the tests of the alerts as promtool reads them."""
    return {
        "rule_files": [f"../rules/{name}.json"],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [
                    {"series": _filled(series), "values": values}
                    for series, values in test.series.items()
                ],
                "alert_rule_test": [
                    {
                        "eval_time": test.at,
                        "alertname": alert.name,
                        "exp_alerts": [
                            {
                                "exp_labels": {"severity": alert.severity, **_all_filled(labels)},
                                "exp_annotations": _annotations(name, alert),
                            }
                            for labels in test.fires
                        ],
                    }
                ],
            }
            for alert in dashboard.alerts
            for test in alert.tests
        ],
    }


def _annotations(name: str, alert: Alert) -> dict[str, str]:
    runbook = f"{REPOSITORY}docs/dashboard-{name}.md#{alert.name.lower()}"
    return {"summary": alert.summary, "runbook_url": runbook}


def _filled(text: str) -> str:
    return text.replace("$job", JOB)


def _all_filled(labels: dict[str, str]) -> dict[str, str]:
    return {label: _filled(value) for label, value in labels.items()}


def page(name: str, dashboard: Dashboard) -> str:
    """Return what people read of each panel and alert."""
    source = f"deploy/monitoring/{name}.toml"
    parts = [
        f"# Dashboard: {dashboard.title}",
        dashboard.about,
        f"`uv run poe dashboards` wrote this page from `{source}`: change it there.",
    ]
    for panel in dashboard.panels:
        parts += [f"## {panel.title}", panel.about, panel.moves]
        parts += [f"```text\n{expr.strip()}\n```" for expr in panel.queries.values()]
    for alert in dashboard.alerts:
        parts += [
            f"## {alert.name}",
            f"An alert, {alert.severity}, once it lasts {alert.lasts}: {alert.summary}",
            alert.runbook,
            f"```text\n{_filled(alert.expr.strip())}\n```",
        ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


if __name__ == "__main__":
    main()
