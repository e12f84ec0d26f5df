"""What clients send, as the model is asked it."""

from typing import Any

import pytest
from pydantic import ValidationError
from pydantic_ai import BinaryContent, ImageUrl
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    SystemPromptPart,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)

from app.llm.chat import ChatRequest
from app.llm.openai_api import UNSUPPORTED, CompletionRequest

from app.errors import BadRequest

HI = [{"role": "user", "content": "Hi"}]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "title": "Where"}
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}
TIME = {"type": "function", "function": {"name": "time"}}


def asked(**body: Any) -> ChatRequest:
    return CompletionRequest.model_validate({"messages": HI, **body}).to_chat()


def parts_of(message: ModelMessage) -> list[tuple[type, Any]]:
    return [(type(part), getattr(part, "content", None)) for part in message.parts]


def blamed(**body: Any) -> str:
    """Return the field that a refused body is blamed for."""
    try:
        asked(**body)
    except BadRequest as error:
        return str(error.param)
    except ValidationError as error:
        return ".".join(str(part) for part in error.errors()[0]["loc"])
    pytest.fail("it was accepted")


def test_roles_keep_their_place() -> None:
    (request,) = asked(
        messages=[
            {"role": "system", "content": "Rhyme."},
            {"role": "developer", "content": [{"type": "text", "text": "In "}] * 2},
            {"role": "user", "content": "Hi", "name": "alice"},
        ]
    ).messages
    assert parts_of(request) == [
        (SystemPromptPart, "Rhyme."),
        (SystemPromptPart, "In In "),
        (UserPromptPart, "Hi"),
    ]


def test_text_parts_of_a_user_stay_parts() -> None:
    texts = [{"type": "text", "text": "One."}, {"type": "text", "text": "Two."}]
    (request,) = asked(messages=[{"role": "user", "content": texts}]).messages
    assert parts_of(request) == [(UserPromptPart, ["One.", "Two."])]


def test_tool_calls_and_their_results_keep_their_ids() -> None:
    calls = [
        {"id": f"call_{city}", "type": "function", "function": {"name": "weather", "arguments": a}}
        for city, a in {"rome": '{"city": "Rome"}', "bonn": "not json"}.items()
    ]
    said, called, returned = asked(
        messages=[
            *HI,
            {"role": "assistant", "content": None, "tool_calls": calls},
            {"role": "tool", "tool_call_id": "call_rome", "content": "sunny"},
            {"role": "tool", "tool_call_id": "call_bonn", "content": "rainy"},
        ]
    ).messages
    assert called.parts == [
        ToolCallPart("weather", '{"city": "Rome"}', "call_rome"),
        ToolCallPart("weather", "not json", "call_bonn"),
    ]
    results = [part for part in returned.parts if isinstance(part, ToolReturnPart)]
    assert [(r.tool_name, r.tool_call_id, r.content) for r in results] == [
        ("weather", "call_rome", "sunny"),
        ("weather", "call_bonn", "rainy"),
    ]
    assert isinstance(said, ModelRequest)


def test_an_answer_of_this_service_can_be_sent_back() -> None:
    message: Any = {"role": "assistant", "content": "Hello.", "refusal": None, "annotations": []}
    assert asked(messages=[*HI, message]).messages[1].parts == [TextPart("Hello.")]
    refusal = {"role": "assistant", "content": None, "refusal": "No."}
    assert asked(messages=[refusal]).messages[0].parts == [TextPart("No.")]
    assert isinstance(asked(messages=[refusal]).messages[0], ModelResponse)


def test_images_are_passed_on_and_never_fetched() -> None:
    url = "https://example.com/a.png"
    images = [
        {"type": "image_url", "image_url": {"url": url, "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0="}},
    ]
    (request,) = asked(messages=[{"role": "user", "content": images}]).messages
    [(_, [linked, sent])] = parts_of(request)
    assert isinstance(linked, ImageUrl)
    assert (linked.url, linked.vendor_metadata, linked.force_download) == (
        url,
        {"detail": "low"},
        False,
    )
    assert isinstance(sent, BinaryContent)
    assert (sent.media_type, sent.data) == ("image/png", b"\x89PNG\r")


@pytest.mark.parametrize("url", ["file:///etc/passwd", "gopher://x", "data:text/html,x", "a.png"])
def test_what_is_no_image_is_refused(url: str) -> None:
    content = [{"type": "image_url", "image_url": {"url": url}}]
    assert blamed(messages=[{"role": "user", "content": content}]).startswith("messages")


@pytest.mark.parametrize("url", ["data:image/png,text", "data:image/png;base64,A"])
def test_an_image_with_a_broken_data_url_is_refused(url: str) -> None:
    content = [{"type": "image_url", "image_url": {"url": url}}]
    assert blamed(messages=[{"role": "user", "content": content}]) == "messages"


