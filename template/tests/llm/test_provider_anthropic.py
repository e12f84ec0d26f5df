"""What Anthropic is sent."""

import httpx2
import pytest
from pydantic_ai import ModelRequest
from pydantic_ai.direct import model_request
from pydantic_ai.settings import ModelSettings

from app.llm.providers.anthropic import build

from tests.llm.stubs import Stub


async def test_anthropic_hears_the_key_and_the_limits(
    stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_BASE_URL", stub.url)
    async with httpx2.AsyncClient() as http:
        await model_request(
            build("anthropic", "m", "a-key", None, http),
            [ModelRequest.user_text_prompt("Hello?")],
            model_settings=ModelSettings(max_tokens=5, stop_sequences=["."]),
        )
    [request] = stub.received
    assert request.headers["authorization"] == "Bearer a-key"
    assert request.body["max_tokens"] == 5
    assert request.body["stop_sequences"] == ["."]


async def test_a_gateway_is_asked_in_its_place(stub: Stub) -> None:
    async with httpx2.AsyncClient() as http:
        model = build("anthropic", "m", None, stub.url, http)
        await model_request(model, [ModelRequest.user_text_prompt("Hello?")])
    assert len(stub.received) == 1
