"""What is asked of models: each try, also where it is streamed, cut, or left by its caller."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio
import pytest
from fastapi.testclient import TestClient
from pydantic_ai import ModelRequest
from pydantic_ai.exceptions import ModelRateLimitError, ModelServerError
from pydantic_ai.messages import ModelResponse, TextPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.usage import RequestUsage
from starlette.types import Message

from app.llm.calls import Calls
from app.llm.chat import Chat, ChatRequest
from app.llm.failures import ProviderFailed
from app.llm.models import Models
from app.llm.prompts import Prompts
from app.llm.retry import RetryingModel
from app.llm.settings import LLMSettings
from app.monitoring import names
from app.monitoring.models import MonitoredModel
from app.monitoring.traces import CANCELLED, Monitor

from app.errors import TooManyRequests
from app.main import create_app
from app.resources import Resources, open_resources
from app.settings import Settings
from tests.conftest import KEY
from tests.llm.conftest import Scripted, scripted
from tests.llm.scripted import Turn
from tests.monitoring.conftest import Noted, attributes
from tests.monitoring.watching import monitor, reading_monitor

__all__ = ["monitor", "reading_monitor", "scripted"]
pytestmark = pytest.mark.anyio

ASKED = ChatRequest([ModelRequest.user_text_prompt("Has the canary flown?")])
HI = {"messages": [{"role": "user", "content": "Has the canary flown?"}]}
PROMPT = Prompts.load({}).get("chat")
LABELS = {
    names.OPERATION: names.CHAT,
    names.PROVIDER: "test",
    names.REQUEST_MODEL: "scripted",
    names.FEATURE: "chat",
    names.PROMPT: "chat",
    names.PROMPT_VERSION: PROMPT.version,
}
ANSWERED = {**LABELS, names.RESPONSE_MODEL: "scripted"}


def chat_with(*models: Any, attempts: int = 1) -> Chat:
    async def sleep(seconds: float) -> None:
        pass

    limits = LLMSettings(attempts=attempts)
    retrying = RetryingModel(*models, settings=limits, deadline_seconds=30, sleep=sleep)
    calls = Calls(Models({"scripted": retrying}, {}), limits, 30)
    return Chat(calls, PROMPT)


async def read(chat: Chat) -> None:
    """Read a streamed answer to its end."""
    async with chat.stream(ASKED) as stream:
        async for _ in stream:
            pass


async def test_a_whole_answer_is_noted(monitor: Monitor, noted: Noted, scripted: Scripted) -> None:
    asked = replace(ASKED, settings={"max_tokens": 50, "temperature": 0.5})
    await chat_with(MonitoredModel(scripted("It has."), monitor)).reply(asked)
    span = noted.span("chat scripted")
    assert attributes(span) == {
        **ANSWERED,
        "gen_ai.request.max_tokens": 50,
        "gen_ai.request.temperature": 0.5,
        names.OUTPUT_TYPE: "text",
        names.FINISH_REASONS: ("stop",),
        names.INPUT_TOKENS: 7,
        names.OUTPUT_TOKENS: 3,
    }
    assert span.kind.name == "CLIENT"
    assert span.status.status_code.name == "UNSET"
    (duration,) = noted.points(names.OPERATION_DURATION)
    assert duration.attributes == ANSWERED
    assert noted.sums(names.USAGE, names.KIND_OF_TOKENS) == {"input": 7, "output": 3}
    assert noted.points(names.TIME_TO_FIRST_CHUNK) == []


async def test_a_stream_is_noted_with_its_first_chunk(
    monitor: Monitor, noted: Noted, scripted: Scripted
) -> None:
    model = scripted(Turn(["It ", "has."]))
    await read(chat_with(MonitoredModel(model, monitor)))
    noticed = attributes(noted.span("chat scripted"))
    (first,) = noted.points(names.TIME_TO_FIRST_CHUNK)
    (duration,) = noted.points(names.OPERATION_DURATION)
    assert noticed[names.STREAM] is True
    assert 0 < noticed[names.FIRST_CHUNK] == first.sum < duration.sum
    assert first.attributes == duration.attributes == ANSWERED
    assert noted.sums(names.USAGE, names.KIND_OF_TOKENS) == {"input": 7, "output": 3}


async def test_cached_and_reasoning_tokens_are_parts_of_the_others(
    monitor: Monitor, noted: Noted
) -> None:
    usage = RequestUsage(
        input_tokens=100,
        cache_read_tokens=60,
        cache_write_tokens=20,
        output_tokens=50,
        output_reasoning_tokens=30,
    )

    def answer(messages: Any, info: AgentInfo) -> ModelResponse:
        ended = {"finish_reason": "stop"}
        return ModelResponse([TextPart("It has.")], usage=usage, provider_details=ended)

    await chat_with(MonitoredModel(FunctionModel(answer), monitor)).reply(ASKED)
    (span,) = noted.spans
    assert attributes(span)[names.CACHE_READ_TOKENS] == 60
    assert attributes(span)[names.CACHE_WRITE_TOKENS] == 20
    assert attributes(span)[names.REASONING_TOKENS] == 30
    counted = {
        name: noted.sums(name, names.FEATURE)["chat"]
        for name in (names.USAGE, names.CACHE_READ_USAGE, names.CACHE_WRITE_USAGE)
    }
    assert counted == {names.USAGE: 150, names.CACHE_READ_USAGE: 60, names.CACHE_WRITE_USAGE: 20}
    assert noted.sums(names.REASONING_USAGE, names.FEATURE) == {"chat": 30}


async def test_each_try_is_noted_by_itself_and_so_is_each_fallback(
    monitor: Monitor, noted: Noted, scripted: Scripted
) -> None:
    limited = ModelRateLimitError("first", "canary")
    broken = ModelServerError("first", "canary")
    first = scripted(Turn(error=limited), Turn(error=limited), name="first")
    second = scripted(Turn(error=broken), "It has.", name="second")
    models = [MonitoredModel(model, monitor) for model in (first, second)]
    with pytest.raises(TooManyRequests):
        await chat_with(*models).reply(ASKED)
    await chat_with(*models).reply(ASKED)
    ended = [(span.name, attributes(span).get(names.ERROR)) for span in noted.spans]
    assert ended == [
        ("chat first", "ModelRateLimitError"),
        ("chat second", "ModelServerError"),
        ("chat first", "ModelRateLimitError"),
        ("chat second", None),
    ]
    assert noted.counts(names.OPERATION_DURATION, names.ERROR) == {
        "ModelRateLimitError": 2,
        "ModelServerError": 1,
        None: 1,
    }
    assert "canary" not in noted.everything()


async def test_a_stream_that_is_cut_is_an_error(
    monitor: Monitor, noted: Noted, scripted: Scripted
) -> None:
    model = scripted(Turn(["It "], finish=None))
    chat = chat_with(MonitoredModel(model, monitor))
    with pytest.raises(ProviderFailed):
        await read(chat)
    span = noted.span("chat scripted")
    assert attributes(span)[names.ERROR] == "incomplete"
    assert not span.status.is_ok


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_a_caller_who_leaves_ends_the_span(
    monitor: Monitor, noted: Noted, scripted: Scripted, streamed: bool
) -> None:
    model = scripted(Turn(["It "], gate=anyio.Event()))
    chat, reached = chat_with(MonitoredModel(model, monitor)), asyncio.Event()

    async def ask() -> None:
        if not streamed:
            asyncio.get_running_loop().call_soon(reached.set)
            await chat.reply(ASKED)
        async with chat.stream(ASKED) as stream:
            async for _ in stream:
                reached.set()

    asking = asyncio.create_task(ask())
    await reached.wait()
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.wait({asking})
    span = noted.span("chat scripted")
    assert attributes(span)[names.ERROR] == CANCELLED
    assert not span.status.is_ok
    assert noted.counts(names.OPERATION_DURATION, names.ERROR) == {CANCELLED: 1}
    # Nobody said what it took, so nothing is made up here.
    assert noted.points(names.USAGE) == []


async def test_content_stays_out_unless_it_is_captured(
    monitor: Monitor, noted: Noted, scripted: Scripted
) -> None:
    model = scripted("The canary has.", Turn(["The canary ", "has."]))
    chat = chat_with(MonitoredModel(model, monitor))
    await chat.reply(ASKED)
    await read(chat)
    assert len(noted.spans) == 2
    assert "canary" not in noted.everything()


async def test_captured_content_is_redacted(
    reading_monitor: Monitor, noted: Noted, scripted: Scripted
) -> None:
    model = scripted("The canary has.")
    await chat_with(MonitoredModel(model, reading_monitor)).reply(ASKED)
    noticed = attributes(noted.span("chat scripted"))
    system, user = json.loads(noticed[names.INPUT_MESSAGES])
    assert system["role"] == "system"
    part = {"type": "text", "content": "Has the [bird] flown?"}
    assert user == {"role": "user", "parts": [part]}
    (said,) = json.loads(noticed[names.OUTPUT_MESSAGES])
    assert said["parts"] == [{"type": "text", "content": "The [bird] has."}]
    assert "canary" not in noted.everything()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_chat_is_a_part_of_its_request(client: TestClient, noted: Noted, stream: bool) -> None:
    assert client.post("/v1/chat/completions", json={**HI, "stream": stream}).status_code == 200
    span = noted.span("chat offline")
    assert noted.parent(span) == "POST /v1/chat/completions"
    assert attributes(span)[names.FEATURE] == "chat"
    assert "canary" not in noted.everything()


async def test_a_client_that_leaves_a_stream_ends_its_spans(
    settings: Settings, noted: Noted, scripted: Scripted
) -> None:
    model, begun = scripted(Turn(["It "], gate=anyio.Event())), asyncio.Event()

    @asynccontextmanager
    async def open_own(settings: Settings) -> AsyncIterator[Resources]:
        async with open_resources(settings) as resources:
            noted.listen(resources.monitoring)
            monitored = MonitoredModel(model, Monitor(resources.monitoring))
            calls = Calls(Models({model.model_name: monitored}, {}), settings.llm, 30)
            yield replace(resources, chat=Chat(calls, resources.prompts.get("chat")))

    async def receive() -> Message:
        if unread:
            return unread.pop()
        await begun.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            begun.set()

    body = json.dumps({**HI, "stream": True}).encode()
    unread: list[Message] = [{"type": "http.request", "body": body}]
    app = create_app(settings, open_own)
    headers = [(b"authorization", f"Bearer {KEY}".encode()), (b"content-type", b"application/json")]
    path = "/v1/chat/completions"
    request = {"type": "http", "method": "POST", "path": path, "query_string": b""}
    async with app.router.lifespan_context(app):
        await app({**request, "raw_path": path.encode(), "headers": headers}, receive, send)
    chat, whole = noted.span("chat scripted"), noted.span(f"POST {path}")
    assert noted.parent(chat) == whole.name
    assert attributes(chat)[names.ERROR] == CANCELLED
    assert attributes(whole)[names.ERROR] == "ConnectionError"


@pytest.mark.parametrize("task", ["extract", "classify"])
def test_a_text_that_is_read_is_a_part_of_its_request(
    client: TestClient, noted: Noted, task: str
) -> None:
    assert client.post(f"/v1/{task}", json={"text": "A canary was charged twice."}).is_success
    for span in (found := noted.named("chat offline")):
        assert noted.parent(span) == f"POST /v1/{task}"
        assert attributes(span)[names.PROMPT] == task
    assert found
    assert "canary" not in noted.everything()
