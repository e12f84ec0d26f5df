"""`POST /v1/chat/completions` and `GET /v1/models`, for OpenAI's SDK and any client like it."""

from functools import partial
from http import HTTPStatus
from typing import Any, cast

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from app.llm.chat import Chat
from app.llm.event_stream import EventStream, Write, disconnected, while_connected
from app.llm.openai_answers import Chunks, completion, error_event, error_response
from app.llm.openai_api import CompletionRequest
from app.llm.settings import provider_of
from app.llm.unshared import unshared

from app.resources import Resources
from app.security import NEEDS_KEY

ERROR_FORMATS = {"/v1/chat/completions": error_response, "/v1/models": error_response}
_BODY = {"type": "object", "required": ["message", "type", "param", "code"]}
_ERROR = {"type": "object", "required": ["error"], "properties": {"error": _BODY}}
_CONTENT = {"application/json": {"schema": _ERROR}}
_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"description": HTTPStatus(status).phrase, "content": _CONTENT}
    for status in (400, 401, 403, 404, 413, 429, 500, 502, 503, 504)
}
_ERRORS["default"] = {"description": "Any other error", "content": _CONTENT}
_STREAM: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {}}}}

router = APIRouter(prefix="/v1", tags=["chat"], dependencies=[NEEDS_KEY], responses=_ERRORS)


@router.post("/chat/completions", response_model=dict[str, Any], responses=_STREAM)
async def create_completion(body: CompletionRequest, request: Request) -> Response:
    """Answer a conversation: whole, or with `stream` token by token."""
    chat, asked = _chat(request), body.to_chat()
    model = asked.model or chat.models.ids[0]
    if body.stream:
        include_usage = bool(body.stream_options and body.stream_options.include_usage)

        async def produce(write: Write) -> None:
            chunks = Chunks(model, include_usage=include_usage)
            first = chunks.first()
            async with chat.stream(asked) as stream:
                async for event in unshared(stream):
                    if chunk := chunks.of(event):
                        await write(first + chunk)
                        first = b""
            # Only now it is certain that the answer is whole.
            await write(first + chunks.last(stream.get()))

        return EventStream(produce, error_event)
    async with while_connected(partial(disconnected, request.receive)):
        return JSONResponse(completion(await chat.reply(asked), model))
    return Response(status_code=499)  # What logs say of a client that left.


@router.get("/models")
async def list_models(request: Request) -> dict[str, Any]:
    """List the models that a request may name, the configured one first."""
    ids = _chat(request).models.ids
    # When a model was made is not known here.
    models = [{"id": id, "created": 0, "owned_by": provider_of(id)} for id in ids]
    return {"object": "list", "data": [{"object": "model", **model} for model in models]}


def _chat(request: Request) -> Chat:
    return cast(Resources, request.app.state.resources).chat
