"""A collector that takes what is sent by OTLP, and keeps it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass
class Collector:
    address: str
    status: int = 200
    bodies: list[tuple[str, bytes]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    @property
    def paths(self) -> set[str]:
        return {path for path, _ in self.bodies}

    @property
    def traces(self) -> list[Any]:
        """Return what came for each resource."""
        requests = [ExportTraceServiceRequest.FromString(b) for p, b in self.bodies if "trace" in p]
        return [each for request in requests for each in request.resource_spans]

    @property
    def spans(self) -> list[str]:
        """Return the names of the spans."""
        return [s.name for each in self.traces for scope in each.scope_spans for s in scope.spans]


@contextmanager
def running_collector() -> Iterator[Collector]:
    """Run a collector on the loopback interface."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            collector.bodies.append((self.path, body))
            collector.headers.append(dict(self.headers))
            self.send_response(collector.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector = Collector(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()
