"""A model that says what a test tells it to, and fails on a call it was not told about."""

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import anyio
from pydantic_ai import RunContext
from pydantic_ai.messages import (
    FinishReason,
    ModelMessage,
    ModelResponse,
    ModelResponsePart,
    ModelResponseStreamEvent,
    TextPart,
    ToolCallPart,
)
from pydantic_ai.models import Model, ModelRequestParameters, StreamedResponse
from pydantic_ai.settings import ModelSettings
from pydantic_ai.usage import RequestUsage


@dataclass(frozen=True)
class Turn:
    """What the model says in one call: text, piece by piece, or tool calls, or how it fails."""

    pieces: Sequence[str] = ()
    tool_calls: Sequence[ToolCallPart] = ()
    # Without one, a stream ends as one that was cut.
    finish: FinishReason | None = "stop"
    input_tokens: int = 7
    output_tokens: int = 3
    # Raised once the pieces are out (streamed), or instead of them.
    error: Exception | None = None
    # Waited for once the pieces are out (streamed), or before them.
    gate: anyio.Event | None = None

    def usage(self) -> RequestUsage:
        return RequestUsage(input_tokens=self.input_tokens, output_tokens=self.output_tokens)


@dataclass(frozen=True)
class Call:
    """What the model was asked."""

    messages: list[ModelMessage]
    settings: ModelSettings
    parameters: ModelRequestParameters


class ScriptedModel(Model):
    """Takes one `Turn` a call, in order; a plain string is a turn that says it in one piece.

    `finish()` fails on turns that are left, and on calls that no turn was left for: the service
    may have turned the error that such a call raised into an answer.
    """

    def __init__(self, *turns: Turn | str, name: str = "scripted") -> None:
        super().__init__()
        self._name = name
        self.turns = deque(Turn([t]) if isinstance(t, str) else t for t in turns)
        self.calls: list[Call] = []
        self.unexpected = 0

    @property
    def model_name(self) -> str:
        return self._name

    @property
    def system(self) -> str:
        return "test"

    def finish(self) -> None:
        assert not self.unexpected, f"{self._name}: {self.unexpected} calls too many"
        assert not self.turns, f"{self._name}: {len(self.turns)} turns are left"

    def _next(
        self,
        messages: list[ModelMessage],
        settings: ModelSettings | None,
        parameters: ModelRequestParameters,
    ) -> Turn:
        self.calls.append(Call(list(messages), settings or ModelSettings(), parameters))
        if not self.turns:
            self.unexpected += 1
            raise AssertionError(f"{self._name}: call {len(self.calls)} is not in the script")
        return self.turns.popleft()

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        turn = self._next(messages, model_settings, model_request_parameters)
        if turn.gate:
            await turn.gate.wait()
        if turn.error:
            raise turn.error
        text: list[ModelResponsePart] = [TextPart("".join(turn.pieces))] if turn.pieces else []
        return ModelResponse(
            parts=[*text, *turn.tool_calls],
            usage=turn.usage(),
            model_name=self._name,
            provider_name="test",
            finish_reason=turn.finish,
            provider_details={"finish_reason": turn.finish} if turn.finish else None,
        )

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: RunContext[Any] | None = None,
    ) -> AsyncGenerator[StreamedResponse]:
        turn = self._next(messages, model_settings, model_request_parameters)
        yield ScriptedStream(model_request_parameters, turn=turn, name=self._name)


@dataclass
class ScriptedStream(StreamedResponse):
    turn: Turn = field(kw_only=True)
    name: str = field(kw_only=True)
    began: datetime = field(default_factory=lambda: datetime.now(UTC), kw_only=True)

    async def _get_event_iterator(self) -> AsyncIterator[ModelResponseStreamEvent]:
        for piece in self.turn.pieces:
            for event in self._parts_manager.handle_text_delta(vendor_part_id=0, content=piece):
                yield event
        if self.turn.gate:
            await self.turn.gate.wait()
        if self.turn.error:
            raise self.turn.error
        for call in self.turn.tool_calls:
            yield self._parts_manager.handle_part(vendor_part_id=call.tool_call_id, part=call)
        self._usage = self.turn.usage()
        if self.turn.finish:
            self.finish_reason = self.turn.finish
            self.provider_details = {"finish_reason": self.turn.finish}

    async def close_stream(self) -> None:
        pass

    @property
    def model_name(self) -> str:
        return self.name

    @property
    def provider_name(self) -> str:
        return "test"

    @property
    def provider_url(self) -> None:
        return None

    @property
    def timestamp(self) -> datetime:
        return self.began
