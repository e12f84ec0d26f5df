import json
from collections.abc import Sequence
from typing import Any

from pydantic_ai import Agent
from pydantic_ai.direct import model_request, model_request_stream
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
)
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.models.function import AgentInfo
from pydantic_ai.output import OutputObjectDefinition
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import ToolDefinition

from app.llm.offline import offline_model, say

QUESTION = ModelRequest.user_text_prompt("What is the weather in Rome on 2026-05-01?")
WEATHER = ToolDefinition(
    name="get_weather",
    parameters_json_schema={
        "type": "object",
        "properties": {"city": {"type": "string"}, "day": {"type": "string", "format": "date"}},
        "required": ["city", "day"],
    },
)
CLOCK = ToolDefinition(name="get_time")


async def answer(
    *messages: ModelMessage,
    settings: ModelSettings | None = None,
    parameters: ModelRequestParameters | None = None,
) -> ModelResponse:
    return await model_request(
        offline_model(), messages, model_settings=settings, model_request_parameters=parameters
    )


async def streamed(
    *messages: ModelMessage,
    settings: ModelSettings | None = None,
    parameters: ModelRequestParameters | None = None,
) -> tuple[ModelResponse, int]:
    """Return what a stream amounts to, and in how many pieces it came."""
    async with model_request_stream(
        offline_model(), messages, model_settings=settings, model_request_parameters=parameters
    ) as stream:
        events = [event async for event in stream]
    pieces = [event for event in events if isinstance(event, PartStartEvent | PartDeltaEvent)]
    return stream.get(), len(pieces)


def with_tools(*tools: ToolDefinition) -> ModelRequestParameters:
    return ModelRequestParameters(function_tools=list(tools))


async def test_it_says_what_it_is_and_repeats_the_message() -> None:
    response = await answer(QUESTION)
    assert response.model_name == "offline"
    assert response.text == (
        "Offline model: no AI wrote this answer."
        ' You wrote "What is the weather in Rome on 2026-05-01?".'
    )


async def test_it_knows_what_was_said_before() -> None:
    first = ModelRequest.user_text_prompt("My name is Ada.")
    response = await answer(first, await answer(first), QUESTION)
    assert "My name is Ada." in (response.text or "")


async def test_the_same_question_has_the_same_answer() -> None:
    assert (await answer(QUESTION)).parts == (await answer(QUESTION)).parts


async def test_a_stream_comes_in_pieces_and_amounts_to_the_whole_answer() -> None:
    whole, (response, pieces) = await answer(QUESTION), await streamed(QUESTION)
    assert pieces > 5
    assert [part.content for part in response.parts if isinstance(part, TextPart)] == [whole.text]
    assert response.usage == whole.usage
    assert response.finish_reason == "stop"
    assert response.provider_details == {"finish_reason": "stop"}


async def test_usage_grows_with_the_conversation() -> None:
    short, long = await answer(QUESTION), await answer(QUESTION, say("Rain"), QUESTION)
    assert 0 < short.usage.input_tokens < long.usage.input_tokens


async def test_max_tokens_ends_the_answer_with_length() -> None:
    for response in (
        await answer(QUESTION, settings={"max_tokens": 3}),
        (await streamed(QUESTION, settings={"max_tokens": 3}))[0],
    ):
        assert response.text == "Offline model: no"
        assert response.usage.output_tokens == 3
        assert response.finish_reason == "length"
        assert response.provider_details == {"finish_reason": "length"}


async def test_the_answer_ends_before_a_stop_sequence() -> None:
    response = await answer(QUESTION, settings={"stop_sequences": ["never said", " wrote", "AI"]})
    assert response.text == "Offline model: no "
    assert response.finish_reason == "stop"


async def test_a_required_tool_is_called_with_arguments_from_the_text() -> None:
    settings = ModelSettings(tool_choice="required")
    parameters = with_tools(CLOCK, WEATHER)
    for response in (
        await answer(QUESTION, settings=settings, parameters=parameters),
        (await streamed(QUESTION, settings=settings, parameters=parameters))[0],
    ):
        (call,) = response.tool_calls
        assert call.tool_name == "get_weather"
        assert call.args_as_dict() == {
            "city": "What is the weather in Rome on 2026-05-01?",
            "day": "2026-05-01",
        }
        assert response.finish_reason == "tool_call"
        assert response.provider_details == {"finish_reason": "tool_call"}


async def test_a_named_tool_is_called_whatever_was_said() -> None:
    response = await answer(
        QUESTION,
        settings={"tool_choice": ["get_time"]},
        parameters=with_tools(WEATHER, CLOCK),
    )
    assert [call.tool_name for call in response.tool_calls] == ["get_time"]


async def test_of_its_own_accord_it_calls_a_tool_only_when_that_is_mentioned() -> None:
    assert (await answer(QUESTION, parameters=with_tools(WEATHER))).tool_calls
    assert not (await answer(QUESTION, parameters=with_tools(CLOCK))).tool_calls
    none = ModelSettings(tool_choice="none")
    assert not (await answer(QUESTION, settings=none, parameters=with_tools(WEATHER))).tool_calls


async def test_what_a_tool_returned_is_quoted() -> None:
    call = ModelResponse([ToolCallPart("get_weather", "{}", "call_1")])
    returned = ModelRequest([ToolReturnPart("get_weather", {"sky": "blue"}, "call_1")])
    response = await answer(QUESTION, call, returned, parameters=with_tools(WEATHER))
    assert response.text == 'Offline model: get_weather returned "{"sky":"blue"}".'


def as_json(schema: dict[str, Any] | None) -> ModelRequestParameters:
    wanted = OutputObjectDefinition(json_schema=schema) if schema else None
    return ModelRequestParameters(
        output_mode="native" if schema else "prompted", output_object=wanted
    )


async def test_a_schema_is_answered_with_json_from_the_text() -> None:
    response = await answer(QUESTION, parameters=as_json(WEATHER.parameters_json_schema))
    assert json.loads(response.text or "")["day"] == "2026-05-01"


async def test_json_without_a_schema_holds_the_answer() -> None:
    response = await answer(QUESTION, parameters=as_json(None))
    assert json.loads(response.text or "") == {"answer": (await answer(QUESTION)).text}


async def test_an_agent_runs_its_tool_and_answers() -> None:
    agent = Agent(offline_model())

    @agent.tool_plain
    def add(a: int, b: int) -> int:
        return a + b

    assert (await agent.run("Please add 2 and 3")).output == 'Offline model: add returned "5".'


async def test_an_agent_streams_each_piece_once() -> None:
    async with Agent(offline_model()).run_stream("Hi") as result:
        pieces = [piece async for piece in result.stream_text(delta=True, debounce_by=None)]
    assert len(pieces) > 5
    assert "".join(pieces) == 'Offline model: no AI wrote this answer. You wrote "Hi".'


async def test_a_rule_is_asked_first_and_may_decline() -> None:
    def greet(messages: Sequence[ModelMessage], info: AgentInfo) -> ModelResponse | None:
        return say("hello") if len(messages) == 1 else None

    agent = Agent(offline_model(greet))
    first = await agent.run("Hi")
    second = await agent.run("Again", message_history=first.all_messages())
    assert first.output == "Offline model: hello"
    assert "Again" in second.output
