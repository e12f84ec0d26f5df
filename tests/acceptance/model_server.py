"""A provider whose model is a function, for what a list of scripted replies cannot say."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# The body of a request -> the message of the assistant.
Completing = Callable[[dict[str, Any]], dict[str, Any]]
# What the system message says, and what the user says, message by message -> the answer.
Answering = Callable[[str, Sequence[str]], str]


@contextmanager
def model_server(answering: Answering) -> Iterator[str]:
    """Serve Chat Completions, not streamed; give the base URL."""

    def complete(body: dict[str, Any]) -> dict[str, Any]:
        said = [(each["role"], _text(each["content"])) for each in body["messages"]]
        system = "\n".join(text for role, text in said if role in ("system", "developer"))
        text = answering(system, [text for role, text in said if role == "user"])
        return {"role": "assistant", "content": text}

    with completion_server(complete) as url:
        yield url


@contextmanager
def completion_server(complete: Completing) -> Iterator[str]:
    """Serve the same, with whole messages: those that call tools, too."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle(self) -> None:
            # Whoever asked may have been killed.
            with suppress(ConnectionError):
                super().handle()

        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            content = self.rfile.read(length)
            if len(content) < length:
                raise ConnectionError
            body = json.loads(content)
            message = complete(body)
            finish = "tool_calls" if message.get("tool_calls") else "stop"
            answer = {
                "id": "c",
                "object": "chat.completion",
                "created": 1,
                "model": body["model"],
                "choices": [{"index": 0, "finish_reason": finish, "message": message}],
                "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
            }
            content = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content or ())
