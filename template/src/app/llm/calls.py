"""What every use of a model has in common: limits, a deadline, and one line in the logs.

Of the words that are exchanged nothing is logged.
"""

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import cast

import structlog
from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.settings import ModelSettings
from pydantic_ai.usage import RequestUsage
from structlog.contextvars import bound_contextvars

from app.llm.failures import ContextLengthExceeded, ProviderFailed, translated
from app.llm.models import Models
from app.llm.prompts import Prompt
from app.llm.settings import OFFLINE, LLMSettings

from app.errors import ServiceError

_log = structlog.stdlib.get_logger("app.llm")


@dataclass
class Call:
    """One use of a model, and what came of it: several answers where it was asked again."""

    model_name: str
    # What the caller wrote, without the prompt.
    asked: Sequence[ModelMessage] = ()
    parameters: ModelRequestParameters = field(default_factory=ModelRequestParameters)
    # The last answer.
    response: ModelResponse | None = None
    outcome: str = "cancelled"
    usage: RequestUsage = field(default_factory=RequestUsage)
    # None where the price of an answer is not known.
    cost_usd: Decimal | None = Decimal(0)

    def take(self, response: ModelResponse | None) -> ModelResponse:
        """Note an answer; raise unless the provider said why it ended: nobody else knows that."""
        if not response or not is_whole(response):
            raise ProviderFailed("The model's answer broke off.")
        self.response = response
        self.model_name = response.model_name or self.model_name
        self.outcome = response.finish_reason or "stop"
        self.usage += response.usage
        price = price_usd(response)
        self.cost_usd = None if self.cost_usd is None or price is None else self.cost_usd + price
        if self.outcome == "error":
            raise ProviderFailed("The model failed while it answered.")
        return response


@dataclass(frozen=True)
class Calls:
    """Calls the configured models. A call has `deadline_seconds` in all."""

    models: Models
    limits: LLMSettings
    deadline_seconds: float
    # Told of each that was answered, such as to look at how well.
    answered: Callable[[Call], None] = lambda call: None

    @asynccontextmanager
    async def begin(
        self,
        prompt: Prompt,
        model: Model,
        asked: Sequence[ModelMessage],
        parameters: ModelRequestParameters | None = None,
    ) -> AsyncGenerator[Call]:
        """Make a call in the body, which hands over each answer; log what came of it.

        Raises a `ServiceError` for what fails at the provider.
        """
        call = Call(model.model_name, asked, parameters or ModelRequestParameters())
        failure = dict[str, object]()
        started = time.perf_counter()
        try:
            # Whatever is noted meanwhile is noted as this prompt's.
            with translated(), bound_contextvars(prompt=str(prompt)):
                async with asyncio.timeout(self.deadline_seconds):
                    yield call
                self.answered(call)
        except Exception as error:
            call.outcome = error.code if isinstance(error, ServiceError) else ServiceError.code
            cause = error.__cause__ or error
            # Of what the provider said only the kind: it may have repeated what people wrote.
            status = getattr(cause, "status_code", None)
            failure = {"error": type(cause).__name__, "provider_status": status}
            raise
        finally:
            _log.info(
                "answer",
                model=call.model_name,
                prompt=str(prompt),
                prompt_digest=prompt.digest,
                outcome=call.outcome,
                input_tokens=call.usage.input_tokens,
                output_tokens=call.usage.output_tokens,
                cost_usd=None if call.cost_usd is None else float(call.cost_usd),
                seconds=round(time.perf_counter() - started, 3),
                **failure,
            )

    def settings(self, prompt: Prompt) -> ModelSettings:
        """Return the settings that `prompt` asks for, within the limits."""
        most = self.limits.max_output_tokens
        if prompt.parameters.get("max_tokens", 0) > most:
            raise ValueError(f"LLM__MAX_OUTPUT_TOKENS is less than {prompt} asks for")
        return cast(ModelSettings, {"max_tokens": most, **prompt.parameters})

    def refuse_long(self, texts: Sequence[str], param: str) -> None:
        """Raise `ContextLengthExceeded` where `texts` have too many tokens together."""
        tokens, most = estimated_tokens(texts), self.limits.max_input_tokens
        if tokens > most:
            detail = f"That is about {tokens} tokens, and at most {most} are read here: send less."
            raise ContextLengthExceeded(detail, param=param)


@contextmanager
def answering(kind: str) -> Iterator[str]:
    """Give the id of the answer that the body makes; what is noted meanwhile is noted with it."""
    id = f"{kind}-{uuid.uuid4().hex}"
    with bound_contextvars(response_id=id):
        yield id


def is_whole(response: ModelResponse) -> bool:
    """Say whether the provider said why the answer ends."""
    return bool({"finish_reason", "refusal"} & (response.provider_details or {}).keys())


def estimated_tokens(texts: Sequence[str]) -> int:
    """Estimate how many tokens `texts` have: one for each four bytes of UTF-8."""
    return sum(len(text.encode(errors="replace")) for text in texts) // 4


def price_usd(response: ModelResponse) -> Decimal | None:
    """Return what an answer costs, by the price list of genai-prices; None where it has none."""
    if response.model_name == OFFLINE:
        return Decimal(0)
    if not response.model_name:
        return None
    try:
        return response.cost().total_price
    except (LookupError, ValueError):
        return None
