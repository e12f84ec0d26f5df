"""Every release can be updated to this version, with the owner's edits in place."""

from __future__ import annotations

import subprocess
import tarfile
import tomllib
from io import BytesIO
from pathlib import Path

import pytest
from copier import run_copy, run_update

from answers import FULL, MINIMAL, Answers
from conftest import ROOT
from owner import own
from projects import commit, git, tree

RELEASES: dict[str, str] = tomllib.loads((ROOT / "releases.toml").read_text("utf-8"))["releases"]
NEXT = "v9999"


def archive(revision: str) -> bytes:
    """Return the files of a commit of this repository, as a tar file."""
    if git(ROOT, "rev-parse", "--is-shallow-repository").strip() == "true":
        pytest.fail("The releases are not in a shallow clone: run git fetch --unshallow first.")
    done = subprocess.run(["git", "archive", revision], cwd=ROOT, capture_output=True, check=True)
    return done.stdout


@pytest.mark.parametrize("version", RELEASES)
def test_a_release_is_a_commit_that_this_one_follows(version: str) -> None:
    archive(RELEASES[version])
    subprocess.run(
        ["git", "merge-base", "--is-ancestor", RELEASES[version], "HEAD"], cwd=ROOT, check=True
    )


@pytest.fixture(scope="module", params=RELEASES)
def template(
    request: pytest.FixtureRequest, snapshot: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str]:
    """The template as a repository with a release and then this version; the release's tag."""
    repo = tmp_path_factory.mktemp("releases") / "template"
    repo.mkdir()
    with tarfile.open(fileobj=BytesIO(archive(RELEASES[request.param]))) as files:
        files.extractall(repo, filter="data")
    commit(repo, "the release", tag=f"v{request.param}")
    git(repo, "rm", "--quiet", "-r", ".")
    for path in (path for path in snapshot.rglob("*") if path.is_file()):
        target = repo / path.relative_to(snapshot)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
        target.chmod(path.stat().st_mode)
    commit(repo, "this version", tag=NEXT)
    return repo, f"v{request.param}"


def generate(template: Path, project: Path, answers: Answers, version: str) -> Path:
    run_copy(str(template), project, data=answers, vcs_ref=version, defaults=True, quiet=True)
    commit(project, "generated")
    own(project)
    return project


@pytest.mark.parametrize("answers", [FULL, MINIMAL], ids=["full", "minimal"])
def test_an_update_from_a_release_is_this_version_with_the_owners_edits(
    template: tuple[Path, str], tmp_path: Path, answers: Answers
) -> None:
    repo, release = template
    project = generate(repo, tmp_path / "project", answers, release)
    run_update(project, vcs_ref=NEXT, defaults=True, overwrite=True, quiet=True)
    fresh = generate(repo, tmp_path / "fresh", answers, NEXT)
    assert tree(project) == tree(fresh)
