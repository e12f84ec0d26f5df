"""What clients of OpenAI's Chat Completions API get: answers, the chunks of a stream, and errors.

A chunk differs from the one before in a few characters: what they share is encoded once, so that
passing on a token costs little more than writing it.
"""

import json
import time
from collections.abc import Mapping

from pydantic_ai import messages as ai
from pydantic_ai.usage import RequestUsage
from starlette.responses import JSONResponse, Response

from app.errors import ServiceError

Json = dict[str, object]


def completion(id: str, response: ai.ModelResponse, model: str) -> Json:
    """Make the body that answers a request for `model`."""
    message: Json = {"role": "assistant", "content": response.text, "refusal": _refusal(response)}
    if calls := response.tool_calls:
        message["tool_calls"] = [
            _tool_call(call.tool_name, call.args_as_json_str(), call.tool_call_id) for call in calls
        ]
    choice = {"index": 0, "message": message, "finish_reason": _finish_reason(response)}
    usage = _usage(response.usage)
    return {**_head(id, "chat.completion", model), "choices": [choice], "usage": usage}


class Chunks:
    """Makes the events of one stream."""

    def __init__(self, id: str, model: str, *, include_usage: bool) -> None:
        head = json.dumps(_head(id, "chat.completion.chunk", model))
        self._head = f'data: {head[:-1]}, "choices": '.encode()
        self._tail = b', "usage": null}\n\n' if include_usage else b"}\n\n"
        self._before_text = self._head + b'[{"index": 0, "delta": {"content": '
        self._after_text = b'}, "finish_reason": null}]' + self._tail
        self._include_usage = include_usage
        # Part of the answer -> its position among the tool calls.
        self._positions: dict[int, int] = {}

    def first(self) -> bytes:
        return self._chunk({"role": "assistant", "content": ""})

    def of(self, event: ai.ModelResponseStreamEvent) -> bytes:
        """Return the chunk for `event`; it is empty where clients are told nothing."""
        match event:
            case ai.PartDeltaEvent(delta=ai.TextPartDelta(content_delta=text)):
                return self._before_text + json.dumps(text).encode() + self._after_text
            case ai.PartStartEvent(part=ai.TextPart(content=text)):
                return self._chunk({"content": text}) if text else b""
            case ai.PartStartEvent(index=index, part=ai.ToolCallPart() as part):
                self._positions[index] = len(self._positions)
                call = _tool_call(part.tool_name, _fragment(part.args), part.tool_call_id)
                return self._called(index, call)
            case ai.PartDeltaEvent(index=index, delta=ai.ToolCallPartDelta(args_delta=args)):
                return self._called(index, {"function": {"arguments": _fragment(args)}})
            case ai.PartEndEvent(index=index, part=ai.ToolCallPart(args=args)) if not args:
                # Clients read arguments as JSON, where there are none too.
                return self._called(index, {"function": {"arguments": "{}"}})
        return b""

    def last(self, response: ai.ModelResponse) -> bytes:
        """Return what ends the stream of an answer that turned out as `response`."""
        refusal = _refusal(response)
        end = self._chunk({"refusal": refusal} if refusal else {}, _finish_reason(response))
        if self._include_usage:
            usage = json.dumps({"usage": _usage(response.usage)})
            end += self._head + f"[], {usage[1:]}\n\n".encode()
        return end + b"data: [DONE]\n\n"

    def _called(self, index: int, call: Json) -> bytes:
        return self._chunk({"tool_calls": [{"index": self._positions[index], **call}]})

    def _chunk(self, delta: Json, finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        return self._head + json.dumps([choice]).encode() + self._tail


def error_object(error: ServiceError) -> Json:
    types = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
    other = "server_error" if error.status >= 500 else "invalid_request_error"
    kind = types.get(error.status, other)
    return {
        "error": {"message": error.detail, "type": kind, "param": error.param, "code": error.code}
    }


def error_response(error: ServiceError) -> Response:
    """Answer with OpenAI's error object, whose clients know an invalid request as a 400."""
    status = 400 if error.status == 422 else error.status
    return JSONResponse(error_object(error), status, headers=error.headers)


def error_event(error: ServiceError) -> bytes:
    """Tell a stream of an error, where it is too late for a status."""
    return f"data: {json.dumps(error_object(error))}\n\n".encode()


def _head(id: str, kind: str, model: str) -> Json:
    return {"id": id, "object": kind, "created": int(time.time()), "model": model}


def _tool_call(name: str, arguments: str, id: str) -> Json:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def _fragment(args: str | Mapping[str, object] | None) -> str:
    return args if isinstance(args, str) else json.dumps(args) if args else ""


def _finish_reason(response: ai.ModelResponse) -> str:
    reason = response.finish_reason or "stop"
    # Some providers call an answer complete that asks for tools.
    called = reason == "tool_call" or (reason == "stop" and response.tool_calls)
    return "tool_calls" if called else reason


def _refusal(response: ai.ModelResponse) -> object:
    return (response.provider_details or {}).get("refusal")


def _usage(usage: RequestUsage) -> Json:
    reasoning = usage.details.get("reasoning_tokens", 0)
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read_tokens},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }
