import json
from pathlib import Path

import pytest

from app.about import DISTRIBUTION, version
from app.doctor import doctor


def findings(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, object]]:
    report = json.loads(capsys.readouterr().out)
    return {finding["subject"]: finding for finding in report["findings"]}


def test_a_usable_service_is_reported_with_its_versions(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor(as_json=True) == 0
    found = findings(capsys)
    assert found["settings"]["detail"] == "complete for development"
    assert found["limits"]["ok"]
    assert found[DISTRIBUTION]["detail"] == version()
    assert "fastapi" in found


def test_an_unknown_setting_is_reported_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(".env").write_text("SERVER__PROT=9000\n")
    monkeypatch.setenv("SERVER__PROT", "9000")
    assert doctor() == 1
    assert capsys.readouterr().out.count("SERVER__PROT: unknown setting") == 1


def test_a_misspelt_setting_of_the_environment_is_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ENVIROMENT", "production")
    assert doctor() == 1
    assert "did you mean ENVIRONMENT?" in capsys.readouterr().out


def test_a_missing_setting_is_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ENVIRONMENT", "production")
    assert doctor(as_json=True) == 1
    assert "SECURITY__API_KEYS" in str(findings(capsys)["settings"]["detail"])


def test_an_unusable_resource_is_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SECURITY__RATE_LIMIT_STORAGE", "redis://localhost:1")
    assert doctor() == 1
    assert "BAD  resources" in capsys.readouterr().out
