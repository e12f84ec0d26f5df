"""Structured output: a text in, data of a type that the service defines out.

A model's answer that does not fit the type goes back to it once, with what was wrong. An answer
that was cut off is never mended: what is missing in it cannot be told from what is not there.
"""

from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, Field, ValidationError
from pydantic_ai import Agent, CallToolsNode, ModelRequest
from pydantic_ai.exceptions import UnexpectedModelBehavior
from pydantic_ai.models import Model

from app.llm.calls import Call, Calls, answering
from app.llm.failures import sendable
from app.llm.prompts import Prompt

from app.errors import message_of
from app.texts import NotBlank

T = TypeVar("T", bound=BaseModel)

Outcome = Literal["ok", "truncated", "refused", "invalid"]


class TextRequest(BaseModel, extra="forbid", strict=True):
    """A text to read. `model` is one of `GET /v1/models`; without it the configured one reads."""

    text: NotBlank
    model: str | None = None


class Usage(BaseModel):
    input_tokens: int
    output_tokens: int
    cost_usd: str | None = Field(description="A decimal number; null where no price is known")


class Result(BaseModel, Generic[T]):
    """What became of one text: `model` answered, and without `data` `detail` says why."""

    id: str
    model: str
    outcome: Outcome
    detail: str | None
    usage: Usage
    data: T | None


R = TypeVar("R", bound=Result[Any])


class Structured(Generic[R]):
    """Reads texts, under one prompt, into `data`, and answers with `result`."""

    def __init__(
        self, calls: Calls, prompt: Prompt, data: type[BaseModel], result: type[R]
    ) -> None:
        self._calls = calls
        self._prompt = prompt
        self._result = result
        self._settings = calls.settings(prompt)
        self._agent = Agent(
            output_type=data,
            instructions=prompt.render(),
            model_settings=self._settings,
            retries={"output": 1},
        )

    async def __call__(self, text: str, model_id: str | None = None) -> R:
        """Read `text`; raise `ServiceError` where it is too long, or no model answers."""
        model = self._calls.models.get(model_id)
        self._calls.refuse_long([text], param="text")
        asked = [ModelRequest.user_text_prompt(text)]
        with answering(self._prompt.name) as id:
            async with self._calls.begin(self._prompt, model, asked) as call:
                outcome, detail, data = await self._read(text, model, call)
                call.outcome = outcome
        cost = call.cost_usd
        usage = Usage(
            input_tokens=call.usage.input_tokens,
            output_tokens=call.usage.output_tokens,
            cost_usd=None if cost is None else f"{cost:f}",
        )
        return self._result(
            id=id,
            model=call.model_name,
            outcome=outcome,
            detail=detail,
            usage=usage,
            data=data,
        )

    async def _read(
        self, text: str, model: Model, call: Call
    ) -> tuple[Outcome, str | None, BaseModel | None]:
        answered = False
        try:
            async with self._agent.iter(text, model=model) as run:
                async for node in run:
                    answered = isinstance(node, CallToolsNode)
                    if not isinstance(node, CallToolsNode):
                        continue
                    response = call.take(node.model_response)
                    if response.finish_reason == "length":
                        return "truncated", self._too_long(), None
                    details = response.provider_details or {}
                    if response.finish_reason == "content_filter" or "refusal" in details:
                        why = details.get("refusal") or "The model gave no reason."
                        return "refused", sendable(why), None
                return "ok", None, run.result.output if run.result else None
        except UnexpectedModelBehavior as error:
            if not answered:  # It failed before there was anything to check.
                raise
            return "invalid", _faults(error), None

    def _too_long(self) -> str:
        most, own = self._settings.get("max_tokens"), "max_tokens" in self._prompt.parameters
        where = f"max_tokens in the prompt {self._prompt}" if own else "LLM__MAX_OUTPUT_TOKENS"
        return f"The answer was cut off. It may have {most} tokens: raise {where}, or send less."


def _faults(error: BaseException | None) -> str:
    """Say which fields did not fit, and why."""
    while not isinstance(error, ValidationError):
        if error is None:
            return "The model gave no data."
        error = error.__cause__
    found = [(".".join(map(str, e["loc"])), message_of(e)) for e in error.errors()]
    return "; ".join(f"{field}: {message}" if field else message for field, message in found)
