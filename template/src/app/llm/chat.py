"""Chat: a conversation in, an answer out, whatever asks for it.

The service's own prompt stands before what the caller sent, and each call has the same limits, the
same deadline and one line in the logs. Of the words that are exchanged nothing is logged.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import structlog
from pydantic_ai import BinaryContent, ImageUrl, direct
from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, SystemPromptPart
from pydantic_ai.models import Model, ModelRequestParameters, StreamedResponse
from pydantic_ai.profiles import ModelProfile
from pydantic_ai.settings import ModelSettings

from app.llm.failures import ContextLengthExceeded, ProviderFailed, translated
from app.llm.models import Models
from app.llm.prompts import Prompts
from app.llm.settings import LLMSettings

from app.errors import BadRequest, ServiceError

_log = structlog.stdlib.get_logger("app.llm")


@dataclass(frozen=True)
class ChatRequest:
    """What to answer. `model` is one of `Models.ids`; None asks the configured one."""

    messages: Sequence[ModelMessage]
    model: str | None = None
    settings: ModelSettings = field(default_factory=ModelSettings)
    parameters: ModelRequestParameters = field(default_factory=ModelRequestParameters)


@dataclass
class _Answer:
    """What `direct` is called with, and what came of it."""

    call: dict[str, Any]
    response: ModelResponse | None = None


class Chat:
    """Answers conversations with the configured models, under the prompt `chat`."""

    def __init__(
        self, models: Models, prompts: Prompts, limits: LLMSettings, deadline_seconds: float
    ) -> None:
        self.models = models
        self.limits = limits
        self.deadline_seconds = deadline_seconds
        self._prompt = prompts.get("chat")
        self._prompt_text = self._prompt.render()
        if self._prompt.parameters.get("max_tokens", 0) > limits.max_output_tokens:
            raise ValueError(f"LLM__MAX_OUTPUT_TOKENS is less than {self._prompt} asks for")

    async def reply(self, request: ChatRequest) -> ModelResponse:
        """Return the whole answer; raise `ServiceError` where there is none, or a part of one."""
        async with self._answering(request) as answer:
            answer.response = response = await direct.model_request(**answer.call)
        return response

    @asynccontextmanager
    async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamedResponse]:
        """Stream the answer, to be read to its end in the task that enters.

        Raises `ServiceError` on entering, while reading, and on leaving, where the answer turns out
        to have been cut off: only then it is known to be whole.
        """
        async with self._answering(request) as answer:
            async with direct.model_request_stream(**answer.call) as stream:
                yield stream
            answer.response = stream.get()

    @asynccontextmanager
    async def _answering(self, request: ChatRequest) -> AsyncGenerator[_Answer]:
        answer = _Answer(self._call(request))
        started, outcome, failure = time.perf_counter(), "cancelled", dict[str, object]()
        try:
            with translated():
                async with asyncio.timeout(self.deadline_seconds):
                    yield answer
            outcome = _whole(answer.response).finish_reason or "stop"
        except Exception as error:
            outcome = error.code if isinstance(error, ServiceError) else ServiceError.code
            cause = error.__cause__ or error
            # Of what the provider said only the kind: it may have repeated what people wrote.
            status = getattr(cause, "status_code", None)
            failure = {"error": type(cause).__name__, "provider_status": status}
            raise
        finally:
            response = answer.response or ModelResponse([])
            _log.info(
                "answer",
                model=response.model_name or answer.call["model"].model_name,
                prompt=f"{self._prompt.name}/{self._prompt.version}",
                prompt_digest=self._prompt.digest,
                outcome=outcome,
                input_tokens=response.usage.input_tokens,
                output_tokens=response.usage.output_tokens,
                seconds=round(time.perf_counter() - started, 3),
                **failure,
            )

    def _call(self, request: ChatRequest) -> dict[str, Any]:
        model = self.models.get(request.model)
        messages = self._prompted(request.messages)
        contents = [c for m in messages for part in m.parts for c in _contents(part)]
        profile = _profile(model)
        has_image = any(isinstance(c, ImageUrl | BinaryContent) for c in contents)
        if has_image and not profile.get("supports_image_input", True):
            raise BadRequest(f"The model {model.model_name!r} takes no images.", param="messages")
        wants_json = request.parameters.output_mode == "prompted"
        if wants_json and not profile.get("supports_json_object_output", True):
            detail = f"The model {model.model_name!r} writes no JSON without a schema."
            raise BadRequest(detail, param="response_format")
        texts = [c for c in contents if isinstance(c, str)]
        asked = request.parameters
        self._refuse_long([*texts, *map(str, (*asked.function_tools, asked.output_object or ""))])
        most = self.limits.max_output_tokens
        if request.settings.get("max_tokens", 0) > most:
            raise BadRequest(f"Answers have at most {most} tokens here.", param="max_tokens")
        return {
            "model": model,
            "messages": messages,
            "model_settings": {"max_tokens": most, **self._prompt.parameters, **request.settings},
            "model_request_parameters": request.parameters,
            "instrument": False,
        }

    def _prompted(self, messages: Sequence[ModelMessage]) -> list[ModelMessage]:
        # In one request with the caller's, for some providers know system messages only there.
        first = messages[0].parts if messages and isinstance(messages[0], ModelRequest) else ()
        prompt = SystemPromptPart(self._prompt_text)
        return [ModelRequest([prompt, *first]), *messages[1 if first else 0 :]]

    def _refuse_long(self, texts: Sequence[str]) -> None:
        tokens, most = estimated_tokens(texts), self.limits.max_input_tokens
        if tokens > most:
            detail = f"That is about {tokens} tokens, and at most {most} are read here: send less."
            raise ContextLengthExceeded(detail, param="messages")


def estimated_tokens(texts: Sequence[str]) -> int:
    """Estimate how many tokens `texts` have: one for each four bytes of UTF-8."""
    return sum(len(text.encode(errors="replace")) for text in texts) // 4


def _contents(part: object) -> Sequence[object]:
    content = getattr(part, "args", None) or getattr(part, "content", None)
    return content if isinstance(content, list) else [content]


def _profile(model: Model) -> ModelProfile:
    try:
        return model.profile
    except NotImplementedError:
        return ModelProfile()  # A row of fallbacks: the one that answers knows what it takes.


def _whole(response: ModelResponse | None) -> ModelResponse:
    """Raise unless the provider itself said why the answer ended: nobody else knows it is whole."""
    if not response or not {"finish_reason", "refusal"} & (response.provider_details or {}).keys():
        raise ProviderFailed("The model's answer broke off.")
    if response.finish_reason == "error":
        raise ProviderFailed("The model failed while it answered.")
    return response
