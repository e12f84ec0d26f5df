import asyncio
import json

import pytest
from opentelemetry.trace import SpanKind
from structlog.contextvars import bound_contextvars

from app.monitoring import names
from app.monitoring.providers import open_monitoring
from app.monitoring.settings import MonitoringSettings
from app.monitoring.traces import CANCELLED, Monitor

from tests.monitoring.conftest import Noted, attributes
from tests.monitoring.watching import monitor, reading_monitor

__all__ = ["monitor", "reading_monitor"]
pytestmark = pytest.mark.anyio


async def test_what_happens_within_an_operation_belongs_to_it(
    monitor: Monitor, noted: Noted
) -> None:
    with monitor.watch(names.INVOKE_WORKFLOW, "outer", {}):
        with monitor.watch(names.EXECUTE_TOOL, "inner", {}):
            pass
        call = monitor.watch(names.EMBEDDINGS, "call", {}, kind=SpanKind.CLIENT)
        with call, monitor.watch(names.EXECUTE_TOOL, "meanwhile", {}):
            pass
    parents = {span.name: noted.parent(span) for span in noted.spans}
    assert parents == {
        "execute_tool inner": "invoke_workflow outer",
        "embeddings call": "invoke_workflow outer",
        "execute_tool meanwhile": "invoke_workflow outer",
        "invoke_workflow outer": None,
    }


async def test_an_error_is_noted_by_its_kind_and_never_with_its_message(
    monitor: Monitor, noted: Noted
) -> None:
    with pytest.raises(ValueError, match="canary"), monitor.watch(names.EXECUTE_TOOL, "t", {}):
        raise ValueError("canary")
    span = noted.span("execute_tool t")
    assert attributes(span)[names.ERROR] == "ValueError"
    assert not span.status.is_ok
    assert noted.counts(names.TOOL_DURATION, names.ERROR) == {"ValueError": 1}
    assert "canary" not in noted.everything()


async def test_what_is_broken_off_is_told_from_what_failed(monitor: Monitor, noted: Noted) -> None:
    begun = asyncio.Event()

    async def wait() -> None:
        with monitor.watch(names.EXECUTE_TOOL, "t", {}):
            begun.set()
            await asyncio.Event().wait()

    waiting = asyncio.create_task(wait())
    await begun.wait()
    waiting.cancel()
    await asyncio.wait({waiting})
    assert attributes(noted.span("execute_tool t"))[names.ERROR] == CANCELLED


async def test_labels_say_what_for_and_never_for_whom(monitor: Monitor, noted: Noted) -> None:
    about = {"principal": "alice", "request_id": "abc", "prompt": "greet/3", "feature": "hello"}
    with bound_contextvars(**about), monitor.watch(names.RETRIEVAL, "r", {}):
        pass
    expected = {
        names.OPERATION: names.RETRIEVAL,
        names.FEATURE: "hello",
        names.PROMPT: "greet",
        names.PROMPT_VERSION: "3",
    }
    (point,) = noted.points(names.OPERATION_DURATION)
    assert point.attributes == expected
    assert attributes(noted.span("retrieval r")) == expected


async def test_the_feature_is_that_of_the_prompt_where_none_is_named(
    monitor: Monitor, noted: Noted
) -> None:
    with bound_contextvars(prompt="greet/3"), monitor.watch(names.RETRIEVAL, "r", {}):
        pass
    assert attributes(noted.span("retrieval r"))[names.FEATURE] == "greet"


async def test_a_hook_that_fails_hurts_nobody_and_lets_nothing_through(noted: Noted) -> None:
    def fail(text: str) -> str:
        raise ValueError(text)

    async with open_monitoring(MonitoringSettings(capture_content=True), fail) as monitoring:
        noted.listen(monitoring)
        monitor = Monitor(monitoring)
        with monitor.watch(names.EXECUTE_TOOL, "t", {}) as tool:
            monitor.note_content(tool, names.TOOL_RESULT, lambda: "canary")
    assert noted.span("execute_tool t").status.is_unset
    assert "canary" not in noted.everything()


async def test_content_is_noted_only_where_it_is_captured(
    monitor: Monitor, reading_monitor: Monitor, noted: Noted
) -> None:
    said = {
        "text": "a canary \ud800",
        "deep": [{"list": ["canary", 1]}],
        "set": {"canary"},
        "canary": 1,
    }
    for each in (monitor, reading_monitor):
        with each.watch(names.EXECUTE_TOOL, "t", {}) as tool:
            each.note_content(tool, names.TOOL_RESULT, lambda: said)
    without, having = noted.named("execute_tool t")
    assert names.TOOL_RESULT not in attributes(without)
    shown = {
        "text": "a [bird] ?",
        "deep": [{"list": ["[bird]", 1]}],
        "set": ["[bird]"],
        "[bird]": 1,
    }
    assert json.loads(attributes(having)[names.TOOL_RESULT]) == shown
