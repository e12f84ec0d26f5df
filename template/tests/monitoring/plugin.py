"""For every test: nothing of whoever runs it says where spans and metrics are to go."""

import os

import pytest


@pytest.fixture(autouse=True)
def no_exporters(no_ambient_settings: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenTelemetry finds none of its variables."""
    for name in list(os.environ):
        if name.startswith("OTEL_"):
            monkeypatch.delenv(name)
