"""The model that answers when no provider is set up: deterministic, and it says what it is.

It behaves as a provider does (pieces, limits, stop sequences, tool calls, JSON), so that all that
is built on a model runs for real without a key. What it answers is decided by rules, asked in
turn; a part of the service that needs answers of its own kind brings a rule.
"""

import asyncio
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from pydantic_ai import ModelMessage, ModelResponse, RunContext, TextPart, ToolCallPart
from pydantic_ai.messages import ModelResponseStreamEvent, ToolReturnPart, UserPromptPart
from pydantic_ai.models import CompletedStreamedResponse, ModelRequestParameters, StreamedResponse
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.profiles import ModelProfile
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import ToolDefinition
from pydantic_ai.usage import RequestUsage

from app.llm.fill import fill, words

Messages = Sequence[ModelMessage]
# What the model answers to a conversation, or None to leave it to the next rule.
Rule = Callable[[Messages, AgentInfo], ModelResponse | None]


def offline_model(*rules: Rule) -> FunctionModel:
    """Build the model; it asks `rules` before its own."""
    return _OfflineModel(*rules, refuse, call_a_tool, fill_the_output, quote_the_tools, echo)


def say(text: str) -> ModelResponse:
    """Answer with a text that says where it comes from."""
    return ModelResponse([TextPart(f"Offline model: {text}")])


def user_texts(messages: Messages) -> list[str]:
    """Return what the user wrote, a text a message, without attached files."""
    return [_text(p) for x in messages for p in x.parts if isinstance(p, UserPromptPart)]


def last_text(messages: Messages) -> str:
    """Return the last thing that the user wrote."""
    return "".join(user_texts(messages)[-1:])


def refuse(messages: Messages, info: AgentInfo) -> ModelResponse | None:
    """Refuse where the user's last message asks for it, so that one can see a refusal."""
    if "[refuse]" not in last_text(messages):
        return None
    details = {"refusal": "Offline model: refused, as [refuse] asks."}
    return ModelResponse([], finish_reason="content_filter", provider_details=details)


def call_a_tool(messages: Messages, info: AgentInfo) -> ModelResponse | None:
    """Call a tool where one has to be called, or where the user's last message names one."""
    choice = (info.model_settings or {}).get("tool_choice") or "auto"
    if choice == "none" or (choice == "auto" and _tool_returns(messages)):
        return None
    tools = [t for t in info.function_tools if not isinstance(choice, list) or t.name in choice]
    said = words(last_text(messages))
    # The longest word stands for the name: "weather" for `get_weather`.
    named = [t for t in tools if max(words(t.name), key=len, default="") in said]
    wanted = named if choice == "auto" else [*named, *tools]
    return _call(wanted[0], messages) if wanted else None


def fill_the_output(messages: Messages, info: AgentInfo) -> ModelResponse | None:
    """Give the JSON that is asked for, with what the user's last message holds of it."""
    wanted = info.model_request_parameters
    if info.output_tools and not info.allow_text_output:
        return _call(info.output_tools[0], messages)
    if wanted.output_mode not in ("native", "prompted"):
        return None
    data: dict[str, Any] = {"answer": echo(messages, info).text}
    if wanted.output_object:
        schema = wanted.output_object.json_schema
        data = fill(schema, last_text(messages))
        if "rationale" in (schema.get("required") or []):
            data["rationale"] = say("chosen by its words, not by their meaning.").text
    return ModelResponse([TextPart(json.dumps(data, ensure_ascii=False))])


def quote_the_tools(messages: Messages, info: AgentInfo) -> ModelResponse | None:
    """Answer with what the tools returned."""
    returned = [f'{part.tool_name} returned "{_text(part)}"' for part in _tool_returns(messages)]
    return say(f"{' and '.join(returned)}.") if returned else None


def echo(messages: Messages, info: AgentInfo) -> ModelResponse:
    """Repeat what the user wrote, so that one sees what arrived."""
    said = [f'"{" ".join(text.split())[:300]}"' for text in user_texts(messages)]
    last = " and then ".join(said[-2:]) or "nothing"
    return say(f"no AI wrote this answer. You wrote {last}.")


class _OfflineModel(FunctionModel):
    # What an agent says of an answer that did not fit is nothing that the user wrote.
    _renders_retry_feedback = True

    def __init__(self, *rules: Rule) -> None:
        self.rules = rules
        profile = ModelProfile(
            supports_json_schema_output=True,
            supports_json_object_output=True,
            supports_image_input=False,
            default_structured_output_mode="native",
        )
        super().__init__(self.respond, model_name="offline", profile=profile)

    async def respond(self, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        response = next(filter(None, (rule(messages, info) for rule in self.rules)))
        _limit(response, info.model_settings or {})
        asked = sum(len(_tokens(_text(part))) for message in messages for part in message.parts)
        answered = sum(len(_tokens(_text(part))) for part in response.parts)
        response.usage = RequestUsage(input_tokens=asked, output_tokens=answered)
        return response

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: RunContext[Any] | None = None,
    ) -> AsyncGenerator[StreamedResponse]:
        response = await self.request(messages, model_settings, model_request_parameters)
        yield _Stream(
            response, model_request_parameters=model_request_parameters, replay_events=True
        )


class _Stream(CompletedStreamedResponse):
    """Gives an answer's text token by token, and each tool call as a whole."""

    async def _get_event_iterator(self) -> AsyncIterator[ModelResponseStreamEvent]:
        parts = self._parts_manager
        for index, part in enumerate(self.response.parts):
            if not isinstance(part, TextPart):
                yield parts.handle_part(vendor_part_id=index, part=part)
                continue
            for token in _tokens(part.content):
                await asyncio.sleep(0)
                for event in parts.handle_text_delta(vendor_part_id=index, content=token):
                    yield event

    def get(self) -> ModelResponse:
        # As far as it has been streamed.
        return replace(self.response, parts=self._parts_manager.get_parts())


def _limit(response: ModelResponse, settings: ModelSettings) -> None:
    """End a text before a stop sequence or after `max_tokens`, and say why the answer ended."""
    stops = "|".join(map(re.escape, filter(None, settings.get("stop_sequences") or [])))
    if not response.finish_reason:
        response.finish_reason = "tool_call" if response.tool_calls else "stop"
    for part in response.parts:
        if isinstance(part, TextPart):
            text = re.split(stops or r"\Z", part.content, maxsplit=1)[0]
            part.content = "".join(_tokens(text)[: settings.get("max_tokens")])
            if part.content != text:
                response.finish_reason = "length"
    # A provider names its own reason, too: a stream without one was cut.
    reason = {"finish_reason": response.finish_reason}
    response.provider_details = (response.provider_details or {}) | reason


def _call(tool: ToolDefinition, messages: Messages) -> ModelResponse:
    arguments = json.dumps(fill(tool.parameters_json_schema, last_text(messages), whole=True))
    return ModelResponse([ToolCallPart(tool.name, arguments, f"call_{len(messages)}")])


def _tool_returns(messages: Messages) -> list[ToolReturnPart]:
    return [part for part in messages[-1].parts if isinstance(part, ToolReturnPart)]


def _text(part: object) -> str:
    if isinstance(part, ToolReturnPart):
        return part.model_response_str()
    if isinstance(part, ToolCallPart):
        return part.args_as_json_str()
    content = getattr(part, "content", "")
    pieces = [content] if isinstance(content, str) else content
    return "".join(piece for piece in pieces if isinstance(piece, str))


def _tokens(text: str) -> list[str]:
    return re.findall(r"\s*\S+|\s+", text)
