"""What each call gets and obeys, whoever asks for it."""

from collections.abc import Sequence
from pathlib import Path
from unittest.mock import ANY

import anyio
import pytest
from pydantic_ai import ImageUrl
from pydantic_ai.exceptions import ModelHTTPError, ModelRateLimitError
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    SystemPromptPart,
    TextPart,
    ToolCallPart,
    UserPromptPart,
)
from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.settings import ModelSettings
from structlog.testing import capture_logs

from app.llm.calls import Calls, estimated_tokens
from app.llm.chat import Chat, ChatRequest
from app.llm.failures import ContextLengthExceeded, ProviderFailed, ProviderTimeout
from app.llm.models import Models, UnknownModel
from app.llm.offline import offline_model
from app.llm.prompts import Prompts
from app.llm.settings import LLMSettings

from app.errors import BadRequest, ServiceError, TooManyRequests
from tests.llm.conftest import Scripted
from tests.llm.scripted import Turn


def chat_with(*models: Model, deadline_seconds: float = 5, **limits: int) -> Chat:
    own = Models({model.model_name: model for model in models}, {})
    calls = Calls(own, LLMSettings.model_validate(limits), deadline_seconds)
    return Chat(calls, Prompts.load({}).get("chat"))


def asking(*texts: str, **settings: int) -> ChatRequest:
    messages: Sequence[ModelMessage] = [ModelRequest([UserPromptPart(text)]) for text in texts]
    return ChatRequest(messages, settings=ModelSettings(**settings))  # type: ignore[typeddict-item]


async def read(chat: Chat) -> None:
    """Read a stream to its end."""
    async with chat.stream(asking("Hi")) as stream:
        assert [event async for event in stream]


async def test_a_reply_is_the_models_answer(scripted: Scripted) -> None:
    response = await chat_with(scripted("Hello.")).reply(asking("Hi"))
    assert response.text == "Hello."
    assert response.usage.output_tokens == 3


async def test_a_stream_brings_the_same_answer_in_pieces(scripted: Scripted) -> None:
    async with chat_with(scripted(Turn(["Hel", "lo."]))).stream(asking("Hi")) as stream:
        events = [event async for event in stream]
    assert len(events) > 2
    assert stream.get().text == "Hello."


async def test_the_services_prompt_stands_before_the_callers(scripted: Scripted) -> None:
    model = scripted("Hello.")
    callers = ModelRequest([SystemPromptPart("Rhyme."), UserPromptPart("Hi")])
    await chat_with(model).reply(ChatRequest([callers]))
    (request,) = model.calls[0].messages
    prompt = SystemPromptPart(Prompts.load({}).get("chat").render(), timestamp=ANY)
    assert request.parts == [prompt, *callers.parts]


async def test_history_may_begin_with_an_answer(scripted: Scripted) -> None:
    model = scripted("Hello.")
    begun = ModelResponse([TextPart("Welcome.")])
    await chat_with(model).reply(ChatRequest([begun, *asking("Hi").messages]))
    assert [type(m) for m in model.calls[0].messages] == [ModelRequest, ModelResponse, ModelRequest]


async def test_json_without_a_schema_is_refused_where_the_model_cannot(scripted: Scripted) -> None:
    wanted = ModelRequestParameters(output_mode="prompted")
    with pytest.raises(BadRequest, match="no JSON") as refused:
        await chat_with(scripted()).reply(ChatRequest(asking("Hi").messages, parameters=wanted))
    assert refused.value.param == "response_format"


async def test_an_answer_is_as_long_as_the_service_allows_unless_asked_otherwise(
    scripted: Scripted,
) -> None:
    model = scripted("Hello.", "Hello.")
    chat = chat_with(model, max_output_tokens=100)
    await chat.reply(asking("Hi"))
    await chat.reply(asking("Hi", max_tokens=20))
    assert [call.settings["max_tokens"] for call in model.calls] == [100, 20]


async def test_a_longer_answer_than_the_service_allows_is_refused(scripted: Scripted) -> None:
    with pytest.raises(BadRequest, match="at most 100 tokens") as refused:
        await chat_with(scripted(), max_output_tokens=100).reply(asking("Hi", max_tokens=101))
    assert refused.value.param == "max_tokens"


async def test_more_input_than_the_service_allows_is_refused(scripted: Scripted) -> None:
    with pytest.raises(ContextLengthExceeded, match="at most 500 are read"):
        await chat_with(scripted(), max_input_tokens=500).reply(asking("a" * 1_000, "b" * 1_000))


async def test_arguments_of_earlier_tool_calls_count_as_input(scripted: Scripted) -> None:
    called = ModelResponse([ToolCallPart("find", '{"text": "%s"}' % ("a" * 2_000), "call_1")])
    with pytest.raises(ContextLengthExceeded):
        await chat_with(scripted(), max_input_tokens=500).reply(ChatRequest([called]))


def test_a_token_is_about_four_bytes() -> None:
    assert estimated_tokens(["four", "four"]) == 2
    assert estimated_tokens(["四四四四"]) == 3


