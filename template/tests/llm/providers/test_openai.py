"""What OpenAI, and servers that speak its API, are sent."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from pydantic_ai import ModelRequest
from pydantic_ai.direct import model_request, model_request_stream
from pydantic_ai.exceptions import ModelServerError, UserError
from pydantic_ai.models import Model
from pydantic_ai.settings import ModelSettings

from app.llm.providers.openai import ChatStream, build

from tests.llm.stubs import Stub

QUESTION = [ModelRequest.user_text_prompt("Hello?")]


@pytest.fixture
async def http() -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient() as client:
        yield client


async def sent(stub: Stub, model: Model, settings: ModelSettings) -> dict[str, Any]:
    await model_request(model, QUESTION, model_settings=settings)
    return stub.received[-1].body


async def test_responses_are_not_stored(stub: Stub, http: httpx2.AsyncClient) -> None:
    model = build("openai", "m", "a-key", stub.openai_url, http)
    body = await sent(stub, model, ModelSettings(max_tokens=5))
    assert body["store"] is False
    assert body["max_output_tokens"] == 5
    assert stub.received[-1].headers["authorization"] == "Bearer a-key"


async def test_responses_refuse_stop_rather_than_ignore_it(
    stub: Stub, http: httpx2.AsyncClient
) -> None:
    model = build("openai", "m", "a-key", stub.openai_url, http)
    with pytest.raises(UserError, match="openai-chat"):
        await sent(stub, model, ModelSettings(stop_sequences=["."]))


async def test_a_compatible_server_needs_no_key_and_hears_max_tokens(
    stub: Stub, http: httpx2.AsyncClient
) -> None:
    model = build("openai-chat", "m", None, stub.openai_url, http)
    body = await sent(stub, model, ModelSettings(max_tokens=5, stop_sequences=["."]))
    assert body["max_tokens"] == 5
    assert body["stop"] == ["."]
    assert "max_completion_tokens" not in body
    assert "store" not in body


async def test_openai_itself_hears_max_completion_tokens() -> None:
    received: list[httpx2.Request] = []

    def fail(request: httpx2.Request) -> httpx2.Response:
        received.append(request)
        return httpx2.Response(500)

    async with httpx2.AsyncClient(transport=httpx2.MockTransport(fail)) as http:
        model = build("openai-chat", "m", "a-key", None, http)
        with pytest.raises(ModelServerError):
            await model_request(model, QUESTION, model_settings=ModelSettings(max_tokens=5))
    [request] = received
    assert request.url == "https://api.openai.com/v1/chat/completions"
    body = json.loads(request.content)
    assert body["max_completion_tokens"] == 5
    assert "max_tokens" not in body


async def test_chunks_are_read_from_behind_their_lock(stub: Stub, http: httpx2.AsyncClient) -> None:
    model = build("openai-chat", "m", None, stub.openai_url, http)
    async with model_request_stream(model, QUESTION) as stream:
        assert isinstance(stream, ChatStream)
        assert hasattr(aiter(stream._response), "source")
        assert len([event async for event in stream]) > 2
