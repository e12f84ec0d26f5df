"""Logs: one JSON object a line, and in each line of a request its id, its principal and its trace.

What people write or read (bodies, query strings) is not logged. An error that nobody expected is,
with its message, which may repeat a part of it.
"""

import logging
import re
import time
import uuid
from typing import TextIO

import structlog
from opentelemetry.trace import format_trace_id, get_current_span
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import ServiceError, respond

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_log = structlog.stdlib.get_logger("app.request")


def configure_logs(level: str, format: str, stream: TextIO | None = None) -> None:
    """Send every log, the server's and the libraries' too, to `stream` (standard error)."""
    # Local variables may hold what people wrote, or a key.
    frames = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        _add_trace,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    rendering: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
        if format == "console"
        else [structlog.processors.ExceptionRenderer(frames), structlog.processors.JSONRenderer()]
    )
    formatter = structlog.stdlib.ProcessorFormatter
    structlog.configure(
        processors=[*shared, formatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    handler = logging.StreamHandler(stream)
    processors = [formatter.remove_processors_meta, *rendering]
    handler.setFormatter(formatter(processors=processors, foreign_pre_chain=shared))
    root = logging.getLogger()
    # Whoever else listens, such as a test, goes on listening.
    others = [other for other in root.handlers if not isinstance(other.formatter, formatter)]
    root.handlers = [*others, handler]
    root.setLevel(level)
    # It logs the whole address of each request it makes.
    logging.getLogger("httpx2").setLevel("WARNING")


def _add_trace(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    # Whoever traces this process.
    if (span := get_current_span().get_span_context()).is_valid:
        event["trace_id"] = format_trace_id(span.trace_id)
    return event


class RequestLog:
    """Gives each request an id, logs how it ended, and answers 500 where the code failed."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get("X-Request-ID", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        started, status = time.perf_counter(), 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        except Exception as failure:
            error = failure
            if not isinstance(error, ServiceError):
                _log.exception("request failed", path=scope["path"])
                error = ServiceError(f"Something failed here; its logs have it as {request_id}.")
            if status:  # Too late for another answer: the server has to cut the connection.
                raise
            await respond(scope["app"], scope["path"], error)(scope, receive, send_with_id)
        finally:
            seconds = round(time.perf_counter() - started, 4)
            method, path = scope["method"], scope["path"]
            _log.info("request", method=method, path=path, status=status, seconds=seconds)