async def test_an_unknown_model_is_refused_before_any_call(scripted: Scripted) -> None:
    with pytest.raises(UnknownModel):
        await chat_with(scripted()).reply(ChatRequest([], model="another"))


async def test_images_are_refused_where_the_model_takes_none() -> None:
    image = ModelRequest([UserPromptPart(["What is it?", ImageUrl("https://example.com/a.png")])])
    with pytest.raises(BadRequest, match="no images"):
        await chat_with(offline_model()).reply(ChatRequest([image]))


async def test_images_are_passed_on_where_the_model_takes_them(scripted: Scripted) -> None:
    model = scripted("A cat.")
    image = ModelRequest([UserPromptPart(["What is it?", ImageUrl("https://example.com/a.png")])])
    await chat_with(model).reply(ChatRequest([image]))
    assert model.calls[0].messages[-1].parts[1:] == image.parts


async def test_a_providers_failure_is_the_services_own(scripted: Scripted) -> None:
    limited = ModelRateLimitError("scripted", "Slow down.")
    with pytest.raises(TooManyRequests):
        await chat_with(scripted(Turn(error=limited))).reply(asking("Hi"))


async def test_a_failure_inside_a_stream_is_the_services_own_too(scripted: Scripted) -> None:
    failing = scripted(Turn(["Hel"], error=ModelHTTPError(500, "scripted")))
    with pytest.raises(ProviderFailed):
        await read(chat_with(failing))


async def test_an_answer_that_broke_off_is_a_failure(scripted: Scripted) -> None:
    with pytest.raises(ProviderFailed, match="broke off"):
        await chat_with(scripted(Turn(["Hel"], finish=None))).reply(asking("Hi"))


async def test_a_stream_that_broke_off_is_a_failure_when_it_is_left(scripted: Scripted) -> None:
    with pytest.raises(ProviderFailed, match="broke off"):
        await read(chat_with(scripted(Turn(["Hel"], finish=None))))


async def test_an_answer_that_the_provider_calls_an_error_is_a_failure(scripted: Scripted) -> None:
    with pytest.raises(ProviderFailed):
        await chat_with(scripted(Turn(["Hel"], finish="error"))).reply(asking("Hi"))


async def test_a_call_has_a_deadline(scripted: Scripted) -> None:
    with pytest.raises(ProviderTimeout):
        await chat_with(scripted(Turn(gate=anyio.Event())), deadline_seconds=0.01).reply(
            asking("Hi")
        )


async def test_a_stream_has_a_deadline_for_all_of_it(scripted: Scripted) -> None:
    stuck = scripted(Turn(["Hel"], gate=anyio.Event()))
    with pytest.raises(ProviderTimeout):
        await read(chat_with(stuck, deadline_seconds=0.05))


async def test_each_answer_is_one_line_in_the_logs_without_its_words(scripted: Scripted) -> None:
    chat = chat_with(scripted(Turn(["Hello."], finish="length")))
    with capture_logs() as lines:
        await chat.reply(asking("a secret"))
    (line,) = lines
    prompt = Prompts.load({}).get("chat")
    assert line.pop("seconds") >= 0
    assert line == {
        "event": "answer",
        "log_level": "info",
        "model": "scripted",
        "prompt": str(prompt),
        "cost_usd": None,
        "prompt_digest": prompt.digest,
        "outcome": "length",
        "input_tokens": 7,
        "output_tokens": 3,
    }


async def test_a_failure_is_one_line_in_the_logs_too(scripted: Scripted) -> None:
    chat = chat_with(scripted(Turn(["Hel"], finish=None)))
    with capture_logs() as lines, pytest.raises(ProviderFailed):
        await chat.reply(asking("Hi"))
    assert [line["outcome"] for line in lines] == ["provider_error"]


async def test_the_logs_say_what_kind_of_failure_it_was_and_not_its_words() -> None:
    async def refuse(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        raise ModelHTTPError(418, "m", body={"message": "a secret"})

    with capture_logs() as lines, pytest.raises(ServiceError):
        await chat_with(FunctionModel(refuse)).reply(asking("Hi"))
    assert lines[0]["error"] == "ModelHTTPError"
    assert lines[0]["provider_status"] == 418
    assert "a secret" not in str(lines)


async def test_a_prompt_that_asks_for_more_than_the_limit_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "chat").mkdir()
    (tmp_path / "chat" / "1.md").write_text(
        '+++\ndescription = "Long."\n[parameters]\nmax_tokens = 9\n+++\nBe long.\n'
    )
    prompts = Prompts.load({}, tmp_path)
    with pytest.raises(ValueError, match="LLM__MAX_OUTPUT_TOKENS is less than chat/1 asks for"):
        Chat(Calls(Models({}, {}), LLMSettings(max_output_tokens=8), 1), prompts.get("chat"))


async def test_history_may_end_with_an_answer(scripted: Scripted) -> None:
    model = scripted("world.")
    begun = ModelResponse([TextPart("Hello, ")])
    await chat_with(model).reply(ChatRequest([*asking("Hi").messages, begun]))
    assert model.calls[0].messages[-1] == begun
