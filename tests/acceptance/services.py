"""Run installed services as an operator does: `python -m app serve`, ended by SIGTERM."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
from openai import OpenAI
from stubs import Stub

from answers import SERVICES, Answers
from projects import python, wait_until_live

KEY = "a-key-that-is-for-tests-only"


def service_with(provider: str | None, *, rag: bool = False, agent: bool = False) -> Answers:
    """Return the answers of the service that has this provider alone, or, for None, no model."""
    [found] = (
        answers
        for answers in SERVICES
        if answers.get("llm_provider") == provider
        and (answers["rag"], answers["agent"], answers["monitoring"]) == (rag, agent, True)
    )
    return found


@dataclass(frozen=True)
class Service:
    address: str
    process: subprocess.Popen[bytes]

    def client(self, key: str = KEY) -> OpenAI:
        """Return OpenAI's client, which here tries nothing again."""
        return OpenAI(base_url=f"{self.address}/v1", api_key=key, max_retries=0, timeout=30)

    def http(self) -> httpx2.Client:
        """Return Alice's client of all else, to be closed."""
        headers = {"Authorization": f"Bearer {KEY}"}
        return httpx2.Client(base_url=f"{self.address}/v1", headers=headers)


def asking(stub: Stub) -> dict[str, str]:
    """Return the settings of a service that asks the stub."""
    return {
        "OPENAI_API_KEY": "sk-for-the-stub",
        "LLM__BASE_URL": stub.openai_url,
        "LLM__MODEL": "openai-chat:gpt-6-luna",
    }


@contextmanager
def running(project: Path, log_path: Path, **settings: str) -> Iterator[Service]:
    """Run the service with Alice's key and these settings alone, through the body."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        "PATH": os.environ["PATH"],
        "SERVER__PORT": str(port),
        "SERVER__READY_DELAY_SECONDS": "0",
        "SECURITY__API_KEYS": json.dumps({"alice": KEY}),
        "SECURITY__RATE_LIMIT": "1000000/second",
        **settings,
    }
    command: list[str | Path] = [python(project), "-m", "app", "serve"]
    with log_path.open("wb") as log:
        process = subprocess.Popen(command, cwd=project, env=environment, stdout=log, stderr=log)
    try:
        address = f"http://127.0.0.1:{port}"
        wait_until_live(address, process, log_path)
        yield Service(address, process)
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait(until: Callable[[], bool], seconds: float = 60) -> None:
    """Return when it holds, or fail after so many seconds."""
    deadline = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.05)
