"""Linters and schemas find nothing in the deployment files of any combination."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest
import yaml

from answers import VALID
from conftest import ROOT, Render
from deployment.conftest import tool
from projects import run

SCHEMAS = {
    ".github/workflows/*.yml": "github-workflows",
    ".github/dependabot.yml": "dependabot",
    ".gitlab-ci.yml": "gitlab-ci",
    ".gitlab/ci/*.yml": "gitlab-ci",
    "compose.yaml": "compose-spec",
    "renovate.json": "renovate",
}
PATTERNS = (*SCHEMAS, "Dockerfile", ".dockerignore")


def deployed(project: Path) -> list[Path]:
    """Return the deployment files of a project."""
    return [path for pattern in PATTERNS for path in sorted(project.glob(pattern))]


@pytest.fixture(scope="session")
def distinct(render: Render, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return one folder for each distinct set of deployment files that any combination has."""
    seen: dict[str, Path] = {}
    for answers in VALID:
        project = render(answers)
        digest = hashlib.sha256()
        for path in deployed(project):
            digest.update(path.relative_to(project).as_posix().encode() + b"\0" + path.read_bytes())
        if digest.hexdigest() not in seen and deployed(project):
            folder = tmp_path_factory.mktemp("files")
            for path in deployed(project):
                target = folder / path.relative_to(project)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, target)
            (folder / ".git").mkdir()  # linters look for the root of the repository
            seen[digest.hexdigest()] = folder
    return list(seen.values())


def test_each_file_fits_its_schema(distinct: list[Path]) -> None:
    for pattern, schema in SCHEMAS.items():
        files = {
            path.read_bytes(): path for folder in distinct for path in sorted(folder.glob(pattern))
        }
        assert files, f"no combination has {pattern}"
        transform = ["--data-transform=gitlab-ci"] if schema == "gitlab-ci" else []
        command = [tool("check-jsonschema"), f"--builtin-schema=vendor.{schema}", *transform]
        run(*command, *files.values(), cwd=ROOT)


def test_linters_find_nothing(distinct: list[Path]) -> None:
    for folder in [ROOT, *distinct]:
        if (folder / "Dockerfile").exists():
            run(tool("hadolint"), "--failure-threshold=style", "Dockerfile", cwd=folder)
        if (folder / ".github").exists():
            run(tool("actionlint"), *folder.glob(".github/workflows/*.yml"), cwd=folder)
            run(tool("zizmor"), "--offline", "--persona=pedantic", ".github", cwd=folder)


@pytest.mark.system
def test_compose_accepts_its_file_with_and_without_an_env_file(distinct: list[Path]) -> None:
    for folder in (folder for folder in distinct if (folder / "compose.yaml").exists()):
        run(tool("docker-compose"), "config", "--quiet", cwd=folder)
        (folder / ".env").write_text(
            """SECURITY__API_KEYS='{"me": "a-key"}'\nSERVER__HOST=127.0.0.1\n"""
        )
        seen = yaml.safe_load(run(tool("docker-compose"), "config", cwd=folder))
        (folder / ".env").unlink()
        settings = seen["services"]["app"]["environment"]
        assert settings["SECURITY__API_KEYS"] == '{"me": "a-key"}'
        assert settings["SERVER__HOST"] == "0.0.0.0"  # noqa: S104 (inside the container)


def test_every_action_is_pinned_by_commit(distinct: list[Path]) -> None:
    for folder in [ROOT, *distinct]:
        for workflow in folder.glob(".github/workflows/*.yml"):
            for line in workflow.read_text().splitlines():
                if "uses:" in line:
                    _, _, action = line.partition("uses: ")
                    commit = action.partition("@")[2].partition(" # v")[0]
                    assert len(commit) == 40, line
                    assert int(commit, 16), line
