"""`GET /metrics` for Prometheus, and what FastAPI itself is to measure of each request."""

import asyncio
from collections.abc import Callable, MutableMapping
from fnmatch import fnmatchcase
from typing import Any, cast

from fastapi import APIRouter, Request, Response
from fastapi.telemetry import TelemetryConfig
from opentelemetry.metrics import Meter, MeterProvider
from opentelemetry.trace import Tracer, TracerProvider
from prometheus_client.exposition import choose_encoder

from app.monitoring.providers import Monitoring

from app.errors import Forbidden, problems
from app.resources import Resources
from app.security import NEEDS_KEY

# Asked every few seconds by machines.
_UNWATCHED = ("/health/*", "/metrics")

router = APIRouter(tags=["monitoring"], dependencies=[NEEDS_KEY])


@router.get("/metrics", response_class=Response, responses=problems(401, 403, 429))
async def metrics(request: Request) -> Response:
    """Say in Prometheus' words what this process has counted since it started."""
    monitoring = cast(Resources, request.app.state.resources).monitoring
    scrapers = monitoring.settings.scrapers
    if scrapers and request.state.principal not in scrapers:
        raise Forbidden("Only the principals in MONITORING__SCRAPERS may read metrics.")
    encode, media_type = choose_encoder(request.headers.get("Accept", ""))
    content = await asyncio.to_thread(encode, monitoring.registry)
    return Response(content, media_type=media_type)


class _Tracers(TracerProvider):
    """Those of what is open when the first request comes: the application is built before."""

    def __init__(self, current: Callable[[], Monitoring]) -> None:
        self._current = current

    def get_tracer(self, *args: Any, **kwargs: Any) -> Tracer:
        return self._current().tracers.get_tracer(*args, **kwargs)


class _Meters(MeterProvider):
    def __init__(self, current: Callable[[], Monitoring]) -> None:
        self._current = current

    def get_meter(self, *args: Any, **kwargs: Any) -> Meter:
        return self._current().meters.get_meter(*args, **kwargs)


def http_telemetry(current: Callable[[], Monitoring]) -> TelemetryConfig:
    """Return what FastAPI is told: spans and metrics of requests, by these providers, no more."""

    def is_unwatched(scope: MutableMapping[str, Any]) -> bool:
        return any(fnmatchcase(scope["path"], pattern) for pattern in _UNWATCHED)

    return {
        "tracer_provider": _Tracers(current),
        "meter_provider": _Meters(current),
        "exclude": is_unwatched,
        "logs": False,
        "operation_spans": False,
        "auto_configure": False,
    }
