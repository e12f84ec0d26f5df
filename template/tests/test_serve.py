"""The service as a process: it starts, says that it is ready, and stops cleanly."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import httpx2
import pytest


@contextmanager
def process(*arguments: str, **settings: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run `python -m app …` on a free port; yield it and its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    running = subprocess.Popen(  # noqa: S603 - the command is this test's own
        [sys.executable, "-m", "app", *arguments],
        env={**os.environ, "SERVER__PORT": str(port), **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield running, f"http://127.0.0.1:{port}"
    finally:
        running.kill()
        running.communicate()


def wait_until_ready(running: subprocess.Popen[str], client: httpx2.Client) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        assert running.poll() is None, running.communicate()[0]
        with suppress(httpx2.TransportError):
            if client.get("/health/ready").is_success:
                return
        time.sleep(0.05)
    pytest.fail("the service was not ready within 30 s")


def test_a_stopping_service_is_unready_first_and_then_leaves_with_exit_code_0() -> None:
    with (
        process("serve", SERVER__READY_DELAY_SECONDS="1") as (running, address),
        httpx2.Client(base_url=address) as client,
    ):
        wait_until_ready(running, client)
        running.send_signal(signal.SIGTERM)
        answers = {200}
        while 503 not in answers:
            answers.add(client.get("/health/ready").status_code)
        assert client.get("/health/live").status_code == 200
        assert running.wait(timeout=10) == 0


def test_a_service_with_wrong_settings_does_not_start_and_says_why() -> None:
    with process("serve", SERVER__PROT="1") as (running, _):
        output, _ = running.communicate(timeout=30)
        assert running.returncode == 2
        assert output.strip() == "SERVER__PROT: unknown setting; did you mean SERVER__PORT?"


def test_a_service_whose_resources_cannot_be_opened_says_why_in_one_line() -> None:
    storage = "redis://localhost:1"
    with process("serve", SECURITY__RATE_LIMIT_STORAGE=storage) as (running, _):
        output, _ = running.communicate(timeout=30)
        assert running.returncode == 2
        assert output == "A rate limit in Redis needs its client: uv sync --extra redis\n"


def test_a_setting_that_looks_misspelt_is_a_warning_at_the_start() -> None:
    settings = {"LOG_LEVEL": "ERROR", "SERVER__READY_DELAY_SECONDS": "0"}
    with (
        process("serve", **settings) as (running, address),
        httpx2.Client(base_url=address) as client,
    ):
        wait_until_ready(running, client)
        running.send_signal(signal.SIGTERM)
        output, _ = running.communicate(timeout=10)
        assert "LOG_LEVEL: unknown setting; did you mean LOG__LEVEL?" in output
