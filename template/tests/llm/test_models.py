"""The real clients against a local provider: each behaves the same, whichever API it speaks."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import SecretStr
from pydantic_ai import ModelRequest, ToolDefinition
from pydantic_ai.direct import model_request, model_request_stream
from pydantic_ai.exceptions import (
    ModelAPIError,
    ModelAuthenticationError,
    ModelConnectionError,
    ModelOverloadedError,
    ModelRateLimitError,
    ModelServerError,
    ModelTimeoutError,
)
from pydantic_ai.messages import PartDeltaEvent, PartStartEvent, TextPart, TextPartDelta
from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.models.test import TestModel
from structlog.testing import capture_logs

from app.llm.failures import ProviderKeyRefused
from app.llm.models import Models, UnknownModel, open_models
from app.llm.settings import OFFLINE, LLMSettings, provider_of

from app.errors import Unavailable
from tests.llm.serving import MODELS, every_model
from tests.llm.stubs import Reply, Stub

PROVIDERS = list(dict.fromkeys(provider_of(model) for model in MODELS))
KEYS: dict[str, SecretStr | None] = {name: SecretStr("a-key") for name in PROVIDERS}
NO_KEYS: dict[str, SecretStr | None] = dict.fromkeys(PROVIDERS)
QUESTION = [ModelRequest.user_text_prompt("Hello?")]

Open = Callable[..., AbstractAsyncContextManager[Models]]


@pytest.fixture
def waits() -> list[float]:
    """The waits between attempts, which take no time here."""
    return []


@pytest.fixture
def open_(stub: Stub, waits: list[float]) -> Open:
    """Opens models whose provider is the stub."""

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    @asynccontextmanager
    async def open_(
        *, deadline_seconds: float = 30, keys: dict[str, SecretStr | None] = KEYS, **settings: Any
    ) -> AsyncIterator[Models]:
        model = settings.get("model") or PROVIDERS[0]
        base_url = None if model == OFFLINE else stub.base_url(model)
        chosen = LLMSettings.model_validate({"base_url": base_url, **settings})
        async with open_models(
            chosen, keys, deadline_seconds=deadline_seconds, offline=TestModel(), sleep=sleep
        ) as models:
            yield models

    return open_


async def streamed(model: Model, **kwargs: Any) -> tuple[list[str], Any]:
    """Stream an answer; return its pieces of text and the finished stream."""
    pieces: list[str] = []
    async with model_request_stream(model, QUESTION, **kwargs) as stream:
        async for event in stream:
            match event:
                case PartStartEvent(part=TextPart(content=text)) if text:
                    pieces.append(text)
                case PartDeltaEvent(delta=TextPartDelta(content_delta=text)):
                    pieces.append(text)
                case _:
                    pass
        return pieces, stream


async def whole(model: Model) -> list[str]:
    return [str((await model_request(model, QUESTION)).text)]


async def in_pieces(model: Model) -> list[str]:
    return (await streamed(model))[0]


both_ways = pytest.mark.parametrize("ask", [whole, in_pieces])


@every_model
async def test_an_answer_arrives_with_its_finish_reason_and_usage(open_: Open, model: str) -> None:
    async with open_(model=model) as models:
        response = await model_request(models.get(), QUESTION)
    assert response.text == "Hello there."
    assert response.finish_reason == "stop"
    assert (response.usage.input_tokens, response.usage.output_tokens) == (7, 3)


@every_model
async def test_a_streamed_answer_arrives_piece_by_piece(open_: Open, model: str) -> None:
    async with open_(model=model) as models:
        pieces, stream = await streamed(models.get())
    assert pieces == ["Hello", " there."]
    assert stream.finish_reason == "stop"
    assert "finish_reason" in stream.provider_details
    assert (stream.usage.input_tokens, stream.usage.output_tokens) == (7, 3)


@every_model
@both_ways
async def test_two_rate_limits_and_then_an_answer_are_one_answer(
    open_: Open, stub: Stub, waits: list[float], model: str, ask: Callable[[Model], Any]
) -> None:
    limited = Reply(status=429, code="rate_limit_error", headers={"Retry-After": "7"})
    stub.script(limited, limited, Reply())
    async with open_(model=model) as models:
        assert "".join(await ask(models.get())) == "Hello there."
    assert len(stub.received) == 3
    assert all(7 <= wait <= 8 for wait in waits)


@every_model
@both_ways
async def test_the_last_rate_limit_is_passed_on_with_the_time_to_wait(
    open_: Open, stub: Stub, model: str, ask: Callable[[Model], Any]
) -> None:
    limited = Reply(status=429, code="rate_limit_error", headers={"Retry-After": "7"})
    stub.script(limited, limited)
    async with open_(model=model, attempts=2) as models:
        with pytest.raises(ModelRateLimitError) as caught:
            await ask(models.get())
    assert caught.value.retry_after == 7


@every_model
@both_ways
async def test_whoever_would_wait_past_the_deadline_is_told_at_once(
    open_: Open, stub: Stub, waits: list[float], model: str, ask: Callable[[Model], Any]
) -> None:
    stub.script(Reply(status=429, code="rate_limit_error", headers={"Retry-After": "60"}))
    async with open_(model=model, deadline_seconds=30) as models:
        with pytest.raises(ModelRateLimitError):
            await ask(models.get())
    assert waits == []


@every_model
@both_ways
@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (500, "api_error", ModelServerError),
        (529, "overloaded_error", ModelOverloadedError),
        (408, "timeout", ModelAPIError),
    ],
)
async def test_trouble_that_may_pass_is_tried_as_often_as_the_settings_say(
    open_: Open,
    stub: Stub,
    model: str,
    ask: Callable[[Model], Any],
    status: int,
    code: str,
    error: type[Exception],
) -> None:
    stub.script(*[Reply(status=status, code=code)] * 3)
    async with open_(model=model, attempts=3) as models:
        with pytest.raises(error):
            await ask(models.get())
    assert len(stub.received) == 3


@every_model
@both_ways
async def test_a_refused_key_is_not_tried_again(
    open_: Open, stub: Stub, model: str, ask: Callable[[Model], Any]
) -> None:
    stub.script(Reply(status=401, code="authentication_error"))
    async with open_(model=model) as models:
        with pytest.raises(ModelAuthenticationError):
            await ask(models.get())
    assert len(stub.received) == 1


@every_model
async def test_a_stream_that_fails_before_its_first_token_is_tried_again(
    open_: Open, stub: Stub, model: str
) -> None:
    overloaded = Reply(error_after=0, code="overloaded_error", pieces=("Never",))
    stub.script(overloaded, Reply())
    async with open_(model=model) as models:
        assert await in_pieces(models.get()) == ["Hello", " there."]


@every_model
@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Reply(error_after=1, code="overloaded_error"), ModelAPIError),
        (Reply(cut_after=1), ModelConnectionError),
    ],
)
async def test_a_stream_that_fails_after_its_first_token_is_not_tried_again(
    open_: Open, stub: Stub, model: str, reply: Reply, error: type[Exception]
) -> None:
    stub.script(reply)
    async with open_(model=model) as models:
        with pytest.raises(error):
            await streamed(models.get())
    assert len(stub.received) == 1


@every_model
async def test_a_stream_without_a_finish_reason_does_not_pass_for_a_whole_one(
    open_: Open, stub: Stub, model: str
) -> None:
    stub.script(Reply(finish=None))
    async with open_(model=model) as models:
        _, stream = await streamed(models.get())
    assert "finish_reason" not in (stream.provider_details or {})


@every_model
async def test_an_answer_that_is_no_json_is_an_error(open_: Open, stub: Stub, model: str) -> None:
    stub.script(Reply(garbage=True))
    async with open_(model=model) as models:
        with pytest.raises(ModelAPIError):
            await whole(models.get())


@every_model
async def test_a_tool_reaches_the_provider_as_the_caller_wrote_it(
    open_: Open, stub: Stub, model: str
) -> None:
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Search",
        "type": "object",
        "properties": {
            "query": {"type": "string", "title": "Query", "minLength": 2, "default": "x"},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            "near": {"$ref": "#/$defs/Place"},
        },
        "required": ["query"],
        "$defs": {"Place": {"title": "Place", "type": "object", "properties": {}}},
    }
    tool = ToolDefinition(name="search", parameters_json_schema=schema, kind="external")
    stub.script(Reply(tool_call=("search", '{"query": "tea"}'), pieces=("",)))
    async with open_(model=model) as models:
        response = await model_request(
            models.get(),
            QUESTION,
            model_request_parameters=ModelRequestParameters(function_tools=[tool]),
        )
    [sent] = stub.received[0].body["tools"]
    sent = sent.get("function", sent)
    assert sent.get("parameters", sent.get("input_schema")) == schema
    assert not sent.get("strict")
    [call] = response.tool_calls
    assert (call.tool_name, call.args_as_dict()) == ("search", {"query": "tea"})


@every_model
@pytest.mark.parametrize(("ask", "gate_after"), [(whole, 0), (in_pieces, 0), (in_pieces, 1)])
async def test_a_caller_who_leaves_ends_the_call_at_the_provider(
    open_: Open, stub: Stub, model: str, ask: Callable[[Model], Any], gate_after: int
) -> None:
    stub.script(Reply(gate=Event(), gate_after=gate_after))
    async with open_(model=model) as models:
        call = asyncio.create_task(ask(models.get()))
        request = await stub.arrival()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await asyncio.to_thread(request.client_left.wait, 1)


@every_model
async def test_silence_on_the_wire_ends_a_stream(open_: Open, stub: Stub, model: str) -> None:
    stub.script(Reply(gate=Event(), gate_after=1))
    async with open_(model=model, timeout_seconds=0.1) as models:
        with pytest.raises(ModelTimeoutError):
            await streamed(models.get())


async def test_no_more_calls_are_open_than_the_settings_allow(open_: Open, stub: Stub) -> None:
    gate = Event()
    stub.script(Reply(gate=gate), Reply(gate=gate), Reply(gate=gate))
    async with open_(model=MODELS[0], max_concurrency=2) as models:
        calls = [asyncio.create_task(whole(models.get())) for _ in range(3)]
        await stub.arrival()
        await stub.arrival()
        # The third would have been sent with the two.
        await asyncio.sleep(0.05)
        assert len(stub.received) == 2
        gate.set()
        await asyncio.gather(*calls)
    assert len(stub.received) == 3


async def test_without_a_key_the_service_answers_offline(open_: Open) -> None:
    async with open_(keys=NO_KEYS, base_url=None) as models:
        assert models.ids == ("offline",)
        assert await models.check(thorough=True) == "offline"


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_the_first_key_decides_the_default_model(open_: Open, provider: str) -> None:
    async with open_(keys={**NO_KEYS, provider: SecretStr("a-key")}) as models:
        assert provider_of(models.ids[0]) == provider


async def test_callers_may_choose_the_configured_model_or_a_fallback(open_: Open) -> None:
    async with open_(model=MODELS[0], fallback_models=("offline",)) as models:
        assert models.ids == (MODELS[0], "offline")
        assert models.get(MODELS[0]) is models.get()
        assert models.get("offline") is not models.get()
        with pytest.raises(UnknownModel, match="'gpt-9': choose"):
            models.get("gpt-9")


async def test_the_fallback_answers_for_the_configured_model_only(open_: Open, stub: Stub) -> None:
    stub.script(Reply(status=401), Reply(status=401))
    other = f"{PROVIDERS[0]}:other"
    async with open_(model=MODELS[0], fallback_models=("offline", other)) as models:
        assert await whole(models.get()) == ["success (no tool calls)"]
        with pytest.raises(ModelAuthenticationError):
            await whole(models.get(other))


@pytest.mark.parametrize(
    "model", ["gpt-6-luna", "mistral:large", "anthropic-chat:m", f"{PROVIDERS[0]}:"]
)
async def test_a_model_that_no_provider_here_has_is_refused(open_: Open, model: str) -> None:
    with pytest.raises(ValueError, match=f"{model!r} is no model here: LLM__MODEL takes"):
        async with open_(model=model):
            pass


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_model_without_its_key_is_refused(open_: Open, provider: str) -> None:
    with pytest.raises(ValueError, match=f"without {provider.upper()}_API_KEY"):
        async with open_(model=f"{provider}:m", keys=NO_KEYS, base_url=None):
            pass


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_thorough_check_tells_a_refused_key_from_an_absent_provider(
    open_: Open, stub: Stub, provider: str
) -> None:
    async with open_(model=f"{provider}:m") as models:
        assert await models.check(thorough=True) == f"{provider}:m"
        stub.keys = frozenset()
        assert await models.check() == f"{provider}:m"
        with pytest.raises(ProviderKeyRefused, match=f"{provider} refuses the key"):
            await models.check(thorough=True)
    async with open_(model=f"{provider}:m", base_url="http://127.0.0.1:9") as models:
        with pytest.raises(Unavailable, match=f"{provider} cannot be reached"):
            await models.check(thorough=True)


class ListingClient:
    """The client of a provider that has these models."""

    def __init__(self, *ids: str) -> None:
        self.ids, self.models = ids, self

    async def list(self) -> AsyncIterator[SimpleNamespace]:
        for id in self.ids:
            yield SimpleNamespace(id=id)


async def test_a_thorough_check_misses_a_model_that_its_provider_does_not_list() -> None:
    async def check(*listed: str) -> str:
        models = Models({"openai:m-5": TestModel()}, {"openai": ListingClient(*listed)})
        return await models.check(thorough=True)

    for listed in (["m-4", "m-5"], ["m-5-20260131"], []):
        assert await check(*listed) == "openai:m-5"
    with pytest.raises(UnknownModel, match="openai does not list 'm-5'"):
        await check("m-4", "x-m-5")


@pytest.mark.parametrize(("ids", "level"), [(["offline"], "warning"), (["a:m", "offline"], "info")])
def test_who_answers_is_logged_and_that_nobody_does_is_a_warning(
    ids: list[str], level: str
) -> None:
    with capture_logs() as logs:
        Models(dict.fromkeys(ids, TestModel()), {}).announce()
    assert logs == [{"event": "models that answer", "ids": tuple(ids), "log_level": level}]


def test_without_a_provider_key_no_sdk_is_imported() -> None:
    code = """
import asyncio, json, sys
from pydantic_ai.models.test import TestModel
from app.llm.models import open_models
from app.llm.settings import LLMSettings

async def main():
    keys = {"openai": None, "anthropic": None}
    async with open_models(LLMSettings(), keys, deadline_seconds=1, offline=TestModel()) as models:
        models.get()

asyncio.run(main())
print(json.dumps(sorted({"openai", "anthropic"} & sys.modules.keys())))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert json.loads(done.stdout) == []


@pytest.mark.parametrize("model", [None, OFFLINE])
async def test_a_base_url_without_a_model_is_refused(model: str | None) -> None:
    chosen = LLMSettings(base_url="http://localhost:11434/v1", model=model)
    with pytest.raises(ValueError, match="LLM__BASE_URL needs LLM__MODEL to name"):
        async with open_models(chosen, NO_KEYS, deadline_seconds=1, offline=TestModel()):
            pass
