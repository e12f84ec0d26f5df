import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from limits.aio.storage import MemoryStorage

from app.limits import Limits, open_limits

from app.errors import TooManyRequests
from app.main import create_app
from app.resources import Resources, open_resources
from app.settings import SecuritySettings, ServerSettings, Settings

pytestmark = pytest.mark.anyio

KEYS = {"alice": "alice-has-this-key", "bob": "bob-has-another-key"}


def client_of(app: FastAPI, principal: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {KEYS[principal]}"}


def test_a_principal_over_its_rate_is_told_how_long_to_wait() -> None:
    app = create_app(Settings(security=SecuritySettings(api_keys=KEYS, rate_limit="2/hour")))
    with TestClient(app) as client:
        alice, bob = client_of(app, "alice"), client_of(app, "bob")
        statuses = [client.get("/openapi.json", headers=alice).status_code for _ in range(2)]
        refused = client.get("/openapi.json", headers=alice)
        assert statuses == [200, 200]
        assert refused.status_code == 429
        assert refused.json()["code"] == "rate_limit_exceeded"
        assert 0 < int(refused.headers["Retry-After"]) <= 2 * 3600
        assert client.get("/openapi.json", headers=bob).status_code == 200


def test_health_is_not_counted() -> None:
    app = create_app(Settings(security=SecuritySettings(api_keys=KEYS, rate_limit="1/hour")))
    with TestClient(app) as client:
        assert [client.get("/health/live").status_code for _ in range(3)] == [200] * 3


def test_a_request_that_takes_too_long_is_ended_and_gives_its_place_back() -> None:
    app = create_app(
        Settings(
            security=SecuritySettings(api_keys=KEYS, max_concurrent_requests=1),
            server=ServerSettings(request_seconds=0.001),
        )
    )

    @app.get("/hanging")
    async def hang() -> None:
        await asyncio.Event().wait()

    with TestClient(app) as client:
        ended = client.get("/hanging", headers=client_of(app, "alice"))
        assert (ended.status_code, ended.json()["code"]) == (504, "timeout")
        assert client.get("/nothing", headers=client_of(app, "alice")).status_code == 404


def test_a_store_that_hangs_holds_no_request_longer_than_any_may_take() -> None:
    class HangingStorage(MemoryStorage):
        async def acquire_sliding_window_entry(self, *args: Any, **kwargs: Any) -> bool:
            return await asyncio.Event().wait()

    @asynccontextmanager
    async def open_hanging(settings: Settings) -> AsyncIterator[Resources]:
        async with open_resources(settings) as opened:
            yield dataclasses.replace(opened, limits=Limits("9/second", HangingStorage(), 1))

    app = create_app(Settings(server=ServerSettings(request_seconds=0.001)), open_hanging)
    with TestClient(app, base_url="http://localhost", client=("127.0.0.1", 50_000)) as client:
        assert client.get("/openapi.json").status_code == 504


async def test_a_process_answers_only_so_many_requests_at_once() -> None:
    async with open_limits(rate="9/second", storage="memory://", max_concurrent=1) as limits:
        async with limits.slot():
            with pytest.raises(TooManyRequests) as refused:
                limits.slot()
            assert refused.value.headers == {"Retry-After": "1"}
        async with limits.slot():
            pass


async def test_a_slot_is_given_back_when_its_request_fails() -> None:
    async with open_limits(rate="9/second", storage="memory://", max_concurrent=1) as limits:
        with pytest.raises(asyncio.CancelledError):
            async with limits.slot():
                raise asyncio.CancelledError
        async with limits.slot():
            pass


async def test_a_rate_limit_in_redis_without_its_client_says_what_to_install() -> None:
    with pytest.raises(ValueError, match="uv sync --extra redis"):
        async with open_limits(rate="9/second", storage="redis://localhost", max_concurrent=1):
            pass


async def test_its_check_says_where_requests_are_counted() -> None:
    async with open_limits(rate="9/second", storage="memory://", max_concurrent=1) as limits:
        assert await limits.check() == "9 per 1 second, counted in Memory"
