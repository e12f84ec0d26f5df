import dataclasses
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.health import unready_before_stop

from app.checks import Degraded
from app.errors import Unavailable
from app.main import create_app
from app.resources import Resources, open_resources
from app.settings import Settings


class Archive:
    """A resource that can be used until `reason` says why not."""

    def __init__(self) -> None:
        self.reason: Exception | None = None
        self.asked_thoroughly = False

    async def check(self, *, thorough: bool = False) -> str:
        self.asked_thoroughly |= thorough
        if self.reason:
            raise self.reason
        return "answers"


@pytest.fixture
def archive() -> Archive:
    return Archive()


@pytest.fixture
def app(settings: Settings, archive: Archive) -> FastAPI:
    """A service with one more resource, as its owner would add it."""
    extended = dataclasses.make_dataclass(
        "Extended", [("archive", Archive)], bases=(Resources,), frozen=True
    )

    @asynccontextmanager
    async def open_extended(settings: Settings) -> AsyncIterator[Resources]:
        async with open_resources(settings) as opened:
            yield extended(**vars(opened), archive=archive)

    return create_app(settings, open_resources=open_extended)


def test_a_service_whose_resources_answer_is_ready(client: TestClient, archive: Archive) -> None:
    assert client.get("/health/ready").json() == {"status": "ready"}
    assert not archive.asked_thoroughly


def test_an_unusable_resource_makes_the_service_unready_and_is_named(
    client: TestClient, archive: Archive
) -> None:
    archive.reason = Unavailable("It is full: delete what is old.")
    answer = client.get("/health/ready")
    assert answer.status_code == 503
    assert answer.json()["detail"] == "archive: It is full: delete what is old."
    assert client.get("/health/live").status_code == 200


def test_what_no_answer_needs_is_told_and_leaves_it_ready(
    client: TestClient, archive: Archive
) -> None:
    archive.reason = Degraded("It is nearly full.")
    answer = client.get("/health/ready")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ready", "degraded": "archive: It is nearly full."}


def test_an_unexpected_failure_of_a_check_reveals_nothing(
    client: TestClient, archive: Archive
) -> None:
    archive.reason = RuntimeError("the password is hunter2")
    answer = client.get("/health/ready")
    assert answer.status_code == 503
    assert "hunter2" not in answer.text


def test_a_service_that_stops_is_unready_but_lives(app: FastAPI, client: TestClient) -> None:
    app.state.stopping = True
    assert client.get("/health/ready").status_code == 503
    assert client.get("/health/live").status_code == 200


@pytest.mark.anyio
async def test_a_stop_signal_reaches_the_server_only_after_the_service_was_unready() -> None:
    app, stopped = FastAPI(), anyio.Event()
    before = signal.signal(signal.SIGTERM, lambda number, frame: stopped.set())
    try:
        with unready_before_stop(app, delay_seconds=0.01):
            assert not app.state.stopping
            signal.raise_signal(signal.SIGTERM)
            assert app.state.stopping
            assert not stopped.is_set()
            with anyio.fail_after(5):
                await stopped.wait()
    finally:
        signal.signal(signal.SIGTERM, before)
