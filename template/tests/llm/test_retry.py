"""When a call is tried again, who answers instead, and which error is left in the end."""

from typing import Any

import pytest
from pydantic_ai import ModelRequest
from pydantic_ai.direct import model_request, model_request_stream
from pydantic_ai.exceptions import (
    ModelAuthenticationError,
    ModelContextWindowExceededError,
    ModelHTTPError,
    ModelNotFoundError,
    ModelQuotaExceededError,
    ModelRateLimitError,
    ModelRequestRejectedError,
    ModelServerError,
    UnexpectedModelBehavior,
)
from pydantic_ai.models import Model
from pydantic_ai.settings import ModelSettings

from app.llm.retry import RetryingModel, may_pass
from app.llm.settings import LLMSettings

from tests.llm.conftest import Scripted
from tests.llm.scripted import Turn

QUESTION = [ModelRequest.user_text_prompt("Hello?")]


async def no_wait(seconds: float) -> None:
    pass


def retrying(*models: Model, attempts: int = 3) -> RetryingModel:
    settings = LLMSettings(attempts=attempts)
    return RetryingModel(*models, settings=settings, deadline_seconds=60, sleep=no_wait)


def fails(kind: Any, status: int = 400, headers: dict[str, str] | None = None) -> Turn:
    return Turn(
        error=ModelHTTPError.for_category(
            kind, status_code=status, model_name="scripted", headers=headers
        )
    )


@pytest.mark.parametrize(
    "trouble",
    [
        fails(ModelAuthenticationError, 401),
        fails(ModelNotFoundError, 404),
        fails(ModelQuotaExceededError, 429),
        fails(ModelContextWindowExceededError),
        fails(ModelServerError, 500),
        Turn(error=UnexpectedModelBehavior("no JSON")),
        Turn(error=IndexError("choices")),
    ],
)
async def test_trouble_of_the_model_itself_is_for_a_fallback_to_answer(
    scripted: Scripted, trouble: Turn
) -> None:
    model = retrying(scripted(trouble), scripted("Yes."))
    assert (await model_request(model, QUESTION)).text == "Yes."


async def test_a_request_that_is_at_fault_goes_to_no_other_model(scripted: Scripted) -> None:
    model = retrying(scripted(fails(ModelRequestRejectedError)), scripted())
    with pytest.raises(ModelRequestRejectedError):
        await model_request(model, QUESTION)


async def test_a_fallback_answers_before_anyone_waits(scripted: Scripted) -> None:
    limited = fails(ModelRateLimitError, 429, {"Retry-After": "30"})
    model = retrying(scripted(limited), scripted("Yes."), attempts=1)
    assert (await model_request(model, QUESTION)).text == "Yes."


async def test_the_next_round_begins_with_the_configured_model(scripted: Scripted) -> None:
    down = fails(ModelServerError, 500)
    model = retrying(scripted(down, "Back."), scripted(down))
    assert (await model_request(model, QUESTION)).text == "Back."


async def test_when_all_fail_the_error_is_the_one_that_may_pass(scripted: Scripted) -> None:
    model = retrying(
        scripted(fails(ModelAuthenticationError, 401)),
        scripted(fails(ModelRateLimitError, 429)),
        attempts=1,
    )
    with pytest.raises(ModelRateLimitError):
        await model_request(model, QUESTION)


async def test_nobody_else_goes_on_with_a_stream_that_broke(scripted: Scripted) -> None:
    error = fails(ModelServerError, 500).error
    model = retrying(scripted(Turn(["Once upon"], error=error)), scripted())
    async with model_request_stream(model, QUESTION) as stream:
        await anext(aiter(stream))
        with pytest.raises(ModelServerError):
            [event async for event in stream]


async def test_only_a_stream_has_a_limit_of_silence(scripted: Scripted) -> None:
    model = scripted("One.", "Two.", "Three.")
    await model_request(retrying(model), QUESTION)
    async with model_request_stream(retrying(model), QUESTION):
        pass
    own = ModelSettings(timeout=1, temperature=0.5)
    async with model_request_stream(retrying(model), QUESTION, model_settings=own):
        pass
    assert [call.settings for call in model.calls] == [
        {},
        {"timeout": 30},
        {"timeout": 1, "temperature": 0.5},
    ]


def test_a_provider_that_says_whether_to_try_again_is_believed() -> None:
    def told(status: int, hint: str) -> ModelHTTPError:
        return ModelHTTPError(status, "m", headers={"x-should-retry": hint})

    assert not may_pass(told(500, "false"))
    assert may_pass(told(400, "true"))


@pytest.mark.parametrize(
    ("error", "transient"),
    [
        (ModelHTTPError(408, "m"), True),
        (ModelHTTPError(409, "m"), True),
        (ModelHTTPError(413, "m"), False),
        (fails(ModelQuotaExceededError, 429).error, False),
        (ValueError(), False),
    ],
)
def test_only_what_may_pass_is_tried_again(error: Exception, transient: bool) -> None:
    assert may_pass(error) is transient


async def test_an_answer_that_cannot_be_read_is_the_providers_fault(scripted: Scripted) -> None:
    broken = retrying(scripted(Turn(error=IndexError("choices"))))
    with pytest.raises(UnexpectedModelBehavior, match="cannot be read"):
        await model_request(broken, QUESTION)
