"""Scoring: of whatever has an id, and never at the cost of an answer."""

from dataclasses import replace

import pytest
from pydantic_ai import ModelRequest
from pydantic_ai.messages import ModelResponse, TextPart
from structlog.contextvars import bound_contextvars
from structlog.testing import capture_logs

from app.llm.calls import Call
from app.monitoring import names
from app.monitoring.quality.responses import Response, Responses
from app.monitoring.quality.score import Quality
from app.monitoring.traces import Monitor

from tests.monitoring.conftest import Noted
from tests.monitoring.watching import monitor

__all__ = ["monitor"]
pytestmark = pytest.mark.anyio

CALL = Call(
    "scripted",
    [ModelRequest.user_text_prompt("One."), ModelRequest.user_text_prompt("Two?")],
    response=ModelResponse([TextPart("It has.")], provider_name="test"),
    outcome="stop",
)
ID = {"response_id": "chatcmpl-1"}


class Kept(Responses):
    """Keeps what is added in memory."""

    def __init__(self) -> None:
        self.rows: list[Response] = []

    def add(self, response: Response) -> None:
        self.rows.append(response)


async def test_an_answer_is_scored_as_what_asked_for_it(monitor: Monitor, noted: Noted) -> None:
    kept = Kept()
    with bound_contextvars(**ID, principal="alice", prompt="chat/2", feature="shop"):
        Quality(kept, monitor.metrics, None, lambda text: [len(text) / 8]).note(CALL)
    (row,) = kept.rows
    assert (row.id, row.principal, row.feature) == ("chatcmpl-1", "alice", "shop")
    assert (row.model, row.prompt, row.prompt_version) == ("scripted", "chat", "2")
    assert (row.input_chars, row.output_chars, row.topic) == (4, 7, [0.5])
    assert (row.request, row.response) == (None, None)
    labels = {
        names.FEATURE: "shop",
        names.PROMPT: "chat",
        names.PROMPT_VERSION: "2",
        names.PROVIDER: "test",
        names.RESPONSE_MODEL: "scripted",
    }
    points = noted.points(names.EVALUATION_SCORE)
    assert [dict(point.attributes) for point in points] == [
        {**labels, names.EVALUATION: check} for check in ("refusal", "length")
    ]


async def test_what_nobody_can_come_back_to_is_not_noted(monitor: Monitor, noted: Noted) -> None:
    kept = Kept()
    Quality(kept, monitor.metrics, None).note(CALL)
    assert kept.rows == noted.points(names.EVALUATION_SCORE) == []


async def test_a_hook_that_fails_costs_no_answer(monitor: Monitor) -> None:
    def fail(text: str) -> str:
        raise ValueError(text)

    with bound_contextvars(**ID), capture_logs() as logs:
        Quality(Kept(), monitor.metrics, fail).note(CALL)
    (logged,) = logs
    assert (logged["event"], logged["error"]) == ("an answer is not scored", "ValueError")
    assert "It has" not in str(logged)


async def test_texts_that_cannot_be_stored_are_mended(monitor: Monitor) -> None:
    kept, odd = Kept(), ModelResponse([TextPart("a\0b\ud800")])
    with bound_contextvars(**ID):
        Quality(kept, monitor.metrics, str).note(replace(CALL, response=odd))
    assert kept.rows[0].response == "ab?"
