"""The API over HTTP, and as OpenAI's own SDK sees it."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from io import StringIO
from typing import Any

import openai
import pytest
from fastapi.testclient import TestClient
from openai import OpenAI
from pydantic_ai.exceptions import ModelHTTPError, ModelRateLimitError
from pydantic_ai.messages import ToolCallPart
from pydantic_ai.models import Model

from app.llm.offline import offline_model

from app.main import create_app
from app.settings import SecuritySettings, ServerSettings, Settings
from app.telemetry import configure_logs
from tests.conftest import KEY
from tests.llm.conftest import Scripted
from tests.llm.scripted import Turn
from tests.llm.serving import llm_settings, opening

PATH = "/v1/chat/completions"
HI: Any = [{"role": "user", "content": "Hi"}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}

Serve = Callable[..., TestClient]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Runs the service with the given models, and gives a client that is Alice."""
    with ExitStack() as stack:

        def start(*models: Model, settings: Settings | None = None) -> TestClient:
            app = create_app(settings or llm_settings(), opening(*(models or [offline_model()])))
            client = stack.enter_context(TestClient(app, raise_server_exceptions=False))
            client.headers["Authorization"] = f"Bearer {KEY}"
            return client

        yield start


def sdk(client: TestClient, key: str = KEY) -> OpenAI:
    url = f"{client.base_url}/v1"
    return OpenAI(api_key=key, base_url=url, http_client=client, max_retries=0)


def test_models_are_listed_the_configured_one_first(serve: Serve, scripted: Scripted) -> None:
    client = serve(scripted(name="openai:first"), scripted(name="offline"))
    listed = sdk(client).models.list().data
    assert [(m.id, m.owned_by) for m in listed] == [
        ("openai:first", "openai"),
        ("offline", "offline"),
    ]


def test_a_conversation_is_answered(serve: Serve, scripted: Scripted) -> None:
    answer = sdk(serve(scripted("Hello."))).chat.completions.create(model="scripted", messages=HI)
    assert answer.choices[0].message.content == "Hello."
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage
    assert answer.usage.total_tokens == 10
    assert answer.model == "scripted"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_the_logs_know_an_answer_by_the_id_its_caller_got(serve: Serve, stream: bool) -> None:
    client, logs = serve(), StringIO()
    configure_logs("INFO", "json", logs)
    text = client.post(PATH, json={"messages": HI, "stream": stream}).text
    answer = json.loads(text.split("\n\n")[0].removeprefix("data: "))
    lines = [json.loads(line) for line in logs.getvalue().splitlines()]
    assert [line["response_id"] for line in lines if line["event"] == "answer"] == [answer["id"]]


def test_without_a_model_the_configured_one_answers(serve: Serve, scripted: Scripted) -> None:
    client = serve(scripted("Hello."), scripted(name="second"))
    assert client.post(PATH, json={"messages": HI}).json()["model"] == "scripted"


