"""A running service that works its queues, and notes what it does."""

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from app.main import create_app
from app.settings import SecuritySettings, Settings
from tests.conftest import KEY
from tests.monitoring.conftest import Noted, opening


@pytest.fixture
def client(
    fresh_database: str, noted: Noted, monkeypatch: pytest.MonkeyPatch
) -> Iterator[TestClient]:
    """A client of it that is Alice."""
    monkeypatch.setenv("WORKER__IN_PROCESS", "true")
    monkeypatch.setenv("WORKER__POLL_SECONDS", "0.02")
    settings = Settings(security=SecuritySettings(api_keys={"alice": KEY}))
    headers = {"Authorization": f"Bearer {KEY}"}
    with TestClient(create_app(settings, opening(noted)), headers=headers) as client:
        yield client
