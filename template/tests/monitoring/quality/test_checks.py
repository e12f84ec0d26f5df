"""What is wrong with an answer on the face of it, and what only looks like it."""

from typing import Any

import pytest
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models import ModelRequestParameters

from app.llm.calls import Call
from app.monitoring.quality.checks import check

GOOD = {"refusal": 1.0, "length": 1.0}


def called(text: str = "", outcome: str = "stop", mode: Any = "text", **given: Any) -> Call:
    parts = [TextPart(text)] if text else []
    response = ModelResponse(given.pop("parts", parts), **given)
    parameters = ModelRequestParameters(output_mode=mode)
    return Call("m", outcome=outcome, response=response, parameters=parameters)


def test_an_ordinary_answer_is_good() -> None:
    assert check(called("It has.")) == GOOD


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "Sorry, I can\u2019t assist with this request.",
        "I cannot comply.",
        "I am unable to help you with weapons.",
        "I won't do that.",
        "I must decline.",
        "Dabei kann ich leider nicht helfen.",
        "Es tut mir leid, aber ich kann Ihnen hierbei nicht weiterhelfen.",
        "Ich kann dich dabei nicht unterst\u00fctzen.",
    ],
)
def test_a_refusal_is_known_by_its_words(text: str) -> None:
    assert check(called(text)) == {"refusal": 0.0, "length": 1.0}


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry to hear that your bike broke.",
        "I cannot find the order A-1017 in what you sent.",
        "As an AI model I can draft that: here it is.",
        "I can't help but smile. The answer is 4.",
        "I can help with that.",
        "You asked what to do where somebody says he cannot help you: ask again.",
        "Ich kann die Bestellung nicht finden.",
        "It is done. " * 20 + "I can't help with that.",
    ],
)
def test_what_sounds_like_a_refusal_is_none(text: str) -> None:
    assert check(called(text)) == GOOD


@pytest.mark.parametrize(
    "call",
    [
        called(outcome="content_filter"),
        called(outcome="refused"),
        called(provider_details={"refusal": "No."}),
    ],
    ids=["filtered", "of a task", "marked"],
)
def test_a_refusal_is_known_by_its_mark(call: Call) -> None:
    """It has no length and no form that could be wrong."""
    assert check(call) == {"refusal": 0.0, "length": 1.0}


@pytest.mark.parametrize(
    "call", [called("It", "length"), called(" \n"), called()], ids=["cut off", "blank", "empty"]
)
def test_what_is_cut_off_or_empty_is_too_short(call: Call) -> None:
    assert check(call) == {"refusal": 1.0, "length": 0.0}


def test_a_call_of_a_tool_needs_no_words() -> None:
    asked = called(parts=[ToolCallPart("weather", {})], mode="native")
    assert check(asked) == GOOD


@pytest.mark.parametrize("mode", ["native", "prompted"])
@pytest.mark.parametrize(("text", "score"), [('{"a": 1}', 1.0), ("a: 1", 0.0), ('{"a"', 0.0)])
def test_json_is_read_where_it_was_asked_for(mode: str, text: str, score: float) -> None:
    assert check(called(text, mode=mode))["format"] == score


@pytest.mark.parametrize(("outcome", "score"), [("ok", 1.0), ("invalid", 0.0), ("truncated", 0.0)])
def test_a_task_says_itself_whether_the_data_fits(outcome: str, score: float) -> None:
    assert check(called("{}", outcome))["format"] == score