@pytest.mark.parametrize(
    ("body", "settings"),
    [
        ({}, {}),
        ({"max_tokens": 5}, {"max_tokens": 5}),
        ({"max_tokens": 5, "max_completion_tokens": 6}, {"max_tokens": 6}),
        ({"temperature": 0, "top_p": 1, "seed": 0}, {"temperature": 0, "top_p": 1, "seed": 0}),
        ({"presence_penalty": 1.5}, {"presence_penalty": 1.5}),
        ({"frequency_penalty": -2}, {"frequency_penalty": -2}),
        ({"stop": "END"}, {"stop_sequences": ["END"]}),
        ({"stop": ["A", "B"]}, {"stop_sequences": ["A", "B"]}),
        ({"stop": None, "temperature": None, "tools": None}, {}),
        ({"parallel_tool_calls": False}, {"parallel_tool_calls": False}),
        ({"tool_choice": "none"}, {"tool_choice": "none"}),
        ({"tools": [WEATHER], "tool_choice": "required"}, {"tool_choice": "required"}),
        ({"tools": [WEATHER, TIME], "tool_choice": TIME}, {"tool_choice": ["time"]}),
    ],
)
def test_settings_are_the_models(body: dict[str, Any], settings: dict[str, Any]) -> None:
    assert asked(**body).settings == settings


def test_tools_are_as_the_caller_wrote_them() -> None:
    weather, time = asked(tools=[WEATHER, TIME]).parameters.function_tools
    assert (weather.name, weather.parameters_json_schema, weather.strict, weather.kind) == (
        "weather",
        SCHEMA,
        False,
        "external",
    )
    assert time.parameters_json_schema == {"type": "object", "properties": {}}


def test_json_can_be_asked_for_with_and_without_a_schema() -> None:
    assert asked(response_format={"type": "text"}).parameters.output_mode == "text"
    assert asked(response_format={"type": "json_object"}).parameters.output_mode == "prompted"
    schema = {"name": "Where", "schema": SCHEMA, "strict": True}
    wanted = asked(response_format={"type": "json_schema", "json_schema": schema}).parameters
    assert wanted.output_mode == "native"
    assert wanted.output_object
    assert (wanted.output_object.name, wanted.output_object.strict) == ("Where", True)
    assert wanted.output_object.json_schema == SCHEMA


@pytest.mark.parametrize(
    "extra", ["user", "metadata", "store", "service_tier", "safety_identifier", "anything"]
)
def test_fields_that_do_not_change_the_answer_are_ignored(extra: str) -> None:
    assert asked(**{extra: {"some": "thing"}}).settings == asked().settings


@pytest.mark.parametrize("name", sorted(UNSUPPORTED))
def test_fields_that_would_change_the_answer_are_refused_by_name(name: str) -> None:
    assert blamed(**{name: {"some": "thing"}}) == name
    assert asked(**{name: None}).settings == asked().settings


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"modalities": ["text", "audio"]}, "modalities.1"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": "1"}, "temperature"),
        ({"top_p": -1}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"seed": 2**63}, "seed"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
        ({"stream": 1}, "stream"),
        ({"model": 3}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "function", "content": "x"}]}, "messages.0"),
        ({"messages": [{"role": "user"}]}, "messages.0.user.content"),
        ({"messages": [{"role": "tool", "content": "x", "tool_call_id": "none"}]}, "messages"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": TIME, "tools": [WEATHER]}, "tool_choice"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
    ],
)
def test_what_is_wrong_is_refused_by_name(body: dict[str, Any], field: str) -> None:
    found = blamed(**body)
    assert found == field or found.startswith(f"{field}.")


@pytest.mark.parametrize("value", ["\ud800", float("nan"), float("inf")])
def test_what_no_provider_would_read_as_json_is_refused(value: object) -> None:
    with pytest.raises(ValidationError):
        asked(tools=[{**WEATHER, "function": {"name": "f", "parameters": {"default": value}}}])


def nested(levels: int) -> dict[str, Any]:
    """Return the parameters of a tool that nest so deeply."""
    schema: dict[str, Any] = {}
    for level in range(levels - 1):
        schema = {"anyOf": [schema]} if level % 2 else {"items": schema}
    return schema


@pytest.mark.parametrize("levels", [100, 600])
def test_what_nests_too_deeply_is_refused(levels: int) -> None:
    tools = [{**WEATHER, "function": {"name": "f", "parameters": nested(levels)}}]
    with pytest.raises(ValidationError, match="nest it less deeply: at most 100 levels"):
        asked(tools=tools)
