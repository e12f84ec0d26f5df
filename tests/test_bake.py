"""Cookiecutter and Copier build the same project from one tree, and refuse the same answers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest
from copier import run_copy, run_update
from pytest_cookies.plugin import Cookies

from answers import VALID, Answers, label
from conftest import Render
from projects import commit, environment, recorded, run, tree


@pytest.mark.usefixtures("_hook_in_process")
@pytest.mark.parametrize("answers", VALID, ids=label)
def test_both_tools_build_the_same_project(
    answers: Answers, cookies: Cookies, render: Render, snapshot: Path
) -> None:
    baked = cookies.bake(extra_context=answers, template=str(snapshot))
    assert baked.exception is None
    assert baked.project_path.name == "my-ai-service"
    assert tree(baked.project_path) == tree(render(answers))


# --- Cookiecutter as a user runs it: its own process, the real hook -------------------------------


def bake(
    template: str | Path,
    *options: str,
    home: Path,
    cwd: Path,
    environ: Mapping[str, str] = MappingProxyType({}),
) -> subprocess.CompletedProcess[str]:
    """Run `cookiecutter` with a fresh home, without questions."""
    (home / "tmp").mkdir(parents=True, exist_ok=True)
    return subprocess.run(
        [sys.executable, "-m", "cookiecutter", str(template), "--no-input", *options],
        cwd=cwd,
        env=environment(HOME=str(home), TMPDIR=str(home / "tmp"), PWD=str(cwd), **environ),
        capture_output=True,
        text=True,
    )


@pytest.fixture
def repository(snapshot: Path, tmp_path: Path) -> Path:
    """The template as a repository with a release and a commit after it."""
    repo = tmp_path / "the template.git"  # both tools know a repository's URL by this suffix
    run("cp", "-R", str(snapshot), str(repo), cwd=tmp_path)
    commit(repo, "first", tag="v0.1.0")
    (repo / "template/AFTER.md").write_text("Later.\n")
    commit(repo, "second")
    return repo


@pytest.mark.parametrize("checkout", ["v0.1.0", "main"])
def test_a_clone_records_where_copier_finds_the_template_again(
    repository: Path, tmp_path: Path, checkout: str
) -> None:
    url = f"file://{repository}".replace(" ", "%20")
    ran = bake(url, "--checkout", checkout, home=tmp_path / "home", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert "uv run poe dev" in ran.stderr
    project = tmp_path / "my-ai-service"

    run_copy(url, tmp_path / "copied", vcs_ref=checkout, defaults=True, quiet=True)
    assert tree(project) == tree(tmp_path / "copied")
    assert recorded(project)["_src_path"] == url
    assert recorded(project)["_commit"].startswith("v0.1.0")
    assert (project / "AFTER.md").exists() == (checkout == "main")

    commit(project, "generated")
    run_update(project, vcs_ref="main", defaults=True, overwrite=True, quiet=True)
    assert (project / "AFTER.md").exists()


def test_a_short_address_is_recorded_as_it_was_given(repository: Path, tmp_path: Path) -> None:
    repository.rename(tmp_path / "template.git")
    (tmp_path / "here").mkdir()
    at_home = {  # git finds here what the short address means elsewhere
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.file://{tmp_path}/.insteadOf",
        "GIT_CONFIG_VALUE_0": "https://github.com/someone/",
    }
    ran = bake(
        "gh:someone/template", home=tmp_path / "home", cwd=tmp_path / "here", environ=at_home
    )
    assert ran.returncode == 0, ran.stderr
    answers = recorded(tmp_path / "here/my-ai-service")
    assert answers["_src_path"] == "gh:someone/template"
    assert answers["_commit"].startswith("v0.1.0-1-")


def test_a_relative_path_is_recorded_absolute(repository: Path, tmp_path: Path) -> None:
    here = tmp_path / "work here"
    here.mkdir()
    ran = bake("../the template.git", "-o", "out put", home=tmp_path / "home", cwd=here)
    assert ran.returncode == 0, ran.stderr
    answers = recorded(here / "out put/my-ai-service")
    assert answers["_src_path"] == str(repository)
    run_copy(str(repository), tmp_path / "copied", vcs_ref="HEAD", defaults=True, quiet=True)
    assert answers == recorded(tmp_path / "copied")


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("project_name", "{}", "The name of the service starts with a letter"),
        ("project_slug", "fastapi", "The short name fastapi is taken"),
        ("description", "two\nlines", "The description is one line of text"),
    ],
)
def test_both_tools_refuse_an_answer_with_a_sentence_and_leave_nothing(
    snapshot: Path, tmp_path: Path, name: str, value: str, sentence: str
) -> None:
    slug = {} if name == "project_slug" else {"project_slug": "ours"}
    data = {**slug, name: value}
    baked = bake(
        snapshot,
        *(f"{key}={text}" for key, text in data.items()),
        home=tmp_path / "home",
        cwd=tmp_path,
    )
    assert baked.returncode != 0
    assert sentence in baked.stderr

    options = [word for key, text in data.items() for word in ("--data", f"{key}={text}")]
    copied = subprocess.run(
        [sys.executable, "-m", "copier", "copy", "--defaults", *options, str(snapshot), "ours"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert copied.returncode != 0
    assert sentence in copied.stderr.splitlines()[-1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home"]


def test_without_copier_the_hook_says_what_to_install(tmp_path: Path) -> None:
    hook = Path(__file__).parents[1] / "hooks/post_gen_project.py"
    (tmp_path / ".cookiecutter-answers.json").write_text("{}")
    ran = subprocess.run(
        [sys.executable, "-S", "-E", str(hook)], cwd=tmp_path, capture_output=True, text=True
    )
    assert ran.returncode != 0
    assert ran.stderr.strip().endswith("or: pip install copier).")
