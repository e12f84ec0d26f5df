"""What clients get, as OpenAI's SDK reads it."""

import json
from collections.abc import Iterable
from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic_ai.messages import (
    FinishReason,
    ModelResponse,
    ModelResponseStreamEvent,
    PartDeltaEvent,
    PartEndEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
    ThinkingPart,
    ToolCallPart,
    ToolCallPartDelta,
)
from pydantic_ai.usage import RequestUsage

from app.llm.openai_answers import Chunks, completion, error_event, error_response

from app.errors import BadRequest, InvalidRequest, ServiceError, TooManyRequests, Unauthorized

USAGE = RequestUsage(
    input_tokens=7, output_tokens=3, cache_read_tokens=2, details={"reasoning_tokens": 1}
)


def sent(response: ModelResponse) -> ChatCompletion:
    return ChatCompletion.model_validate_json(json.dumps(completion("c1", response, "openai:m")))


def streamed(
    *events: ModelResponseStreamEvent, end: ModelResponse | None = None, usage: bool = False
) -> list[ChatCompletionChunk]:
    chunks = Chunks("c1", "openai:m", include_usage=usage)
    last = chunks.last(end or ModelResponse([], finish_reason="stop", usage=USAGE))
    lines = b"".join([chunks.first(), *map(chunks.of, events), last]).decode().split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    return [ChatCompletionChunk.model_validate_json(line[len("data: ") :]) for line in lines[:-2]]


def tool_calls(chunks: Iterable[ChatCompletionChunk]) -> list[Any]:
    calls = (call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or ())
    return [call.model_dump(exclude_none=True) for call in calls]


def test_an_answer_has_text_usage_and_the_model_that_was_asked_for() -> None:
    answer = sent(ModelResponse([TextPart("Hello.")], finish_reason="stop", usage=USAGE))
    assert answer.choices[0].message.content == "Hello."
    assert answer.model == "openai:m"
    usage = answer.usage
    assert usage
    assert usage.prompt_tokens_details
    assert usage.completion_tokens_details
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (7, 3, 10)
    assert usage.prompt_tokens_details.cached_tokens == 2
    assert usage.completion_tokens_details.reasoning_tokens == 1


def test_thinking_is_not_shown() -> None:
    answer = sent(ModelResponse([ThinkingPart("Hm."), TextPart("Hello.")]))
    assert answer.choices[0].message.content == "Hello."


def test_an_answer_has_tool_calls() -> None:
    call = ToolCallPart("weather", {"city": "Rome"}, "call_1")
    (choice,) = sent(ModelResponse([call], finish_reason="tool_call")).choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    assert choice.message.model_dump()["tool_calls"] == [
        {
            "id": "call_1",
            "type": "function",
            "function": {"name": "weather", "arguments": '{"city":"Rome"}'},
        }
    ]


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("content_filter", "content_filter"),
        ("tool_call", "tool_calls"),
        (None, "stop"),
    ],
)
def test_finish_reasons_are_openais(reason: FinishReason | None, shown: str) -> None:
    end = ModelResponse([], finish_reason=reason)
    assert sent(end).choices[0].finish_reason == shown
    assert streamed(end=end)[-1].choices[0].finish_reason == shown


def test_an_answer_with_tool_calls_says_so_where_its_provider_does_not() -> None:
    end = ModelResponse([ToolCallPart("time")], finish_reason="stop")
    assert sent(end).choices[0].finish_reason == "tool_calls"


def test_a_refusal_is_shown_as_one() -> None:
    said = {"refusal": "No."}
    end = ModelResponse([], finish_reason="content_filter", provider_details=said)
    assert sent(end).choices[0].message.refusal == "No."
    assert streamed(end=end)[-1].choices[0].delta.refusal == "No."


def test_a_stream_begins_with_the_role_and_ends_with_the_reason() -> None:
    first, text, more, last = streamed(
        PartStartEvent(index=0, part=TextPart('Hel"')),
        PartDeltaEvent(index=0, delta=TextPartDelta("lo\n\u2028🙂")),
        PartEndEvent(index=0, part=TextPart('Hel"lo\n\u2028🙂')),
    )
    assert first.choices[0].delta.role == "assistant"
    assert [text.choices[0].delta.content, more.choices[0].delta.content] == [
        'Hel"',
        "lo\n\u2028🙂",
    ]
    assert last.choices[0].finish_reason == "stop"
    assert {first.id, text.id, more.id, last.id} == {first.id}
    assert first.usage is None


def test_usage_comes_in_a_chunk_of_its_own_where_it_is_asked_for() -> None:
    *_, end, usage = streamed(usage=True)
    assert end.usage is None
    assert usage.choices == []
    assert usage.usage
    assert usage.usage.total_tokens == 10


def test_tool_calls_are_streamed_with_their_own_numbers() -> None:
    chunks = streamed(
        PartStartEvent(index=0, part=TextPart("Let me see.")),
        PartStartEvent(index=1, part=ToolCallPart("weather", '{"ci', "call_1")),
        PartDeltaEvent(index=1, delta=ToolCallPartDelta(args_delta='ty":1}')),
        PartEndEvent(index=1, part=ToolCallPart("weather", '{"city":1}', "call_1")),
        PartStartEvent(index=2, part=ToolCallPart("time", None, "call_2")),
        PartEndEvent(index=2, part=ToolCallPart("time", None, "call_2")),
    )
    assert tool_calls(chunks) == [
        {
            "index": 0,
            "id": "call_1",
            "type": "function",
            "function": {"name": "weather", "arguments": '{"ci'},
        },
        {"index": 0, "function": {"arguments": 'ty":1}'}},
        {
            "index": 1,
            "id": "call_2",
            "type": "function",
            "function": {"name": "time", "arguments": ""},
        },
        {"index": 1, "function": {"arguments": "{}"}},
    ]


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (BadRequest("No."), 400, "invalid_request_error"),
        (InvalidRequest("No."), 400, "invalid_request_error"),
        (Unauthorized("No."), 401, "authentication_error"),
        (TooManyRequests("No."), 429, "rate_limit_error"),
        (ServiceError("No."), 500, "server_error"),
    ],
)
def test_errors_have_openais_types_and_statuses(
    error: ServiceError, status: int, kind: str
) -> None:
    response = error_response(error)
    assert response.status_code == status
    assert json.loads(bytes(response.body)) == {
        "error": {"message": "No.", "type": kind, "param": None, "code": error.code}
    }


def test_an_error_keeps_its_headers_and_says_which_field_is_wrong() -> None:
    response = error_response(TooManyRequests("Wait.", headers={"Retry-After": "3"}, param="n"))
    assert response.headers["Retry-After"] == "3"
    assert json.loads(bytes(response.body))["error"]["param"] == "n"


def test_an_error_in_a_stream_is_an_event() -> None:
    event = error_event(BadRequest("No."))
    assert event.endswith(b"\n\n")
    assert json.loads(event.removeprefix(b"data: "))["error"]["code"] == "bad_request"
