"""OpenTelemetry's providers: opened with the service, closed with it, and nobody's default.

Its standard variables, `OTEL_…`, say where spans and metrics go, besides `/metrics`. An exporter
works in a thread of its own: where the collector is away it logs that, and drops what it holds.
"""

import asyncio
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast
from urllib.parse import parse_qsl, urlencode

from dotenv import dotenv_values
from opentelemetry.context import Context
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.semconv.attributes.url_attributes import URL_QUERY
from prometheus_client import CollectorRegistry

from app.monitoring.redact import Redact, redact
from app.monitoring.settings import MonitoringSettings

from app.about import DISTRIBUTION, version
from app.checks import Degraded

_CLOSING_SECONDS: Final = 3.0


class Exporter(Protocol):
    """What sends spans, or metrics."""

    is_away: bool

    def export(self, *args: Any, **kwargs: Any) -> Any: ...
    def shutdown(self) -> None: ...


class _Noted:
    """An exporter that knows whether what it sent last was taken."""

    is_away = False

    def export(self, *args: Any, **kwargs: Any) -> Any:
        result = cast(Any, super()).export(*args, **kwargs)
        self.is_away = result.name != "SUCCESS"
        return result


@dataclass(frozen=True)
class Monitoring:
    """What spans and metrics go to."""

    settings: MonitoringSettings
    tracers: TracerProvider
    meters: MeterProvider
    # What /metrics shows.
    registry: CollectorRegistry
    # Signal -> what sends it.
    exporters: Mapping[str, Exporter]
    # What a text passes before it is in a span; None where content is not captured.
    redact: Redact | None

    async def check(self, *, thorough: bool = False) -> str:
        """Say where spans and metrics go; raise `Degraded` where what was sent last was not taken.

        A thorough check sends no spans, to see who answers.
        """
        if thorough and (traces := self.exporters.get("traces")):
            await asyncio.to_thread(traces.export, ())
        away = [signal for signal, exporter in self.exporters.items() if exporter.is_away]
        if away:
            raise Degraded(f"Nobody takes the {' and '.join(away)} at OTEL_EXPORTER_OTLP_ENDPOINT.")
        return ", ".join(["/metrics", *(f"{signal} by OTLP" for signal in self.exporters)])


@dataclass
class _Queries(SpanProcessor):
    """Treats the query of a URL as content: people write there, too."""

    redact: Redact | None

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        if query := (span.attributes or {}).get(URL_QUERY):
            span.set_attribute(URL_QUERY, self._kept(str(query)))

    def _kept(self, query: str) -> str:
        if not (redact := self.redact):
            return ""
        pairs = parse_qsl(query, keep_blank_values=True)
        redacted = [(redact(name), redact(value)) for name, value in pairs]
        return urlencode(redacted, safe="[]")


@asynccontextmanager
async def open_monitoring(
    settings: MonitoringSettings, redact: Redact = redact
) -> AsyncGenerator[Monitoring]:
    """Open what watches; leaving sends what is still held, for a few seconds."""
    _read_env_file()
    hook = redact if settings.capture_content else None
    resource, registry = _resource(), CollectorRegistry()
    exporters: dict[str, Exporter] = {}
    readers: list[MetricReader] = [
        PrometheusMetricReader(scope_info_enabled=False, registry=registry)
    ]
    tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
    tracers.add_span_processor(_Queries(hook))
    # Imported where they are used: they bring a client of HTTP.
    if _is_sent("TRACES"):
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        class Spans(_Noted, OTLPSpanExporter): ...

        exporters["traces"] = spans = Spans()
        tracers.add_span_processor(BatchSpanProcessor(spans))
    if _is_sent("METRICS"):
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

        class Metrics(_Noted, OTLPMetricExporter): ...

        exporters["metrics"] = metrics = Metrics()
        readers.append(PeriodicExportingMetricReader(metrics))
    meters = MeterProvider(readers, resource, shutdown_on_exit=False)
    try:
        yield Monitoring(settings, tracers, meters, registry, exporters, hook)
    finally:
        closing = [asyncio.to_thread(provider.shutdown) for provider in (tracers, meters)]
        _, late = await asyncio.wait(map(asyncio.ensure_future, closing), timeout=_CLOSING_SECONDS)
        for exporter in exporters.values() if late else ():
            exporter.shutdown()  # It tries no more, and what waits for it ends.
        if late:
            await asyncio.wait(late)


def _is_sent(signal: str) -> bool:
    """Say whether the standard variables name an address for `signal`."""
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")
    chosen = os.environ.get(f"OTEL_{signal}_EXPORTER", "otlp")
    return chosen == "otlp" and any(map(os.environ.get, endpoints))


def _resource() -> Resource:
    own = Resource({SERVICE_NAME: DISTRIBUTION, SERVICE_VERSION: version()})
    given = Resource.create()
    unnamed = str(given.attributes[SERVICE_NAME]).startswith("unknown_service")
    return given.merge(own) if unnamed else own.merge(given)


def _read_env_file() -> None:
    # OpenTelemetry reads its variables by itself, and knows no `.env`.
    for name, value in dotenv_values(".env").items():
        if name.startswith("OTEL_") and value:
            os.environ.setdefault(name, value)
