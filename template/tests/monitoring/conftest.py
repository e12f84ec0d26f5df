"""What the tests of monitoring share: all that was noted, in memory."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext, format_trace_id

from app.monitoring.providers import Monitoring

from app.main import OpenResources, create_app
from app.resources import Resources, open_resources
from app.settings import Settings
from tests.conftest import KEY


@dataclass
class Noted:
    """The spans that have ended, and the metrics."""

    exporter: InMemorySpanExporter = field(default_factory=InMemorySpanExporter)
    reader: InMemoryMetricReader = field(default_factory=InMemoryMetricReader)

    def listen(self, monitoring: Monitoring) -> None:
        """Note what `monitoring` is told from now on."""
        monitoring.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        monitoring.meters.add_metric_reader(self.reader)

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self.exporter.get_finished_spans())

    def named(self, name: str) -> list[ReadableSpan]:
        """Return the spans of a name, in the order they ended."""
        return [span for span in self.spans if span.name == name]

    def span(self, name: str) -> ReadableSpan:
        """Return the one span of a name."""
        (span,) = self.named(name)
        return span

    def parent(self, span: ReadableSpan) -> str | None:
        """Return the name of a span's parent, or None where it has none."""
        names = {_context(s).span_id: s.name for s in self.spans}
        return names[span.parent.span_id] if span.parent else None

    def points(self, metric: str) -> list[Any]:
        """Return the points of a metric."""
        data = self.reader.get_metrics_data()
        scopes = [s for r in (data.resource_metrics if data else ()) for s in r.scope_metrics]
        found = [m for scope in scopes for m in scope.metrics if m.name == metric]
        return [point for each in found for point in each.data.data_points]

    def sums(self, metric: str, label: str) -> dict[Any, float]:
        """Return the sum of a metric, by a label."""
        found: dict[Any, float] = {}
        for point in self.points(metric):
            by = point.attributes.get(label)
            found[by] = found.get(by, 0) + getattr(point, "sum", getattr(point, "value", 0))
        return found

    def counts(self, metric: str, label: str) -> dict[Any, int]:
        """Return how often a histogram was recorded, by a label."""
        found: dict[Any, int] = {}
        for point in self.points(metric):
            by = point.attributes.get(label)
            found[by] = found.get(by, 0) + point.count
        return found

    def everything(self) -> str:
        """Return all that was noted, as one text."""
        data = self.reader.get_metrics_data()
        return "\n".join([*(span.to_json() for span in self.spans), data.to_json() if data else ""])


def _context(span: ReadableSpan) -> SpanContext:
    context = span.get_span_context()
    assert context
    return context


def trace_of(span: ReadableSpan) -> str:
    return format_trace_id(_context(span).trace_id)


def attributes(span: ReadableSpan) -> Mapping[str, Any]:
    return dict(span.attributes or {})


def opening(noted: Noted) -> OpenResources:
    """Open the service's own resources, and note what they see."""

    @asynccontextmanager
    async def open_noted(settings: Settings) -> AsyncIterator[Resources]:
        async with open_resources(settings) as resources:
            noted.listen(resources.monitoring)
            yield resources

    return open_noted


@pytest.fixture
def noted() -> Noted:
    return Noted()


@pytest.fixture
def app(settings: Settings, noted: Noted) -> FastAPI:
    return create_app(settings, opening(noted))


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    """A running service that notes what it does, and a client that is Alice."""
    with TestClient(app, raise_server_exceptions=False) as client:
        client.headers["Authorization"] = f"Bearer {KEY}"
        yield client
