"""A local server that embeds as OpenAI's `/v1/embeddings` does, and fails as it does.

A text's vector is `(1, its length)`, so that a test can tell whose it is. A test scripts one
`Reply` a request; where it scripts none, the request succeeds.
"""

import json
import threading
from base64 import b64encode
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from struct import pack
from typing import Any


@dataclass(frozen=True)
class Reply:
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    # The provider's words of an error; {key} is the key it was sent.
    code: str = "server_error"
    message: str = "It went wrong."
    # Vectors that are missing at the end.
    missing: int = 0
    # Sent as it is instead of an answer.
    raw: bytes | None = None
    # Held back until it is set.
    gate: threading.Event | None = None


@dataclass
class EmbeddingStub:
    base_url: str = ""
    # The body of each request as it arrived, and its key.
    received: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    replies: deque[Reply] = field(default_factory=deque)

    @property
    def batches(self) -> list[list[str]]:
        return [body["input"] for body in self.received]

    def script(self, *replies: Reply) -> None:
        self.replies.extend(replies)

    def answer(self, body: dict[str, Any], key: str) -> tuple[Reply, bytes]:
        self.received.append(body)
        self.keys.append(key)
        reply = self.replies.popleft() if self.replies else Reply()
        if reply.gate:
            reply.gate.wait(5)
        if reply.raw is not None:
            return reply, reply.raw
        if reply.status != 200:
            error = {"message": reply.message.format(key=key), "code": reply.code, "type": "x"}
            return reply, json.dumps({"error": error}).encode()
        vectors = [(1.0, float(len(text))) for text in body["input"]]
        data = [
            {"object": "embedding", "index": index, "embedding": _encoded(vector, body)}
            for index, vector in enumerate(vectors[: len(vectors) - reply.missing])
        ]
        usage = {"prompt_tokens": 1, "total_tokens": 1}
        whole = {"object": "list", "data": data, "model": body["model"], "usage": usage}
        return reply, json.dumps(whole).encode()


def _encoded(vector: tuple[float, ...], body: dict[str, Any]) -> str | tuple[float, ...]:
    if body.get("encoding_format") != "base64":
        return vector
    return b64encode(pack(f"<{len(vector)}f", *vector)).decode()


@contextmanager
def running_stub() -> Iterator[EmbeddingStub]:
    """Serve a stub on a free port of the loopback interface."""
    stub = EmbeddingStub()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            key = self.headers.get("Authorization", "").removeprefix("Bearer ")
            known = self.path == "/v1/embeddings"
            reply, answer = stub.answer(body, key) if known else (Reply(404), b"{}")
            self.send_response(reply.status)
            for name, value in {"Content-Type": "application/json", **reply.headers}.items():
                self.send_header(name, value)
            # A client that gave up has left.
            with suppress(ConnectionError):
                self.end_headers()
                self.wfile.write(answer)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            stub.base_url = f"http://127.0.0.1:{server.server_port}/v1"
            yield stub
        finally:
            server.shutdown()
            thread.join()
