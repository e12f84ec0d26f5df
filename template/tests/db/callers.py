"""Two who call the same service: Alice, and Bob, to whom nothing of hers may be shown."""

from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx2 import Response

from app.settings import SecuritySettings, Settings
from tests.conftest import KEY

BOBS_KEY = "another-key-that-is-for-tests-only"


@pytest.fixture
def settings(fresh_database: str) -> Settings:
    return Settings(security=SecuritySettings(api_keys={"alice": KEY, "bob": BOBS_KEY}))


@pytest.fixture
def bob(client: TestClient, app: FastAPI) -> TestClient:
    """Another principal's client of the same service."""
    return TestClient(app, headers={"Authorization": f"Bearer {BOBS_KEY}"})


def problem(answer: Response, status: int) -> dict[str, Any]:
    """Return what an answer says of a problem; it has to be one."""
    assert (answer.status_code, answer.headers["Content-Type"]) == (
        status,
        "application/problem+json",
    )
    described: dict[str, Any] = answer.json()
    return described
