"""What may happen while an answer is on its way, on real processes and connections."""

from __future__ import annotations

import http.client
import json
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from openai import APIError, OpenAI
from stubs import Reply, Stub

from acceptance.conftest import Route
from acceptance.services import KEY, Service, running, service_with
from answers import label
from conftest import Install

pytestmark = pytest.mark.slow

MESSAGES: Any = [{"role": "user", "content": "Say hello."}]
AT_ONCE = 20


@pytest.mark.xdist_group(label(service_with("openai")))
def test_sigterm_with_twenty_open_streams_loses_none_and_exits_0(
    install: Install, stub_server: Stub, tmp_path: Path
) -> None:
    held = threading.Event()
    pieces = tuple(f"word{number} " for number in range(30))
    stub_server.script(*[Reply(pieces=pieces, gate=held, gate_after=1)] * AT_ONCE)
    begun = threading.Barrier(AT_ONCE + 1)
    project = install(service_with("openai"))
    settings = {"LLM__MODEL": "openai-chat:stub", "LLM__BASE_URL": stub_server.openai_url}
    with (
        running(project, tmp_path / "log", **settings) as service,
        ThreadPoolExecutor(AT_ONCE) as clients,
    ):
        answers = [clients.submit(_read, service.client(), begun) for _ in range(AT_ONCE)]
        try:
            begun.wait(timeout=20)
            service.process.send_signal(signal.SIGTERM)
            time.sleep(1)  # Long enough for the server to have begun to stop.
            assert service.process.poll() is None
        finally:
            held.set()
        assert [a.result(timeout=20) for a in answers] == [("".join(pieces), "stop")] * AT_ONCE
        assert service.process.wait(timeout=20) == 0
    assert stub_server.forget() == []


def _read(client: OpenAI, begun: threading.Barrier) -> tuple[str, str | None]:
    """Read one stream to its end, and tell when its first words are there."""
    text, finish, waited = "", None, False
    model = "openai-chat:stub"
    with client.chat.completions.create(model=model, messages=MESSAGES, stream=True) as stream:
        for chunk in stream:
            text += chunk.choices[0].delta.content or ""
            finish = chunk.choices[0].finish_reason
            if text and not waited:
                waited = True
                begun.wait(timeout=20)
    return text, finish


@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "whole"])
def test_a_client_that_leaves_cancels_the_call_within_a_second(
    upstream: Route, streamed: bool
) -> None:
    held = threading.Event()
    upstream.script(Reply(gate=held, gate_after=1 if streamed else 0))
    assert upstream.stub
    try:
        connection = _post(upstream.service, stream=streamed)
        if streamed:
            assert b"Hello" in _read_until(connection, b"Hello")
        received = _arrival(upstream.stub)
        assert not received.client_left.is_set()
        connection.sock.close()
        connection.close()
        assert received.client_left.wait(timeout=1)
    finally:
        held.set()


def _post(service: Service, **more: object) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection(urlsplit(service.address).netloc, timeout=20)
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    body = json.dumps({"messages": MESSAGES, **more})
    connection.request("POST", "/v1/chat/completions", body, headers)
    return connection


def _read_until(connection: http.client.HTTPConnection, found: bytes) -> bytes:
    read = b""
    while found not in read and (more := connection.sock.recv(65_536)):
        read += more
    return read


def _arrival(stub: Stub) -> Any:
    deadline = time.monotonic() + 5
    while not stub.received and time.monotonic() < deadline:
        time.sleep(0.01)
    return stub.received[-1]


@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "whole"])
def test_two_429s_and_then_a_success_are_one_answer(upstream: Route, streamed: bool) -> None:
    busy = Reply(status=429, code="rate_limit_exceeded", headers={"Retry-After": "0"})
    upstream.script(busy, busy, Reply())
    ask: Any = {"model": upstream.model, "messages": MESSAGES}
    if streamed:
        chunks = list(upstream.client.chat.completions.create(**ask, stream=True))
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    else:
        text = upstream.client.chat.completions.create(**ask).choices[0].message.content
    assert text == "Hello there."
    assert upstream.stub
    assert len(upstream.stub.received) == 3


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(Reply(cut_after=1), id="cut"),
        pytest.param(Reply(finish=None), id="no-finish-reason"),
        pytest.param(Reply(error_after=1), id="error-event"),
    ],
)
def test_a_stream_that_breaks_off_ends_with_an_error(upstream: Route, reply: Reply) -> None:
    upstream.script(reply, reply)
    connection = _post(upstream.service, stream=True)
    answer = connection.getresponse()
    assert answer.status == 200
    events = [e for e in answer.read().decode().split("\n\n") if e.startswith("data: ")]
    connection.close()
    assert json.loads(events[-1].removeprefix("data: "))["error"].keys() >= {"message", "code"}
    assert "data: [DONE]" not in events
    assert any('"Hello"' in event for event in events)

    stream = upstream.client.chat.completions.create(
        model=upstream.model, messages=MESSAGES, stream=True
    )
    texts = (chunk.choices[0].delta.content or "" for chunk in stream)
    assert next(filter(None, texts)) == "Hello"
    with pytest.raises(APIError):
        list(texts)
