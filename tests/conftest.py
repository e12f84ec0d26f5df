"""Render projects quickly, and leave out what takes minutes or needs more than PyPI."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import chdir, suppress
from functools import wraps
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

import cookiecutter.hooks
import jinja2
import pytest
from cookiecutter.exceptions import FailedHookException
from copier import run_copy
from copier._main import Worker

from answers import Answers, label
from projects import run

ROOT = Path(__file__).parents[1]
MARKS = ("slow", "system")
LEFT_OUT = pytest.StashKey[dict[str, int]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="run the slow and the system tests too")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the marked tests out, unless asked for all or for one of the marks."""
    for item in items:
        # One worker takes all tests of one project, and renders it once.
        answers = getattr(getattr(item, "callspec", None), "params", {}).get("answers")
        if answers and not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group(label(answers)))
    # The longest first: no worker is left alone with one in the end.
    long = ("test_update", "test_text", "test_howto")
    items.sort(key=lambda item: item.path.stem not in long and "lowest" not in item.name)
    if config.option.all or any(mark in config.option.markexpr for mark in MARKS):
        return
    kept: list[pytest.Item] = []
    left_out: list[pytest.Item] = []
    for item in items:
        (left_out if any(map(item.get_closest_marker, MARKS)) else kept).append(item)
    files = Counter(item.path.relative_to(ROOT).as_posix() for item in left_out)
    config.stash[LEFT_OUT] = dict(sorted(files.items()))
    config.hook.pytest_deselected(items=left_out)
    items[:] = kept


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """Fail what skips itself where everything was asked for."""
    report = yield
    if item.config.option.all and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"With --all no test may be skipped: {report.longrepr}"
    return report


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Pass on what a worker left out: the controller of pytest-xdist collects nothing itself."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left_out"] = session.config.stash.get(LEFT_OUT, {})


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    node.config.stash[LEFT_OUT] = getattr(node, "workeroutput", {}).get("left_out", {})


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """List what was left out, last, so that nobody takes a green run for the whole proof."""
    if files := config.stash.get(LEFT_OUT, {}):
        terminalreporter.section("left out (run everything with: uv run pytest --all)")
        for name, count in files.items():
            terminalreporter.line(f"{count:4} tests of {name}")


class MakeOnce(Protocol):
    """Return the folder that `make` fills, which one worker does for all of pytest-xdist."""

    def __call__(self, name: str, make: Callable[[Path], object]) -> Path: ...


class Render(Protocol):
    """Return the project with these answers: only read it, other tests share it."""

    def __call__(self, answers: Answers) -> Path: ...


class Install(Protocol):
    """Return an installed project of its own with these answers: only read its files."""

    def __call__(self, answers: Answers) -> Path: ...


@pytest.fixture(scope="session")
def make_once(tmp_path_factory: pytest.TempPathFactory) -> MakeOnce:
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent

    def make_once(name: str, make: Callable[[Path], object]) -> Path:
        made = folder / name
        if not made.exists():
            alone = tmp_path_factory.mktemp(name)
            make(alone)
            with suppress(OSError):  # Another worker was first.
                alone.rename(made)
        return made

    return make_once


@pytest.fixture(scope="session")
def snapshot(make_once: MakeOnce) -> Path:
    """This working tree without .git: Copier renders it without a `git clone` for each project."""

    def copy(target: Path) -> None:
        names = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for name in filter(None, names.split("\0")):
            if (ROOT / name).is_file():
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, target / name)

    return make_once("template", copy)


@pytest.fixture(scope="session", autouse=True)
def _quick_jinja() -> Iterator[None]:
    """Compile each template text once a session: all projects come from the same few hundred."""
    compile_text = jinja2.Environment.compile
    compiled: dict[tuple[object, ...], Any] = {}

    @wraps(compile_text)
    def compile_once(self: jinja2.Environment, source: Any, *more: Any, **options: Any) -> Any:
        key = (
            type(self),
            (self.trim_blocks, self.lstrip_blocks, self.keep_trailing_newline),
            tuple(self.extensions),
            source,
            more,
            tuple(options.items()),
        )
        if key not in compiled:
            compiled[key] = compile_text(self, source, *more, **options)
        return compiled[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jinja2.Environment, "compile", compile_once)
        yield


@pytest.fixture(scope="session", autouse=True)
def _modes_without_git() -> Iterator[None]:
    """Spare a process a file, half of a render: Copier asks git whether it ignores modes.

    A project that did would lose only what its index says of them, and no test reads that.
    """
    with pytest.MonkeyPatch.context() as patch:
        ask_git = "_sync_git_index_executable_bit"
        patch.setattr(Worker, ask_git, lambda *_: None, raising=False)
        yield


@pytest.fixture(scope="session")
def render(snapshot: Path, make_once: MakeOnce) -> Render:
    """Render each set of answers once."""

    def render(answers: Answers) -> Path:
        def copy(folder: Path) -> None:
            target = folder / "my-ai-service"
            run_copy(str(snapshot), target, data=answers, defaults=True, quiet=True)

        name = sha256(repr(sorted(answers.items())).encode()).hexdigest()[:16]
        return make_once(f"rendered-{name}", copy) / "my-ai-service"

    return render


@pytest.fixture(scope="session")
def install(render: Render, tmp_path_factory: pytest.TempPathFactory) -> Install:
    """Install each set of answers once, alone, in an environment made from scratch."""
    folder = tmp_path_factory.mktemp("installed")
    installed: dict[str, Path] = {}

    def install(answers: Answers) -> Path:
        name = label(answers)
        if name not in installed:
            shutil.copytree(render(answers), folder / name)
            run("uv", "sync", "--quiet", cwd=folder / name)
            installed[name] = folder / name
        return installed[name]

    return install


@pytest.fixture
def _hook_in_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Run Cookiecutter's hook without a new interpreter, which would import Copier again."""

    def run_script(script_path: str, cwd: Path | str = ".") -> None:
        with chdir(cwd):
            try:
                runpy.run_path(script_path, run_name="__main__")
            except SystemExit as stopped:
                print(stopped.code, file=sys.stderr)
                raise FailedHookException(str(stopped.code)) from stopped

    monkeypatch.setattr(cookiecutter.hooks, "run_script", run_script)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # each hook leaves a file there
