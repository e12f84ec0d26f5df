"""Chat: a conversation in, an answer out, whatever asks for it.

A prompt of the service's own stands before what the caller sent.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from pydantic_ai import BinaryContent, ImageUrl, direct
from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, SystemPromptPart
from pydantic_ai.models import Model, ModelRequestParameters, StreamedResponse
from pydantic_ai.profiles import ModelProfile
from pydantic_ai.settings import ModelSettings

from app.llm.calls import Call, Calls, estimated_tokens
from app.llm.prompts import Prompt

from app.errors import BadRequest


@dataclass(frozen=True)
class ChatRequest:
    """What to answer. `model` is one of `Models.ids`; None asks the configured one."""

    messages: Sequence[ModelMessage]
    model: str | None = None
    settings: ModelSettings = field(default_factory=ModelSettings)
    parameters: ModelRequestParameters = field(default_factory=ModelRequestParameters)


class Chat:
    """Answers conversations with the configured models, under one prompt."""

    def __init__(self, calls: Calls, prompt: Prompt) -> None:
        self.models = calls.models
        self._calls = calls
        self.prompt = prompt
        self._prompt_text = prompt.render()
        self._settings = calls.settings(prompt)

    @property
    def room_tokens(self) -> int:
        """How many tokens a conversation may have beside the prompt."""
        # One less: where it is estimated with the prompt, what was rounded off adds up.
        return self._calls.limits.max_input_tokens - estimated_tokens([self._prompt_text]) - 1

    async def reply(self, request: ChatRequest) -> ModelResponse:
        """Return the whole answer; raise `ServiceError` where there is none, or a part of one."""
        arguments = self._arguments(request)
        async with self._begin(request, arguments["model"]) as call:
            return call.take(await direct.model_request(**arguments))

    @asynccontextmanager
    async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamedResponse]:
        """Stream the answer, to be read to its end in the task that enters.

        Raises `ServiceError` on entering, while reading, and on leaving, where the answer turns out
        to have been cut off: only then it is known to be whole.
        """
        arguments = self._arguments(request)
        async with self._begin(request, arguments["model"]) as call:
            async with direct.model_request_stream(**arguments) as stream:
                yield stream
            call.take(stream.get())

    def _begin(self, request: ChatRequest, model: Model) -> AbstractAsyncContextManager[Call]:
        return self._calls.begin(self.prompt, model, request.messages, request.parameters)

    def _arguments(self, request: ChatRequest) -> dict[str, Any]:
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
        texts += map(str, (*asked.function_tools, asked.output_object or ""))
        self._calls.refuse_long(texts, param="messages")
        most = self._calls.limits.max_output_tokens
        if request.settings.get("max_tokens", 0) > most:
            raise BadRequest(f"Answers have at most {most} tokens here.", param="max_tokens")
        return {
            "model": model,
            "messages": messages,
            "model_settings": self._settings | request.settings,
            "model_request_parameters": request.parameters,
            "instrument": False,
        }

    def _prompted(self, messages: Sequence[ModelMessage]) -> list[ModelMessage]:
        # In one request with the caller's, for some providers know system messages only there.
        first = messages[0].parts if messages and isinstance(messages[0], ModelRequest) else ()
        prompt = SystemPromptPart(self._prompt_text)
        return [ModelRequest([prompt, *first]), *messages[1 if first else 0 :]]


def _contents(part: object) -> Sequence[object]:
    content = getattr(part, "args", None) or getattr(part, "content", None)
    return content if isinstance(content, list) else [content]


def _profile(model: Model) -> ModelProfile:
    try:
        return model.profile
    except NotImplementedError:
        return ModelProfile()  # A row of fallbacks: the one that answers knows what it takes.
