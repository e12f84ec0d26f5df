"""What every benchmark needs: generated projects to measure, quiet processes, and a table.

Projects are rendered from the working tree, uncommitted changes included, and installed without
the development tools, as in production.
"""

from __future__ import annotations

import http.client
import os
import re
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from copier import run_copy
from copier.errors import DirtyLocalWarning

ROOT = Path(__file__).parents[1]
MINIMAL: dict[str, Any] = dict.fromkeys(
    ("llm", "rag", "agent", "evals", "monitoring", "docker", "ci"), False
)
LLM: dict[str, Any] = {**MINIMAL, "llm": True}
RAG: dict[str, Any] = {**MINIMAL, "rag": True}
RAG_AND_LLM: dict[str, Any] = {**LLM, "rag": True}
AGENT: dict[str, Any] = {**RAG_AND_LLM, "agent": True}


def render(target: Path, answers: dict[str, Any]) -> Path:
    """Render the working tree with these answers into `target`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DirtyLocalWarning)
        run_copy(str(ROOT), target, answers, vcs_ref="HEAD", defaults=True, quiet=True)
    return target


def install(project: Path) -> Path:
    """Install the runtime dependencies of `project`, compiled; return its interpreter."""
    subprocess.run(
        ["uv", "sync", "--quiet", "--no-dev", "--compile-bytecode"],
        cwd=project,
        env=bare(UV_PYTHON=sys.executable),
        check=True,
    )
    return project / ".venv" / "bin" / "python"


def bare(**extra: str) -> dict[str, str]:
    """Return this environment without what would reach a generated project by accident."""
    dropped = {"VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "UV_PROJECT_ENVIRONMENT"}
    settings = re.compile(r"ENVIRONMENT$|[A-Z]+_API_KEY$|[A-Z]+__|OTEL_")
    kept = {name: v for name, v in os.environ.items() if not settings.match(name)}
    return {**{name: v for name, v in kept.items() if name not in dropped}, **extra}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(
    command: Sequence[str | Path], port: int, cwd: Path, **settings: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server until it is ready on `port`, through the body, and then end it."""
    with (cwd / "server.log").open("wb") as log:
        server = subprocess.Popen(command, cwd=cwd, env=bare(**settings), stdout=log, stderr=log)
    try:
        wait_until_ready(server, port)
        yield server
    finally:
        server.terminate()
        server.wait(timeout=60)


def wait_until_ready(server: subprocess.Popen[bytes], port: int) -> None:
    """Return with the first 200 of `/health/ready`."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/health/ready")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.003)
    raise RuntimeError("The server did not become ready; its log is beside it.")


def cpu_seconds(pid: int) -> float:
    """Return the user and system time that a process has taken so far (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def verdict(measured: float, most: float) -> str:
    return "met" if measured <= most else "**missed**"


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table that reads well on a terminal and in Markdown."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [head, ["-" * width for width in widths], *rows]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print(f"| {' | '.join(cells)} |")
