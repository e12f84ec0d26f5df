"""What every test may ask for: settings with a key, the service, and a client that has the key."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.main import create_app
from app.setting_names import SettingsError
from app.settings import SecuritySettings, Settings, load_settings

# What a part of the service needs around every test is in its `plugin.py`.
pytest_plugins = [
    f"tests.{path.parent.name}.plugin" for path in Path(__file__).parent.glob("*/plugin.py")
]

KEY = "a-key-that-is-for-tests-only"

MakeClient = Callable[[FastAPI], TestClient]


@pytest.fixture(autouse=True)
def no_ambient_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the settings of whoever runs the tests, and their `.env`, out of the tests."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("POE_PWD", raising=False)
    # Also what is only named alike, such as LOG_LEVEL: it is reported, or read by a library.
    alike = tuple(field.partition("_")[0] + "_" for field in Settings.model_fields)
    for name in list(os.environ):
        if name.lower() in Settings.model_fields or name.lower().startswith(alike):
            monkeypatch.delenv(name)


@pytest.fixture
def refusal(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], str]:
    """Sets a variable that is wrong, and returns what the settings say of it."""

    def refuse(name: str, value: str) -> str:
        monkeypatch.setenv(name, value)
        with pytest.raises(SettingsError) as refused:
            load_settings()
        return str(refused.value)

    return refuse


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def settings() -> Settings:
    return Settings(security=SecuritySettings(api_keys={"alice": KEY}))


@pytest.fixture
def app(settings: Settings) -> FastAPI:
    return create_app(settings)


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    """A running service, and a client that is Alice; where the code fails it sees a 500."""
    with TestClient(app, raise_server_exceptions=False) as client:
        client.headers["Authorization"] = f"Bearer {KEY}"
        yield client
