"""What monitoring needs goes away: the service answers as before, and says what it does without."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from acceptance.databases import Postgres, data_folder, migrated
from acceptance.services import Service, running, service_with, wait
from answers import label
from conftest import Install
from projects import request

SERVICE = service_with("openai")

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group(label(SERVICE))]


@pytest.fixture
def project(install: Install) -> Path:
    return install(SERVICE)


@pytest.fixture
def database(project: Path) -> Iterator[Postgres]:
    with data_folder() as data, migrated(project, data) as database:
        yield database


def call(service: Service, count: int) -> None:
    """Make calls, each of which is answered."""
    client = service.client()
    for number in range(count):
        asked = client.chat.completions.create(
            model="offline", messages=[{"role": "user", "content": f"Question {number}"}]
        )
        assert asked.choices[0].message.content


def degraded(service: Service) -> str:
    """Return what the service, which is ready, does without."""
    status, told = request(f"{service.address}/health/ready")
    assert status == 200, told
    return str(told.get("degraded", ""))


def noted(service: Service) -> int:
    with service.http() as client:
        return int(client.get("usage").json()["totals"]["calls"])


def test_a_dead_collector(project: Path, database: Postgres, tmp_path: Path) -> None:
    log_path = tmp_path / "log"
    collector = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "1",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    with running(project, log_path, DATABASE__URL=database.url, **collector) as service:
        call(service, 3)
        wait(lambda: "Nobody takes the traces" in degraded(service))
        call(service, 3)
        wait(lambda: noted(service) == 6)
    assert "Failed to export" in log_path.read_text()


def test_a_missing_ledger_table(project: Path, database: Postgres, tmp_path: Path) -> None:
    log_path = tmp_path / "log"
    with running(project, log_path, DATABASE__URL=database.url) as service:
        call(service, 3)
        wait(lambda: noted(service) == 3)
        database.rows("ALTER TABLE monitoring.calls RENAME TO lost")
        call(service, 3)
        wait(lambda: re.search("ledger: .* tables are missing", degraded(service)) is not None)
        assert "cannot be written" in log_path.read_text()
        database.rows("ALTER TABLE monitoring.lost RENAME TO calls")
        wait(lambda: not degraded(service))
        wait(lambda: noted(service) == 6)


@pytest.mark.system
def test_a_full_disk(project: Path, tmp_path: Path) -> None:
    """Of the database, and then there is room again."""
    log_path = tmp_path / "log"
    with (
        disk("160m") as full,
        migrated(project, full / "postgres") as database,
        running(project, log_path, DATABASE__URL=database.url) as service,
    ):
        call(service, 3)
        wait(lambda: noted(service) == 3)
        ballast = full / "ballast"
        with (
            pytest.raises(OSError, match="No space left"),
            Path("/dev/zero").open("rb") as zeros,
            ballast.open("wb") as file,
        ):
            shutil.copyfileobj(zeros, file)
        call(service, 200)
        wait(lambda: "rows wait, 0 are lost" in degraded(service))
        assert "cannot be written" in log_path.read_text()
        call(service, 3)
        ballast.unlink()
        wait(lambda: noted(service) == 206)
        wait(lambda: not degraded(service))


def test_logs_that_nobody_can_write(project: Path, database: Postgres) -> None:
    with running(project, Path("/dev/full"), DATABASE__URL=database.url) as service:
        call(service, 3)
        wait(lambda: noted(service) == 3)
        assert degraded(service) == ""


@contextmanager
def disk(size: str) -> Iterator[Path]:
    """Give a small disk, in memory, which the user of Postgres may enter."""
    with tempfile.TemporaryDirectory(prefix="db") as folder:
        options = f"size={size},mode=755"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", folder], check=True)
