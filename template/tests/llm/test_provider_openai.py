"""What OpenAI, and servers that speak its API, are sent."""

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from pydantic_ai import ModelRequest
from pydantic_ai.direct import model_request
from pydantic_ai.exceptions import UserError
from pydantic_ai.models import Model
from pydantic_ai.settings import ModelSettings

from app.llm.providers.openai import build

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


async def test_openai_itself_hears_max_completion_tokens(
    http: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    model = build("openai-chat", "m", "a-key", None, http)
    assert model.profile.get("openai_chat_supports_max_completion_tokens", True)
