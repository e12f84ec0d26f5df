"""What the language model does over HTTP.

`POST /v1/chat/completions` and `GET /v1/models` speak OpenAI's format, for its SDK and any client
like it; `POST /v1/extract` and `POST /v1/classify` are the service's own.
"""

import json
from functools import partial
from http import HTTPStatus
from typing import Any, cast

from fastapi import APIRouter, Request
from fastapi.responses import Response

from app.llm.calls import answering
from app.llm.classify import Classified
from app.llm.event_stream import EventStream, Write, disconnected, while_connected
from app.llm.extract import Extraction
from app.llm.openai_answers import Chunks, completion, error_event, error_response
from app.llm.openai_api import CompletionRequest
from app.llm.settings import provider_of
from app.llm.structured import R, Structured, TextRequest
from app.llm.unshared import unshared

from app.errors import problems
from app.resources import Resources
from app.security import NEEDS_KEY

ERROR_FORMATS = {"/v1/chat/completions": error_response, "/v1/models": error_response}
COMPLETION = "chatcmpl"
CLIENT_LEFT = 499  # As logs say it; there is nobody to read it.
_STATUSES = (400, 401, 403, 404, 413, 429, 500, 502, 503, 504)
_BODY = {"type": "object", "required": ["message", "type", "param", "code"]}
_ERROR = {"type": "object", "required": ["error"], "properties": {"error": _BODY}}
_CONTENT = {"application/json": {"schema": _ERROR}}
_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"description": HTTPStatus(status).phrase, "content": _CONTENT} for status in _STATUSES
}
_ERRORS["default"] = {"description": "Any other error", "content": _CONTENT}
_STREAM: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {}}}}

router = APIRouter(prefix="/v1", dependencies=[NEEDS_KEY])
texts = APIRouter(tags=["texts"], responses=problems(*_STATUSES, 422))
openai = APIRouter(tags=["chat"], responses=_ERRORS)


@openai.post("/chat/completions", response_model=dict[str, Any], responses=_STREAM)
async def create_completion(body: CompletionRequest, request: Request) -> Response:
    """Answer a conversation: whole, or with `stream` token by token."""
    chat, asked = _resources(request).chat, body.to_chat()
    model = asked.model or chat.models.ids[0]
    if body.stream:
        include_usage = bool(body.stream_options and body.stream_options.include_usage)

        async def produce(write: Write) -> None:
            with answering(COMPLETION) as id:
                chunks = Chunks(id, model, include_usage=include_usage)
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
        with answering(COMPLETION) as id:
            answer = completion(id, await chat.reply(asked), model)
        # As ASCII: a model may write half of a surrogate pair.
        return Response(json.dumps(answer), media_type="application/json")
    return Response(status_code=CLIENT_LEFT)


@openai.get("/models")
async def list_models(request: Request) -> dict[str, Any]:
    """List the models that a request may name, the configured one first."""
    ids = _resources(request).models.ids
    # When a model was made is not known here.
    models = [{"id": id, "created": 0, "owned_by": provider_of(id)} for id in ids]
    return {"object": "list", "data": [{"object": "model", **model} for model in models]}


@texts.post("/extract", response_model=Extraction)
async def extract(body: TextRequest, request: Request) -> Extraction | Response:
    """Extract the data of a document from its text."""
    return await read_text(_resources(request).extract, body, request)


@texts.post("/classify", response_model=Classified)
async def classify(body: TextRequest, request: Request) -> Classified | Response:
    """Give a text a label."""
    return await read_text(_resources(request).classify, body, request)


async def read_text(read: Structured[R], body: TextRequest, request: Request) -> R | Response:
    """Read the text for as long as the client is there."""
    async with while_connected(partial(disconnected, request.receive)):
        return await read(body.text, body.model)
    return Response(status_code=CLIENT_LEFT)


def _resources(request: Request) -> Resources:
    return cast(Resources, request.app.state.resources)


router.include_router(openai)
router.include_router(texts)
