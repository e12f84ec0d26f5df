"""Which database is meant, and that production names its own."""

from collections.abc import Callable

import pytest

from app.setting_names import SettingsError
from app.settings import load_settings

KEYS = '{"alice": "a-key-that-is-for-tests-only"}'


def test_production_without_a_database_of_its_own_does_not_start(
    monkeypatch: pytest.MonkeyPatch, refusal: Callable[[str, str], str]
) -> None:
    monkeypatch.delenv("DATABASE__URL")
    monkeypatch.setenv("SECURITY__API_KEYS", KEYS)
    assert "DATABASE__URL" in refusal("ENVIRONMENT", "production")


def test_an_address_of_another_database_is_refused_and_not_repeated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DATABASE__URL", "mysql://carol:hunter2@db/data")
    with pytest.raises(SettingsError, match="use postgresql://") as refused:
        load_settings()
    assert "hunter2" not in str(refused.value)


def test_an_address_is_hidden_in_what_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE__URL", "postgresql://carol:hunter2@db/data")
    settings = load_settings()
    assert "hunter2" not in f"{settings} {settings!r} {settings.model_dump_json()}"
