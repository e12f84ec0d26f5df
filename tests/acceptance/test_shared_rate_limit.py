"""One rate limit for several processes, in a real Redis, and what happens when it is gone."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from openai import APIStatusError, OpenAI, RateLimitError

from acceptance.services import running, service_with
from answers import without
from conftest import Render
from projects import request, run

pytestmark = pytest.mark.system


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """A Redis of its own on a free port, which keeps nothing on disk."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    server = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.02)
        yield port, server
    finally:
        server.terminate()
        server.wait(timeout=10)


def test_two_processes_share_one_limit_and_refuse_without_its_store(
    render: Render, redis: tuple[int, subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    port, server = redis
    project = tmp_path / "project"
    # No database, which it would have to be ready with.
    shutil.copytree(render(without(service_with("openai"), "monitoring")), project)
    run("uv", "sync", "--quiet", "--no-dev", "--extra", "redis", cwd=project)
    settings = {
        "SECURITY__RATE_LIMIT": "4/hour",
        "SECURITY__RATE_LIMIT_STORAGE": f"redis://127.0.0.1:{port}",
    }
    with (
        running(project, tmp_path / "first.log", **settings) as first,
        running(project, tmp_path / "second.log", **settings) as second,
    ):
        both = [first.client(), second.client()]
        for client in both * 2:
            assert _ask(client) == "offline"
        for client in both:
            with pytest.raises(RateLimitError) as refused:
                _ask(client)
            assert int(refused.value.response.headers["retry-after"]) > 0
        assert request(f"{first.address}/health/ready")[0] == 200

        server.terminate()
        server.wait(timeout=10)
        for service, client in zip((first, second), both, strict=True):
            with pytest.raises(APIStatusError) as unavailable:
                _ask(client)
            assert unavailable.value.status_code == 503
            assert unavailable.value.response.headers["retry-after"]
            status, problem = request(f"{service.address}/health/ready")
            assert status == 503
            assert "limits" in problem["detail"]
            assert request(f"{service.address}/health/live")[0] == 200


def _ask(client: OpenAI) -> str:
    hello = {"role": "user", "content": "Hello."}
    return client.chat.completions.create(model="offline", messages=[hello]).model  # type: ignore[list-item]
