"""One way to watch whatever takes time: a span, its labels, how long it took, and how it ended.

What an error says is not noted, only its kind: it may repeat what people wrote.
"""

import asyncio
import json
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Final

import structlog
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, StatusCode, use_span
from pydantic_core import to_jsonable_python
from structlog.contextvars import get_contextvars

from app.monitoring import names
from app.monitoring.metrics import Labels, Metrics
from app.monitoring.providers import Monitoring
from app.monitoring.redact import Redact

CANCELLED: Final = "cancelled"
_log = structlog.stdlib.get_logger("app.monitoring")


@dataclass
class Operation:
    """What is watched. `error` is the kind of what went wrong."""

    span: Span
    labels: Labels
    error: str | None = None


class Monitor:
    """Watches operations, for whoever is given it."""

    def __init__(self, monitoring: Monitoring) -> None:
        self.metrics = Metrics(monitoring.meters.get_meter(__name__))
        self._tracer = monitoring.tracers.get_tracer(__name__)
        self._redact = monitoring.redact

    @contextmanager
    def watch(
        self,
        operation: str,
        target: str,
        labels: Labels,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        parent: Context | None = None,
        no_errors: tuple[type[BaseException], ...] = (),
    ) -> Generator[Operation]:
        """Watch the body, whose own operations then belong to this one.

        A call of something outside (`SpanKind.CLIENT`) has none, and so may be left elsewhere than
        it was entered, as streams are.
        """
        labels = {names.OPERATION: operation, **labels, **purpose()}
        span = self._tracer.start_span(f"{operation} {target}", parent, kind, labels)
        watched, started = Operation(span, labels), time.perf_counter()
        around = nullcontext() if kind is SpanKind.CLIENT else _current(span)
        try:
            with around:
                yield watched
        except no_errors:
            raise
        except BaseException as error:
            left = isinstance(error, asyncio.CancelledError | GeneratorExit)
            watched.error = CANCELLED if left else type(error).__name__
            raise
        finally:
            if watched.error:
                labels[names.ERROR] = watched.error
                span.set_attribute(names.ERROR, watched.error)
                span.set_status(StatusCode.ERROR)
            self.metrics.durations[operation].record(time.perf_counter() - started, labels)
            span.end()

    def note_content(self, operation: Operation, name: str, content: Callable[[], Any]) -> None:
        """Note what was said as JSON, redacted, where content is captured."""
        if not self._redact or not operation.span.is_recording():
            return
        try:
            shown = _redacted(to_jsonable_python(content(), fallback=str), self._redact)
            operation.span.set_attribute(name, json.dumps(shown, ensure_ascii=False))
        except Exception as error:  # Whatever an owner's hook does: an answer is worth more.
            _log.warning("content is not noted", name=name, error=type(error).__name__)


def purpose() -> Labels:
    """Return what the operation is for, from what is bound to the logs of this request or work."""
    bound = get_contextvars()
    prompt, _, version = str(bound.get("prompt", "")).partition("/")
    feature = str(bound.get("feature", prompt))
    given = {names.FEATURE: feature, names.PROMPT: prompt, names.PROMPT_VERSION: version}
    return {name: value for name, value in given.items() if value}


def _current(span: Span) -> Any:
    return use_span(span, record_exception=False, set_status_on_exception=False)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _redacted(value: Any, redact: Redact) -> Any:
    match value:
        case str() if isinstance(inner := _parsed(value), dict | list):
            # Arguments of tools: marks of JSON's own would hide what is beside them.
            return json.dumps(_redacted(inner, redact), ensure_ascii=False)
        case str():
            # No exporter can send half of a surrogate pair.
            return redact(value).encode(errors="replace").decode()
        case dict():
            return {_redacted(k, redact): _redacted(one, redact) for k, one in value.items()}
        case list():
            return [_redacted(one, redact) for one in value]
    return value
