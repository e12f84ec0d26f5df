"""What clients of OpenAI's Chat Completions API send, as a `ChatRequest`.

Types are strict, and what would change the form of the answer but is not supported is refused by
name. Other fields are ignored: clients send many that matter to OpenAI only.
"""

import json
from collections.abc import Mapping
from itertools import groupby
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_ai import BinaryContent, ImageUrl, ToolDefinition
from pydantic_ai import messages as ai
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.output import OutputObjectDefinition
from pydantic_ai.settings import ModelSettings

from app.llm.chat import ChatRequest

from app.errors import BadRequest

UNSUPPORTED = {"audio", "function_call", "functions", "logit_bias", "logprobs", "prediction"}
UNSUPPORTED |= {"top_logprobs", "web_search_options"}


class Wire(BaseModel):
    model_config = ConfigDict(strict=True)


class TextPiece(Wire):
    type: Literal["text"]
    text: str


class ImageLocation(Wire):
    url: str = Field(pattern=r"^(https?://|data:image/)")
    detail: Literal["auto", "low", "high"] = "auto"


class ImagePiece(Wire):
    type: Literal["image_url"]
    image_url: ImageLocation


Text = str | list[TextPiece]


class SystemMessage(Wire):
    role: Literal["system", "developer"]
    content: Text


class UserMessage(Wire):
    role: Literal["user"]
    content: str | list[Annotated[TextPiece | ImagePiece, Field(discriminator="type")]]


class CalledFunction(Wire):
    name: str
    arguments: str


class ToolCall(Wire):
    id: str
    type: Literal["function"]
    function: CalledFunction


class AssistantMessage(Wire):
    role: Literal["assistant"]
    content: Text | None = None
    refusal: str | None = None
    tool_calls: list[ToolCall] | None = None


class ToolMessage(Wire):
    role: Literal["tool"]
    content: Text
    tool_call_id: str


Message = SystemMessage | UserMessage | AssistantMessage | ToolMessage


class Named(Wire):
    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    description: str | None = None
    strict: bool | None = None


class Function(Named):
    parameters: dict[str, Any] | None = None


class Tool(Wire):
    type: Literal["function"]
    function: Function


class OutputSchema(Named):
    json_schema: dict[str, Any] = Field({}, alias="schema")


class SimpleFormat(Wire):
    type: Literal["text", "json_object"]


class SchemaFormat(Wire):
    type: Literal["json_schema"]
    json_schema: OutputSchema


ResponseFormat = Annotated[SimpleFormat | SchemaFormat, Field(discriminator="type")]


class StreamOptions(Wire):
    include_usage: bool | None = None


