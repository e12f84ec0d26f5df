"""The whole way: a client, the service on a real server, and a provider that misbehaves."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from threading import Event
from typing import Any

import httpx2
import pytest
from openai import OpenAI

from app.main import create_app
from app.settings import ServerSettings
from tests.conftest import KEY
from tests.llm.serving import every_model, served, stub_settings
from tests.llm.stubs import Reply, Stub

PATH = "/v1/chat/completions"
HI: Any = [{"role": "user", "content": "Hi"}]
SCHEMA = {
    "title": "Place",
    "type": "object",
    "properties": {"city": {"type": "string", "title": "City", "default": "Rome"}},
}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}

Serve = Callable[..., httpx2.Client]


@pytest.fixture(scope="module")
def serve(stub_server: Stub) -> Iterator[Serve]:
    """Runs the service with a model of the stub's, once, and gives a client that is Alice."""
    with ExitStack() as stack:

        @cache
        def start(model: str, **sections: Any) -> httpx2.Client:
            app = create_app(stub_settings(stub_server, model, **sections))
            url = stack.enter_context(served(app))
            headers = {"Authorization": f"Bearer {KEY}"}
            return stack.enter_context(httpx2.Client(base_url=url, headers=headers, timeout=10))

        yield start


@every_model
def test_the_sdk_gets_an_answer_whole_and_streamed(serve: Serve, model: str) -> None:
    client = OpenAI(api_key=KEY, base_url=f"{serve(model).base_url}/v1", max_retries=0)
    answer = client.chat.completions.create(model=model, messages=HI)
    assert answer.choices[0].message.content == "Hello there."
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage
    assert answer.usage.total_tokens == 10
    *chunks, end, usage = client.chat.completions.create(
        model=model, messages=HI, stream=True, stream_options={"include_usage": True}
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Hello there."
    assert end.choices[0].finish_reason == "stop"
    assert usage.usage
    assert usage.usage.total_tokens == 10


@every_model
@pytest.mark.parametrize("gate_after", [0, 1])
def test_a_client_that_leaves_a_stream_ends_the_call(
    serve: Serve, stub: Stub, model: str, gate_after: int
) -> None:
    stub.script(Reply(gate=Event(), gate_after=gate_after))
    client = serve(model)
    if gate_after:
        with client.stream("POST", PATH, json={"messages": HI, "stream": True}) as answer:
            assert "Hello" in next(text for text in answer.iter_text() if "Hello" in text)
    else:
        with pytest.raises(httpx2.ReadTimeout):
            client.post(PATH, json={"messages": HI, "stream": True}, timeout=1)
    assert stub.received[0].client_left.wait(1)


@every_model
@pytest.mark.parametrize(
    ("path", "body"), [(PATH, {"messages": HI}), ("/v1/extract", {"text": "Hi"})]
)
def test_a_client_that_leaves_before_a_whole_answer_ends_the_call(
    serve: Serve, stub: Stub, model: str, path: str, body: dict[str, Any]
) -> None:
    stub.script(Reply(gate=Event()))
    with pytest.raises(httpx2.ReadTimeout):
        serve(model).post(path, json=body, timeout=1)
    assert stub.received[0].client_left.wait(1)


@every_model
@pytest.mark.parametrize("reply", [Reply(cut_after=1), Reply(finish=None), Reply(error_after=1)])
def test_a_stream_that_breaks_off_ends_with_an_error_event(
    serve: Serve, stub: Stub, model: str, reply: Reply
) -> None:
    stub.script(reply)
    answer = serve(model).post(PATH, json={"messages": HI, "stream": True})
    assert answer.status_code == 200
    events = answer.text.strip().split("\n\n")
    error = json.loads(events[-1].removeprefix("data: "))["error"]
    assert error.keys() >= {"message", "type", "code"}
    assert error["type"] == "server_error"
    assert '"Hello"' in answer.text
    assert "[DONE]" not in answer.text


@every_model
def test_the_deadline_of_a_stream_is_an_error_event(serve: Serve, stub: Stub, model: str) -> None:
    stub.script(Reply(gate=Event(), gate_after=1))
    client = serve(model, server=ServerSettings(request_seconds=0.5))
    answer = client.post(PATH, json={"messages": HI, "stream": True})
    assert answer.status_code == 200
    assert answer.text.endswith('"code": "provider_timeout"}}\n\n')


@every_model
def test_the_deadline_of_a_whole_answer_is_a_504(serve: Serve, stub: Stub, model: str) -> None:
    stub.script(Reply(gate=Event()))
    client = serve(model, server=ServerSettings(request_seconds=0.3))
    assert client.post(PATH, json={"messages": HI}).status_code == 504


@every_model
def test_tools_and_their_choice_reach_the_provider_unchanged(
    serve: Serve, stub: Stub, model: str
) -> None:
    stub.script(Reply(tool_call=("weather", '{"city": "Rome"}'), pieces=("",)))
    other = {"type": "function", "function": {"name": "time"}}
    body = {"messages": HI, "tools": [TOOL, other], "tool_choice": TOOL}
    answer = serve(model).post(PATH, json=body).json()
    (call,) = answer["choices"][0]["message"]["tool_calls"]
    assert json.loads(call["function"]["arguments"]) == {"city": "Rome"}
    sent = stub.received[0].body
    tool = sent["tools"][0]
    tool = tool.get("function", tool)
    assert tool.get("parameters", tool.get("input_schema")) == SCHEMA
    assert not tool.get("strict")
    assert "weather" in json.dumps(sent["tool_choice"])


@every_model
def test_a_streamed_tool_call_is_whole(serve: Serve, stub: Stub, model: str) -> None:
    stub.script(Reply(tool_call=("weather", '{"city": "Rome"}'), pieces=("",)))
    client = OpenAI(api_key=KEY, base_url=f"{serve(model).base_url}/v1", max_retries=0)
    with client.chat.completions.stream(
        model=model,
        messages=HI,
        tools=[TOOL],  # type: ignore[list-item]
    ) as stream:
        (choice,) = stream.get_final_completion().choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls
    function = choice.message.tool_calls[0].function
    assert (function.name, json.loads(function.arguments)) == ("weather", {"city": "Rome"})


@every_model
def test_a_tool_call_without_arguments_is_an_empty_object(
    serve: Serve, stub: Stub, model: str
) -> None:
    stub.script(Reply(tool_call=("weather", ""), pieces=("",)))
    answer = serve(model).post(PATH, json={"messages": HI, "tools": [TOOL], "stream": True})
    chunks = [json.loads(line[6:]) for line in answer.text.split("\n\n")[:-2]]
    deltas = [chunk["choices"][0]["delta"].get("tool_calls", []) for chunk in chunks]
    arguments = [call["function"]["arguments"] for calls in deltas for call in calls]
    assert json.loads("".join(arguments)) == {}


@every_model
def test_tool_history_reaches_the_provider_with_its_ids(
    serve: Serve, stub: Stub, model: str
) -> None:
    function = {"name": "weather", "arguments": '{"city": "Rome"}'}
    called = {"id": "call_7", "type": "function", "function": function}
    messages = [
        *HI,
        {"role": "assistant", "content": None, "tool_calls": [called]},
        {"role": "tool", "tool_call_id": "call_7", "content": "sunny"},
    ]
    assert serve(model).post(PATH, json={"messages": messages, "tools": [TOOL]}).is_success
    sent = json.dumps(stub.received[0].body)
    assert sent.count("call_7") == 2
    assert "sunny" in sent


@every_model
def test_arguments_that_are_no_json_are_no_server_error(
    serve: Serve, stub: Stub, model: str
) -> None:
    function = {"name": "weather", "arguments": "{broken"}
    called = {"id": "call_7", "type": "function", "function": function}
    messages = [
        *HI,
        {"role": "assistant", "tool_calls": [called]},
        {"role": "tool", "tool_call_id": "call_7", "content": "What?"},
    ]
    answer = serve(model).post(PATH, json={"messages": messages, "tools": [TOOL]})
    assert answer.status_code < 500


@every_model
def test_an_image_reaches_the_provider_as_an_address(serve: Serve, stub: Stub, model: str) -> None:
    # Nobody listens there: whoever fetched it would fail.
    url = "http://127.0.0.1:9/a-picture"
    content = [{"type": "text", "text": "?"}, {"type": "image_url", "image_url": {"url": url}}]
    body = {"messages": [{"role": "user", "content": content}]}
    assert serve(model).post(PATH, json=body).is_success
    assert url in json.dumps(stub.received[0].body)
