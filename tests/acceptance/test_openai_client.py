"""OpenAI's own client against a generated service, whatever stands behind it.

The service is a real process. Offline it answers by itself; else a local server plays the provider,
which is reached as in production, through LLM__BASE_URL or ANTHROPIC_BASE_URL.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from openai import APIStatusError, AuthenticationError, NotFoundError, OpenAI, RateLimitError
from stubs import Reply

from acceptance.conftest import Route
from acceptance.services import running, service_with
from answers import label
from conftest import Install

pytestmark = pytest.mark.slow

QUESTION: Any = [{"role": "user", "content": "What is the weather in Rome?"}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Tell the weather in a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
FORCED: Any = {"type": "function", "function": {"name": "get_weather"}}
CALL = Reply(pieces=("",), tool_call=("get_weather", '{"city": "Rome"}'))
# What each API calls an answer that was cut at `max_tokens`.
LENGTH = {"openai-chat": "length", "openai": "max_output_tokens", "anthropic": "max_tokens"}


def test_a_plain_answer_is_whole(route: Route) -> None:
    route.script(Reply())
    answer = route.client.chat.completions.create(model=route.model, messages=QUESTION)
    assert answer.model == route.model
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.usage.completion_tokens > 0
    text = answer.choices[0].message.content or ""
    assert text == "Hello there." if route.stub else "no AI wrote this answer" in text


def test_a_streamed_answer_comes_in_pieces_and_ends_with_its_usage(route: Route) -> None:
    route.script(Reply())
    chunks = list(
        route.client.chat.completions.create(
            model=route.model,
            messages=QUESTION,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    *answering, last = chunks
    texts = [c.choices[0].delta.content for c in answering if c.choices[0].delta.content]
    assert len(texts) > 1
    assert "".join(texts) == "Hello there." if route.stub else "Rome" in "".join(texts)
    assert answering[-1].choices[0].finish_reason == "stop"
    assert last.choices == []
    assert last.usage
    assert last.usage.completion_tokens > 0
    assert len({chunk.id for chunk in chunks}) == 1


def test_a_conversation_of_several_turns_arrives_as_it_was(route: Route) -> None:
    route.script(Reply())
    turns: Any = [
        {"role": "user", "content": "My name is Ada."},
        {"role": "assistant", "content": "Good day, Ada."},
        {"role": "user", "content": "What is my name?"},
    ]
    answer = route.client.chat.completions.create(model=route.model, messages=turns)
    if route.stub:
        sent = route.stub.received[-1].body
        told = json.dumps(sent.get("messages") or sent.get("input"))
        places = [told.index(turn["content"]) for turn in turns]
        assert places == sorted(places)
    else:
        text = answer.choices[0].message.content or ""
        assert "What is my name?" in text
        assert "My name is Ada." in text


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_a_forced_tool_call_comes_back_and_its_result_is_used(route: Route, streamed: bool) -> None:
    route.script(CALL, Reply(pieces=("It is ", "21 degrees.")))
    ask: Any = {"model": route.model, "messages": QUESTION, "tools": [WEATHER]}
    call = _forced_call(route.client, ask, streamed)
    assert call["function"]["name"] == "get_weather"
    assert isinstance(json.loads(call["function"]["arguments"])["city"], str)

    called = {"role": "assistant", "content": None, "tool_calls": [call]}
    result = {"role": "tool", "tool_call_id": call["id"], "content": "21 degrees"}
    ask["messages"] = [*QUESTION, called, result]
    answer = route.client.chat.completions.create(**ask)
    assert "21 degrees" in (answer.choices[0].message.content or "")
    assert answer.choices[0].finish_reason == "stop"
    if route.stub:
        assert "21 degrees" in json.dumps(route.stub.received[-1].body)


def _forced_call(client: OpenAI, ask: dict[str, Any], streamed: bool) -> dict[str, Any]:
    """Return the one call that the model had to make, as the next request repeats it."""
    if not streamed:
        choice = client.chat.completions.create(**ask, tool_choice=FORCED).choices[0]
        assert choice.finish_reason == "tool_calls"
        (call,) = choice.message.tool_calls or []
        return dict(call.model_dump(exclude_none=True))
    with client.chat.completions.stream(**ask, tool_choice=FORCED) as stream:
        choice = stream.get_final_completion().choices[0]
    assert choice.finish_reason == "tool_calls"
    (call,) = choice.message.tool_calls or []
    dumped = call.model_dump(exclude_none=True)
    dumped["function"].pop("parsed_arguments", None)
    return {"id": dumped["id"], "type": "function", "function": dumped["function"]}


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_an_answer_that_is_cut_says_length(route: Route, streamed: bool) -> None:
    route.script(Reply(finish=LENGTH.get(route.way)))
    ask: Any = {"model": route.model, "messages": QUESTION, "max_tokens": 2}
    if streamed:
        *_, last = route.client.chat.completions.create(**ask, stream=True)
        assert last.choices[0].finish_reason == "length"
    else:
        answer = route.client.chat.completions.create(**ask)
        assert answer.choices[0].finish_reason == "length"


def test_a_wrong_key_is_an_authentication_error(route: Route) -> None:
    stranger = route.service.client(key="not-the-key-of-anyone")
    with pytest.raises(AuthenticationError) as refused:
        stranger.chat.completions.create(model=route.model, messages=QUESTION)
    assert refused.value.code == "invalid_api_key"
    with pytest.raises(AuthenticationError):
        stranger.models.list()


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_an_unknown_model_is_not_found(route: Route, streamed: bool) -> None:
    with pytest.raises(NotFoundError) as refused:
        route.client.chat.completions.create(model="gpt-0", messages=QUESTION, stream=streamed)
    assert refused.value.code == "model_not_found"
    assert refused.value.param == "model"


def test_a_body_that_is_too_long_is_a_413(route: Route) -> None:
    long: Any = [{"role": "user", "content": "x" * 5_100_000}]
    with pytest.raises(APIStatusError) as refused:
        route.client.chat.completions.create(model=route.model, messages=long)
    assert refused.value.status_code == 413
    assert refused.value.code == "body_too_large"


def test_the_models_are_listed_with_the_configured_one_first(route: Route) -> None:
    assert next(iter(route.client.models.list())).id == route.model


@pytest.mark.xdist_group(label(service_with("openai")))
def test_too_many_requests_are_a_rate_limit_error_that_says_when_to_return(
    install: Install, tmp_path: Path
) -> None:
    project = install(service_with("openai"))
    with running(project, tmp_path / "log", SECURITY__RATE_LIMIT="2/hour") as service:
        client = service.client()
        for _ in range(2):
            client.chat.completions.create(model="offline", messages=QUESTION)
        with pytest.raises(RateLimitError) as refused:
            client.chat.completions.create(model="offline", messages=QUESTION)
    assert 0 < int(refused.value.response.headers["retry-after"]) <= 3600
    assert refused.value.code == "rate_limit_exceeded"