class CompletionRequest(Wire):
    model_config = ConfigDict(extra="allow")

    messages: list[Annotated[Message, Field(discriminator="role")]] = Field(min_length=1)
    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_completion_tokens: int | None = Field(None, ge=1)
    max_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    stop: str | Annotated[list[str], Field(max_length=4)] | None = None
    tools: list[Tool] | None = None
    tool_choice: Literal["none", "auto", "required"] | Tool | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    n: int | None = Field(None, ge=1, le=1)
    modalities: list[Literal["text"]] | None = None

    @model_validator(mode="before")
    @classmethod
    def refuse_what_cannot_be_sent_on(cls, body: object) -> object:
        if isinstance(body, dict):
            _refuse_deep([body])
            # Python reads NaN and half of a surrogate pair as JSON; nobody else does.
            json.dumps(body, allow_nan=False, ensure_ascii=False).encode()
        return body

    def to_chat(self) -> ChatRequest:
        """Raises `BadRequest` where a part is not supported or does not fit another."""
        for name, value in (self.model_extra or {}).items():
            if name in UNSUPPORTED and value not in (None, False):
                raise BadRequest(f"{name} is not supported here: leave it out.", param=name)
        return ChatRequest(self._messages(), self.model, self._settings(), self._parameters())

    def _settings(self) -> ModelSettings:
        same = {"temperature", "top_p", "presence_penalty", "frequency_penalty", "seed"}
        settings = {
            **self.model_dump(include={*same, "parallel_tool_calls"}),
            "max_tokens": self.max_completion_tokens or self.max_tokens,
            "stop_sequences": [self.stop] if isinstance(self.stop, str) else self.stop,
            "tool_choice": self._tool_choice(),
        }
        return cast(ModelSettings, {k: v for k, v in settings.items() if v is not None})

    def _tool_choice(self) -> str | list[str] | None:
        names = [tool.function.name for tool in self.tools or ()]
        choice = self.tool_choice
        if choice == "required" and not names:
            raise BadRequest("There is no tool in tools to be required.", param="tool_choice")
        if not isinstance(choice, Tool):
            return choice
        if choice.function.name not in names:
            raise BadRequest(f"tools has no {choice.function.name!r}.", param="tool_choice")
        return [choice.function.name]

    def _parameters(self) -> ModelRequestParameters:
        tools = [_tool(tool.function) for tool in self.tools or ()]
        parameters = ModelRequestParameters(function_tools=tools)
        match self.response_format:
            case SimpleFormat(type="json_object"):
                parameters.output_mode = "prompted"
            case SchemaFormat(json_schema=wanted):
                parameters.output_mode = "native"
                parameters.output_object = OutputObjectDefinition(
                    wanted.json_schema, wanted.name, wanted.description, wanted.strict
                )
        return parameters

    def _messages(self) -> list[ai.ModelMessage]:
        answers = (message for message in self.messages if isinstance(message, AssistantMessage))
        tools = {call.id: call.function.name for a in answers for call in a.tool_calls or ()}
        messages: list[ai.ModelMessage] = []
        # The results of tools that were called together have to stay together.
        for answered, group in groupby(self.messages, lambda m: m.role == "assistant"):
            if answered:
                messages += [_answer(m) for m in group if isinstance(m, AssistantMessage)]
            else:
                messages.append(ai.ModelRequest([_request_part(m, tools) for m in group]))
        return messages


def _refuse_deep(level: list[Any], left: int = 100) -> None:
    # Libraries further down the way recurse, several calls for each level.
    if not left:
        raise ValueError("nest it less deeply: at most 100 levels are read")
    values = (v for one in level for v in (one.values() if isinstance(one, dict) else one))
    if deeper := [value for value in values if isinstance(value, dict | list)]:
        _refuse_deep(deeper, left - 1)


def _tool(function: Function) -> ToolDefinition:
    # The caller runs it ("external"), so the provider gets its schema as the caller wrote it.
    return ToolDefinition(
        name=function.name,
        parameters_json_schema=function.parameters or {"type": "object", "properties": {}},
        description=function.description,
        strict=function.strict or False,
        kind="external",
    )


def _answer(message: AssistantMessage) -> ai.ModelResponse:
    text = _joined(message.content or message.refusal or "")
    parts: list[ai.ModelResponsePart] = [ai.TextPart(text)] if text else []
    for call in message.tool_calls or ():
        parts.append(ai.ToolCallPart(call.function.name, call.function.arguments, call.id))
    return ai.ModelResponse(parts)


def _request_part(message: Message, tools: Mapping[str, str]) -> ai.ModelRequestPart:
    if isinstance(message, UserMessage):
        content = message.content
        return ai.UserPromptPart(
            content if isinstance(content, str) else list(map(_piece, content))
        )
    if isinstance(message, ToolMessage):
        if not (name := tools.get(message.tool_call_id)):
            raise BadRequest(f"Nothing called {message.tool_call_id!r}.", param="messages")
        return ai.ToolReturnPart(name, _joined(message.content), message.tool_call_id)
    return ai.SystemPromptPart(_joined(message.content or ""))


def _joined(text: Text) -> str:
    return text if isinstance(text, str) else "".join(piece.text for piece in text)


def _piece(piece: TextPiece | ImagePiece) -> ai.UserContent:
    if isinstance(piece, TextPiece):
        return piece.text
    url, detail = piece.image_url.url, {"detail": piece.image_url.detail}
    if not url.startswith("data:"):
        # The provider fetches it. This service must not: its network is not the caller's to reach.
        return ImageUrl(url, vendor_metadata=detail)
    try:
        image = BinaryContent.from_data_uri(url)
    except ValueError as error:
        raise BadRequest("An image is no data URL with base64.", param="messages") from error
    image.vendor_metadata = detail
    return image
