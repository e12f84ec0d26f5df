"""Monitors whose notes a test reads."""

from collections.abc import AsyncIterator

import pytest

from app.monitoring.providers import open_monitoring
from app.monitoring.settings import MonitoringSettings
from app.monitoring.traces import Monitor

from tests.monitoring.conftest import Noted


@pytest.fixture
async def monitor(noted: Noted) -> AsyncIterator[Monitor]:
    """Watches for `noted`, without content."""
    async with open_monitoring(MonitoringSettings()) as monitoring:
        noted.listen(monitoring)
        yield Monitor(monitoring)


@pytest.fixture
async def reading_monitor(noted: Noted) -> AsyncIterator[Monitor]:
    """Watches for `noted`, with content, in which the word canary is redacted."""
    settings = MonitoringSettings(capture_content=True)
    async with open_monitoring(settings, lambda text: text.replace("canary", "[bird]")) as opened:
        noted.listen(opened)
        yield Monitor(opened)