def test_an_answer_is_streamed_without_loss(serve: Serve, scripted: Scripted) -> None:
    pieces = [f"{number} " for number in range(50)]
    stream = sdk(serve(scripted(Turn(pieces)))).chat.completions.create(
        model="scripted", messages=HI, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    deltas = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(deltas) == "".join(pieces)
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage
    assert chunks[-1].usage.completion_tokens == 3


def test_a_tool_is_called_and_its_result_answered(serve: Serve) -> None:
    client = sdk(serve())
    question: Any = {"role": "user", "content": "How is the weather in Rome?"}
    called = client.chat.completions.create(
        model="offline", messages=[question], tools=[WEATHER], tool_choice="required"
    ).choices[0]
    assert called.finish_reason == "tool_calls"
    assert called.message.tool_calls
    call_id = called.message.tool_calls[0].id
    result = {"role": "tool", "content": "sunny", "tool_call_id": call_id}
    history: Any = [question, called.message, result]
    answer = client.chat.completions.create(model="offline", messages=history, tools=[WEATHER])
    assert "sunny" in str(answer.choices[0].message.content)


def test_a_streamed_tool_call_arrives_whole(serve: Serve, scripted: Scripted) -> None:
    call = ToolCallPart("weather", '{"city": "Rome"}', "call_1")
    with sdk(serve(scripted(Turn(tool_calls=[call], finish="tool_call")))).chat.completions.stream(
        model="scripted", messages=HI, tools=[WEATHER]
    ) as stream:
        (choice,) = stream.get_final_completion().choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls
    function = choice.message.tool_calls[0].function
    assert (function.name, function.arguments) == ("weather", '{"city": "Rome"}')


def test_a_short_limit_ends_with_length(serve: Serve) -> None:
    answer = sdk(serve()).chat.completions.create(model="offline", messages=HI, max_tokens=3)
    assert answer.choices[0].finish_reason == "length"


def test_a_wrong_key_is_an_authentication_error(serve: Serve) -> None:
    client = serve()
    client.headers.pop("Authorization")
    with pytest.raises(openai.AuthenticationError) as refused:
        sdk(client, key="another-key-than-alices").models.list()
    assert refused.value.code == "invalid_api_key"


def test_an_unknown_model_is_not_found(serve: Serve) -> None:
    with pytest.raises(openai.NotFoundError) as refused:
        sdk(serve()).chat.completions.create(model="gpt-1", messages=HI)
    assert (refused.value.code, refused.value.param) == ("model_not_found", "model")


def test_a_field_of_the_wrong_type_is_a_bad_request_that_names_it(serve: Serve) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        sdk(serve()).chat.completions.create(
            model="offline",
            messages=HI,
            temperature="hot",  # type: ignore[call-overload]
        )
    assert refused.value.param == "temperature"


def test_what_is_no_json_is_a_bad_request(serve: Serve) -> None:
    answer = serve().post(PATH, content=b"{", headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_a_body_of_another_type_is_a_bad_request(serve: Serve) -> None:
    answer = serve().post(PATH, content=b'{"messages": []}', headers={"Content-Type": "text/plain"})
    assert answer.status_code == 400


def test_too_long_a_conversation_is_refused_with_the_limit(serve: Serve) -> None:
    client = serve(settings=llm_settings(max_input_tokens=1_000))
    with pytest.raises(openai.BadRequestError, match="1000") as refused:
        sdk(client).chat.completions.create(
            model="offline", messages=[{"role": "user", "content": "x" * 8_000}]
        )
    assert refused.value.code == "context_length_exceeded"


def test_too_long_a_body_is_refused_in_openais_words(serve: Serve) -> None:
    small = llm_settings().model_copy(update={"server": ServerSettings(max_body_bytes=100)})
    with pytest.raises(openai.APIStatusError) as refused:
        sdk(serve(settings=small)).chat.completions.create(
            model="offline", messages=[{"role": "user", "content": "x" * 100}]
        )
    assert (refused.value.status_code, refused.value.code) == (413, "body_too_large")


def test_the_services_rate_limit_is_a_rate_limit_error(serve: Serve) -> None:
    security = SecuritySettings(api_keys={"alice": KEY}, rate_limit="1/minute")
    client = sdk(serve(settings=llm_settings().model_copy(update={"security": security})))
    client.models.list()
    with pytest.raises(openai.RateLimitError) as refused:
        client.models.list()
    assert int(refused.value.response.headers["Retry-After"]) > 0


@pytest.mark.parametrize("stream", [False, True])
def test_a_providers_failure_has_a_status(serve: Serve, scripted: Scripted, stream: bool) -> None:
    client = sdk(serve(scripted(Turn(error=ModelRateLimitError("scripted", "Slow down.")))))
    with pytest.raises(openai.RateLimitError) as refused:
        client.chat.completions.create(model="scripted", messages=HI, stream=stream)
    assert refused.value.response.headers["Retry-After"] == "1"


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_broke_off_before_its_first_token_is_a_502(
    serve: Serve, scripted: Scripted, stream: bool
) -> None:
    client = serve(scripted(Turn(finish=None)))
    answer = client.post(PATH, json={"messages": HI, "stream": stream})
    assert answer.status_code == 502
    assert answer.json()["error"]["code"] == "provider_error"


@pytest.mark.parametrize(
    "turn",
    [
        Turn(["Hel"], finish=None),
        Turn(["Hel"], error=ModelHTTPError(500, "scripted")),
    ],
    ids=["no finish reason", "error"],
)
def test_a_stream_that_fails_ends_with_an_error_event(
    serve: Serve, scripted: Scripted, turn: Turn
) -> None:
    answer = serve(scripted(turn)).post(PATH, json={"messages": HI, "stream": True})
    assert answer.status_code == 200
    events = answer.text.strip().split("\n\n")
    assert '"Hel"' in events[1]
    assert '"code": "provider_error"' in events[-1]
    assert "[DONE]" not in answer.text
    assert '"finish_reason": "stop"' not in answer.text


def test_the_sdk_raises_what_a_stream_fails_with(serve: Serve, scripted: Scripted) -> None:
    stream = sdk(serve(scripted(Turn(["Hel"], finish=None)))).chat.completions.create(
        model="scripted", messages=HI, stream=True
    )
    with pytest.raises(openai.APIError, match="broke off"):
        list(stream)


def test_openapi_says_what_the_api_needs_and_answers(serve: Serve) -> None:
    paths = serve().get("/openapi.json").json()["paths"]
    operation = paths[PATH]["post"]
    assert operation["security"] == [{"HTTPBearer": []}]
    assert set(operation["responses"]["200"]["content"]) == {
        "application/json",
        "text/event-stream",
    }
    assert {"400", "401", "404", "413", "429", "502", "503", "504"} <= operation["responses"].keys()
    assert list(operation["responses"]["400"]["content"]) == ["application/json"]
    assert "422" not in operation["responses"]
