"""Holds that there is a lock to go behind: a pydantic-ai that has it elsewhere fails here."""

import asyncio

from pydantic_ai import ConcurrencyLimiter, ModelRequest
from pydantic_ai.direct import model_request_stream
from pydantic_ai.models.concurrency import ConcurrencyLimitedModel

from app.llm.retry import RetryingModel
from app.llm.settings import LLMSettings
from app.llm.unshared import unshared

from tests.llm.conftest import Scripted
from tests.llm.scripted import Turn


async def test_a_stream_of_the_service_is_read_from_behind_its_lock(scripted: Scripted) -> None:
    model = ConcurrencyLimitedModel(scripted(Turn(["One", " two"])), ConcurrencyLimiter(1))
    retrying = RetryingModel(model, settings=LLMSettings(), deadline_seconds=1, sleep=asyncio.sleep)
    question = [ModelRequest.user_text_prompt("Hello?")]
    async with model_request_stream(retrying, question) as stream:
        assert hasattr(aiter(stream), "source")
        assert len([event async for event in unshared(stream)]) > 2
        assert stream.get().text == "One two"
