"""What Anthropic is sent."""

import httpx2
from pydantic_ai import ModelRequest
from pydantic_ai.direct import model_request
from pydantic_ai.settings import ModelSettings

from app.llm.providers.anthropic import build

from tests.llm.stubs import Stub


async def test_anthropic_hears_the_key_and_the_limits(stub: Stub) -> None:
    async with httpx2.AsyncClient() as http:
        await model_request(
            build("anthropic", "m", "a-key", stub.url, http),
            [ModelRequest.user_text_prompt("Hello?")],
            model_settings=ModelSettings(max_tokens=5, stop_sequences=["."]),
        )
    [request] = stub.received
    assert request.headers["authorization"] == "Bearer a-key"
    assert request.body["max_tokens"] == 5
    assert request.body["stop_sequences"] == ["."]


async def test_a_gateway_needs_no_key(stub: Stub) -> None:
    async with httpx2.AsyncClient() as http:
        model = build("anthropic", "m", None, stub.url, http)
        await model_request(model, [ModelRequest.user_text_prompt("Hello?")])
    assert len(stub.received) == 1
